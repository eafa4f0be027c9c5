// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Machines;
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

/** Who by TCP asks a service what it does, and what he gets to know. */
class TcpStatusTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private static Command status(Machines machines, String who, int port, String... more) {
    String[] words = new String[2 + more.length];
    words[0] = "status";
    words[1] = "--device=tcp://127.0.0.1:" + port;
    System.arraycopy(more, 0, words, 2, more.length);
    return machines.as(who, words);
  }

  private static String output(Machines machines, String who, int port, String... more) {
    return status(machines, who, port, more).run(LIMIT).expectSuccess().output();
  }

  /** A program of one host, by a name of its own, that is there until it is closed. */
  private static Running program(
      Trial trial, Machines machines, String who, int port, String share, String name)
      throws IOException {
    Path link = trial.directory().resolve(name);
    if (!Files.exists(link)) {
      Files.createSymbolicLink(link, Path.of(Programs.PYTHON));
    }
    Running program =
        machines
            .as(
                who,
                "run",
                "--device=tcp://127.0.0.1:" + port,
                "--share=" + share,
                "--",
                link.toString(),
                "-c",
                "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0));"
                    + " print('on', flush=True); sys.stdin.read()")
            .start();
    program.awaitOutput(LIMIT, "on");
    return program;
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void eachHostSeesItsOwnAndTheOperatorAll(Trial trial) throws Exception {
    Machines machines = new Machines(trial);
    Path socket = trial.directory().resolve("s");
    int port = trial.port();
    machines.introduce(port);
    machines.introduce("other", port);
    machines.introduce("chief", port);
    // The last one was only let come; now it is the operator.
    String chief = machines.as("chief", "keys").run(LIMIT).expectSuccess().output().strip();
    assertThat(
            machines
                .as("device", "keys", "add", "operator", chief)
                .run(LIMIT)
                .expectSuccess()
                .output())
        .contains("know what all do there");
    try (Running service =
        machines.service(port, "--listen=unix:" + socket, "--net=none", "--max-sessions=9")) {
      Running mine = program(trial, machines, "host", port, "web", "minemine");
      Running theirs = program(trial, machines, "other", port, "web", "secretly");
      Running alone = program(trial, machines, "other", port, "alone", "secretly");
      assertThat(ServiceTest.kernels(trial)).hasSize(2);

      String own = output(machines, "host", port);
      assertThat(own)
          .contains("9 sessions at most: 1 of this host's; so far 1, 0 refused")
          .containsPattern("(?m)^1 +web .*minemine \\(")
          .doesNotContain("secretly", "alone", "process");
      String json = output(machines, "host", port, "--json");
      assertThat(json)
          .contains("\"ownSessionsOnly\": true, \"sessionsSoFar\": 1", "\"name\": \"minemine\"")
          // Of a kernel that others may join, nothing that they would change.
          .contains("\"pid\": 0, \"kernel\": \"library\"", "\"ageMillis\": 0, \"rssBytes\": 0")
          .doesNotContain("secretly", "alone");
      // Its own two, by its own numbers.
      assertThat(output(machines, "other", port))
          .contains("2 of this host's; so far 2")
          .containsPattern("(?m)^1 +web .*secretly \\(")
          .containsPattern("(?m)^2 +alone .*secretly \\(")
          .doesNotContain("minemine");
      String all = output(machines, "chief", port);
      assertThat(all)
          .contains("3 of 9 sessions, 2 kernels; so far 3 sessions")
          .containsPattern("(?m)^1 +web .*minemine \\(")
          .containsPattern("(?m)^2 +web .*secretly \\(")
          .containsPattern("(?m)^3 +alone .*secretly \\(");
      assertThat(output(machines, "chief", port, "--json"))
          .contains("\"ownSessionsOnly\": false, \"sessionsSoFar\": 3");
      // As who asks at the socket sees it.
      assertThat(
              trial
                  .outboard("status", "--device=unix:" + socket)
                  .run(LIMIT)
                  .expectSuccess()
                  .output()
                  .lines()
                  .skip(3)
                  .map(line -> line.replaceAll("^(\\d+ +\\w+) .* {2}(\\S.*)$", "$1 $2")))
          .isEqualTo(
              all.lines()
                  .skip(3)
                  .map(line -> line.replaceAll("^(\\d+ +\\w+) .* {2}(\\S.*)$", "$1 $2"))
                  .toList());

      // Who is known to nobody, and who has no key.
      machines.meet("stranger", port);
      assertThat(status(machines, "stranger", port).run(LIMIT).expectStatus(125).errors())
          .contains("does not let this machine in", "outboard keys add outboard-p256");
      assertThat(status(machines, "nobody", port).run(LIMIT).expectStatus(125).errors())
          .contains("this machine has no key yet");
      // A key that is taken back while its host watches.
      Running watch = status(machines, "host", port, "--watch").start();
      watch.awaitOutput(LIMIT, "1 of this host's");
      Path hosts = trial.directory().resolve("device-keys/authorized_hosts");
      String before = Files.readString(hosts);
      trial.file("device-keys/authorized_hosts", before.substring(before.indexOf('\n') + 1));
      assertThat(watch.await(LIMIT).expectStatus(125).errors())
          .contains("may not come any more", "does not let this machine in");
      assertThat(service.errors()).doesNotContain("\tat ");
      List.of(mine, theirs, alone).forEach(Running::close);
    }
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void whoWatchesIsToldOfAnEndAndGoesOn(Trial trial) {
    Machines machines = new Machines(trial);
    int port = trial.port();
    machines.introduce(port);
    assertThat(status(machines, "host", port, "--watch").run(LIMIT).expectStatus(125).errors())
        .as("one that was never there is not waited for")
        .contains("Nothing listens at tcp://127.0.0.1:" + port);
    Running watch;
    Running lines;
    try (Running service = machines.service(port, "--net=none", "--max-sessions=7")) {
      watch = status(machines, "host", port, "--watch").start();
      lines = status(machines, "host", port, "--watch", "--json").start();
      watch.awaitOutput(LIMIT, "7 sessions at most");
      lines.awaitOutput(LIMIT, "\"maxSessions\": 7");
      service.signal("TERM");
      service.await(LIMIT).expectSuccess();
    }
    for (Running one : List.of(watch, lines)) {
      one.awaitErrors(LIMIT, "Trying again");
      one.awaitErrors(LIMIT, "Nothing listens at tcp://127.0.0.1:" + port);
    }
    try (Running service = machines.service(port, "--net=none", "--max-sessions=8")) {
      watch.awaitOutput(LIMIT, "8 sessions at most");
      lines.awaitOutput(LIMIT, "\"maxSessions\": 8");
      for (Running one : List.of(watch, lines)) {
        one.awaitErrors(LIMIT, "it answers again; it has been there for \\d+s");
        assertThat(one.alive()).isTrue();
        one.close();
      }
      Eventually.require(LIMIT, service::errors, () -> service.errors().contains("asks no more"));
      assertThat(lines.output().lines().map(l -> l.charAt(0)))
          .as("all of it is JSON")
          .containsOnly('{');
    }
  }
}
