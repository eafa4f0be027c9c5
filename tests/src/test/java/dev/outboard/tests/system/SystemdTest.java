// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;

/**
 * The units of {@code scripts}, as they are, under a systemd that is process 1 of namespaces of its
 * own: with socket activation and all of their hardening.
 */
@Tag("judges")
class SystemdTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final String SOCKET = "unix:/run/outboard/device.sock";

  /** Says that it is connected, waits for a line, and says whether it still is. */
  private static final String CLIENT =
      """
      import socket, sys
      listener = socket.create_server(("127.0.0.1", 0))
      near = socket.create_connection(listener.getsockname())
      far = listener.accept()[0]
      print("connected", flush=True)
      sys.stdin.readline()
      near.sendall(b"still there")
      print(far.recv(100).decode())
      """;

  /** A machine that has only systemd and the units. */
  private record Alone(Trial trial, String process) {
    Command command(String... words) {
      List<String> line = new ArrayList<>(List.of("nsenter", "-t", process, "-m", "-p", "--"));
      line.addAll(List.of(words));
      return trial.machine(line.toArray(String[]::new));
    }

    Command offloaded(String... words) {
      List<String> line = new ArrayList<>(List.of("/opt/outboard/outboard", "run"));
      line.addAll(List.of("--device", SOCKET, "--"));
      line.addAll(List.of(words));
      return command(line.toArray(String[]::new));
    }

    String systemctl(String... words) {
      List<String> line = new ArrayList<>(List.of("systemctl"));
      line.addAll(List.of(words));
      return command(line.toArray(String[]::new)).run(LIMIT).output().strip();
    }

    String log() {
      return command("cat", "/run/service.log").run(LIMIT).output();
    }
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void startsServesReloadsDrainsAndStartsAgain(Trial trial) {
    String tree = Programs.launcher().resolveSibling("").toString();
    Running systemd = trial.machine("sh", Programs.data("systemd-alone"), tree).start();
    try (systemd) {
      Alone alone = new Alone(trial, systemd.awaitOutput(LIMIT, "process (\\d+)\n").group(1));
      Eventually.require(
          LIMIT,
          () -> "outboard.socket is not active: " + alone.systemctl("status", "outboard.socket"),
          () -> alone.systemctl("is-active", "outboard.socket").equals("active"));
      assertThat(alone.systemctl("is-active", "outboard.service")).isEqualTo("inactive");

      // The first connection starts it.
      String devices = "/proc/net/dev";
      assertThat(alone.offloaded("cat", devices).run(LIMIT).expectSuccess().output())
          .contains("lo:", "eth0:");
      assertThat(alone.systemctl("is-active", "outboard.service")).isEqualTo("active");
      assertThat(alone.systemctl("show", "-P", "StatusText", "outboard.service"))
          .isEqualTo("a kernel for each session, 64 sessions at most; listening at systemd");
      String main = alone.systemctl("show", "-P", "MainPID", "outboard.service");
      assertThat(alone.command("cat", "/proc/" + main + "/status").run(LIMIT).output())
          .contains("NoNewPrivs:\t1\n", "CapBnd:\t00000000000000e0\n");

      // Other options for the next kernels, by its reload; wrong ones change nothing.
      reload(alone, "--net=none");
      alone.offloaded("grep", "-c", "eth0", devices).run(LIMIT).expectStatus(1);
      reload(alone, "--nonsense");
      assertThat(alone.log()).contains("nothing is changed: ");
      alone.offloaded("grep", "-c", "eth0", devices).run(LIMIT).expectStatus(1);
      reload(alone, "");
      alone.offloaded("grep", "-c", "eth0", devices).run(LIMIT).expectSuccess();

      // Each kernel has a control group in the unit's, and a limit there if that is asked for.
      assertThat(status(alone))
          .containsPattern("CPU: a control group in /sys/fs/cgroup/.*/outboard.service for each");
      reload(alone, "--limit=cpu=50%");
      try (Running client = alone.offloaded("python3", "-c", CLIENT).start()) {
        client.awaitOutput(LIMIT, "connected\n");
        assertThat(status(alone)).containsPattern("(?m)^[0-9]+ .* [0-9]+/50% ");
        client.type("\n");
        client.await(LIMIT).expectSuccess();
      }
      reload(alone, "");

      // A session goes on while the service stops.
      try (Running client = alone.offloaded("python3", "-c", CLIENT).start()) {
        client.awaitOutput(LIMIT, "connected\n");
        alone.systemctl("stop", "--no-block", "outboard.service");
        Eventually.require(
            LIMIT,
            () -> "the service does not drain: " + alone.log(),
            () -> alone.log().contains("no new sessions; 1 may go on"));
        assertThat(alone.systemctl("is-active", "outboard.service")).isEqualTo("deactivating");
        client.type("\n");
        assertThat(client.await(LIMIT).expectSuccess().output()).contains("still there");
      }
      Eventually.require(
          LIMIT,
          () -> "the service does not end: " + alone.systemctl("status", "outboard.service"),
          () -> alone.systemctl("is-active", "outboard.service").equals("inactive"));
      assertThat(alone.systemctl("show", "-P", "Result", "outboard.service")).isEqualTo("success");

      // The socket is still systemd's, and starts the next.
      assertThat(alone.systemctl("is-active", "outboard.socket")).isEqualTo("active");
      alone.offloaded("true").run(LIMIT).expectSuccess();
      assertThat(alone.systemctl("show", "-P", "MainPID", "outboard.service")).isNotEqualTo(main);
      systemd.endInput();
      systemd.await(LIMIT).expectSuccess();
    }
  }

  private static String status(Alone alone) {
    return alone.command("/opt/outboard/outboard", "status").run(LIMIT).expectSuccess().output();
  }

  private static void reload(Alone alone, String options) {
    String file = "/etc/outboard/device.options";
    alone.command("sh", "-c", "echo \"$1\" >" + file, "sh", options).run(LIMIT).expectSuccess();
    String before = alone.log();
    alone.systemctl("reload", "outboard.service");
    Eventually.require(
        LIMIT, () -> "no word of a reload: " + before, () -> !alone.log().equals(before));
  }
}
