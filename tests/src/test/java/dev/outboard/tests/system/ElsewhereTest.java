// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;

/**
 * A device that is reached by ssh and shares no memory with the host. Here a script takes ssh's
 * place; with {@code -Dtests.ssh=true} all other scenarios have such a device, too.
 */
class ElsewhereTest {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void whatProgramsDoEveryDay(Trial trial) {
    Finished done = trial.program(Programs.staticC("everyday")).overSsh().run(LIMIT);
    trial.outcome("output", done.output());
    done.expectSuccess();
  }

  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void clientsThreadsAndTransfers(Trial trial) {
    for (List<String> words :
        List.of(
            List.of(Programs.PYTHON, Programs.python("threads"), "" + trial.amount(12, 40)),
            List.of(
                Programs.PYTHON, Programs.python("asyncio_echo"), "" + trial.amount(40, 200)))) {
      Finished done =
          trial.program(words.toArray(String[]::new)).overSsh().run(LIMIT).expectSuccess();
      trial.outcome(words.get(1), done.output());
    }
  }

  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void whatGoesAheadShowsNowhereElse(Trial trial) throws IOException {
    Path stats = trial.directory().resolve("stats.json");
    Finished done =
        trial
            .program(
                "/bin/sh",
                "-c",
                "\"$0\" \"$1\" all && \"$0\" \"$2\" all",
                Programs.PYTHON,
                Programs.python("ahead"),
                Programs.python("looked"))
            .overSsh()
            .with("--stats=" + stats)
            .run(LIMIT)
            .expectSuccess();
    // The send that meets a reset is the one that may differ: the next one is told.
    String met = "reset_send ";
    String resets = done.output().lines().filter(l -> l.startsWith(met)).findFirst().orElseThrow();
    String natively = met + "['ECONNRESET', 'EPIPE', 'EPIPE']";
    trial.outcome("output", done.output().replace(resets + "\n", ""));
    if (trial.mode().offloaded()) {
      assertThat(resets).isIn(natively, met + "['sent', 'ECONNRESET', 'EPIPE']");
      assertThat(Files.readString(stats))
          .containsPattern("\"sentAhead\": [1-9]\\d\\d+, \"receivedAhead\": [1-9]\\d\\d");
    } else {
      assertThat(resets).isEqualTo(natively);
    }
  }

  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void whatTheCallBeforeHasToldShowsNowhereElse(Trial trial) throws IOException {
    Path stats = trial.directory().resolve("stats.json");
    Path there = Files.createDirectory(trial.directory().resolve("there"));
    boolean offloaded = trial.mode().offloaded();
    Finished done =
        trial
            .program(
                Programs.PYTHON, Programs.python("told"), offloaded ? "/there" : there.toString())
            .overSsh()
            .with("--export=" + there + ":/there")
            .with("--stats=" + stats)
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    if (offloaded) {
      assertThat(Files.readString(stats)).containsPattern("\"calledAhead\": [1-9]\\d\\d");
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void aConnectionThatBreaksIsALostDevice(Trial trial) {
    Duration loss = Duration.ofSeconds(2);
    try (Running program =
        trial.program(Programs.PYTHON, Programs.python("survivor")).overSsh().start()) {
      program.awaitOutput(LIMIT, "ready");
      Eventually.pause(300); // all five calls are blocked by now
      // The device's process is what stands where ssh would: the script has become it.
      Trial.signal(trial.device(), "KILL");
      for (String call : List.of("recv", "accept", "read")) {
        program.awaitOutput(loss, call + " failed with ENETDOWN");
      }
      program.awaitOutput(loss, "^epoll returned woken");
      program.type("go on\n");
      Finished done = program.await(LIMIT).expectSuccess();
      assertThat(done.output()).contains("later send failed with ENETDOWN", "alive");
      assertThat(done.errors().lines()).hasSize(1).allMatch(line -> line.contains("device"));
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void whatCannotBeReachedIsSaid(Trial trial) {
    Finished done =
        trial
            .outboard("run", "--device=ssh://elsewhere/no/such/outboard", "--", "echo", "ran")
            .run(LIMIT)
            .expectStatus(125);
    assertThat(done.errors()).contains("/no/such/outboard", "outboard: The device");
    assertThat(done.output()).isEmpty();
    done =
        trial
            .outboard("run", "--device=ssh://-oProxyCommand=x/", "--", "echo", "ran")
            .run(LIMIT)
            .expectStatus(125);
    assertThat(done.errors()).contains("ssh://[USER@]HOST");
    done =
        trial
            .outboard("device", "--stdio", "--net=none")
            .input(trial.file("nonsense", "Welcome to this machine!\n"))
            .run(LIMIT);
    assertThat(done.errors()).doesNotContain("\tat ");
  }

  /** The real thing: a server of the machine's own, which knows one key. */
  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void byOpenSsh(Trial trial) {
    Programs.require("sshd", "ssh", "ssh-keygen", "unshare");
    int port = trial.port();
    trial
        .machine(
            "sh",
            "-c",
            """
            set -e
            for key in host user; do ssh-keygen -q -t ed25519 -N '' -f $PWD/$key; done
            printf '#!/bin/sh\nexec ssh -F none -i %%s -o UserKnownHostsFile=%%s "$@"\n' \
              $PWD/user $PWD/known >ours
            chmod +x ours
            echo "[127.0.0.1]:%1$d $(cat host.pub)" >known
            cat >config <<END
            Port %1$d
            ListenAddress 127.0.0.1
            HostKey $PWD/host
            AuthorizedKeysFile $PWD/user.pub
            StrictModes no
            PidFile none
            END
            """
                .formatted(port))
        .run(LIMIT)
        .expectSuccess();
    try (Running server =
        trial
            .machine(
                "unshare",
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none /run; mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f $PWD/config")
            .start()) {
      server.awaitErrors(LIMIT, "Server listening");
      for (String program : List.of("threads", "asyncio_echo")) {
        trial
            .program(Programs.PYTHON, Programs.python(program))
            .environment("OUTBOARD_SSH", trial.directory().resolve("ours").toString())
            .with("--device=ssh://127.0.0.1:%d%s".formatted(port, Programs.launcher()))
            .run(LIMIT)
            .expectSuccess();
      }
    }
  }
}
