// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Machines;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.ProcFile;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Tag;

/** A session with many connections that do nothing, all in one epoll set, by TCP and TLS. */
class IdleTest {
  private static final Duration LIMIT = Duration.ofMinutes(5);

  /** What the JVMs compile and collect after the work is over by then. */
  private static final int SETTLING_MILLIS = 8_000;

  private static final int IDLE_SECONDS = 10;

  /** Of a processor, for a process of ours while nothing happens. */
  private static final double MOST_CPU = 0.1;

  /** Of memory, for a process of ours: for each connection, and whatever their number. */
  private static final long MOST_KIB_EACH = 16;

  private static final long MOST_KIB = 48 << 10;

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void hundredsOfIdleConnections(Trial trial) {
    idle(trial, 400, 100);
  }

  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void tenThousandIdleConnections(Trial trial) {
    idle(trial, 10_000, 2_000);
  }

  private static void idle(Trial trial, int connections, int used) {
    Machines machines = new Machines(trial);
    int port = trial.port();
    String at = Integer.toString(trial.port());
    machines.introduce(port);
    try (Running service = machines.service(port, "--net=none");
        Running server = program(machines, port, "accept", at);
        Running client = program(machines, port, "connect", at)) {
      // One of each kind first, so that what stays is there.
      fill(server, client, 100);
      use(client, 50);
      none(server, client);
      Map<String, Long> processes = processes(trial);
      Map<String, Integer> descriptors = descriptors(processes);
      Map<String, Long> before = resident(processes);

      long began = System.nanoTime();
      fill(server, client, connections);
      System.out.printf(
          "%d connections after %.1f s%n", connections, (System.nanoTime() - began) / 1e9);
      Eventually.pause(SETTLING_MILLIS);
      Map<String, Double> cpuBefore = cpuSeconds(processes);
      Eventually.pause(1000 * IDLE_SECONDS);
      Map<String, Double> idle = new LinkedHashMap<>();
      cpuSeconds(processes)
          .forEach((role, s) -> idle.put(role, (s - of(cpuBefore, role)) / IDLE_SECONDS));
      Map<String, Long> after = resident(processes);
      processes.forEach((role, pid) -> {
        long more = of(after, role) - of(before, role);
        System.out.printf(
            "%-16s %6d descriptors, RSS %4d MiB (%+d), idle CPU %.1f %%%n",
            role,
            ProcFile.descriptors(pid),
            of(after, role) >> 10,
            more >> 10,
            100 * of(idle, role));
      });
      began = System.nanoTime();
      use(client, used);
      System.out.printf("%d of them used after %.1f s%n", used, (System.nanoTime() - began) / 1e9);
      assertThat(server.errors()).isEmpty();
      none(server, client);
      Eventually.require(
          LIMIT,
          () -> "before " + descriptors + ", after " + descriptors(processes),
          () -> noMore(descriptors, descriptors(processes)));
      assertThat(after)
          .allSatisfy((role, kib) ->
              assertThat(kib - of(before, role))
                  .as("KiB that the connections take of the %s", role)
                  .isLessThan(MOST_KIB + MOST_KIB_EACH * connections));
      assertThat(idle)
          .as("processors in use by the idle")
          .allSatisfy((role, cpu) -> assertThat(cpu).as(role).isLessThan(MOST_CPU));
      client.endInput();
      client.await(LIMIT).expectSuccess();
      server.endInput();
      server.await(LIMIT).expectSuccess();
      assertThat(server.errors() + client.errors()).isEmpty();
      assertThat(service.errors()).doesNotContain("\tat ");
    }
  }

  private static Running program(Machines machines, int port, String what, String at) {
    Running program =
        machines.run(port, List.of("--share=idle"), Programs.c("idle"), what, at).start();
    program.awaitOutput(LIMIT, "ready");
    return program;
  }

  private static void fill(Running server, Running client, int connections) {
    tell(client, Integer.toString(connections), "has " + connections);
    tell(server, Integer.toString(connections), "has " + connections);
  }

  private static void use(Running client, int connections) {
    tell(client, "use " + connections, "used \\d+");
  }

  private static void none(Running server, Running client) {
    tell(client, "none", "has none");
    tell(server, "none", "has none");
  }

  /** Tells a program to do something, and waits until it says that it has. */
  private static void tell(Running program, String what, String answer) {
    long lines = program.output().lines().count();
    program.type(what + "\n");
    Eventually.require(
        LIMIT,
        () -> what + ": " + program.output() + program.errors(),
        () -> program.output().lines().skip(lines).anyMatch(l -> l.matches(answer)));
  }

  /** What of ours there is, by what it is for. */
  private static Map<String, Long> processes(Trial trial) {
    Map<String, Long> found = new LinkedHashMap<>();
    for (long pid : trial.processes("cli.Main ")) {
      String line = ProcFile.commandLine(pid);
      if (line.contains(" accept ")) {
        found.put("server's hook", pid);
      } else if (line.contains(" connect ")) {
        found.put("client's hook", pid);
      } else {
        found.put(line.contains("--control") ? "kernel" : "service", pid);
      }
    }
    assertThat(found).hasSize(4);
    return found;
  }

  private static Map<String, Integer> descriptors(Map<String, Long> processes) {
    Map<String, Integer> counts = new LinkedHashMap<>();
    processes.forEach((role, pid) -> counts.put(role, ProcFile.descriptors(pid)));
    return counts;
  }

  private static Map<String, Double> cpuSeconds(Map<String, Long> processes) {
    Map<String, Double> seconds = new LinkedHashMap<>();
    processes.forEach((role, pid) -> seconds.put(role, ProcFile.cpuSeconds(pid)));
    return seconds;
  }

  private static Map<String, Long> resident(Map<String, Long> processes) {
    Map<String, Long> counts = new LinkedHashMap<>();
    processes.forEach((role, pid) -> counts.put(role, ProcFile.residentKib(pid)));
    return counts;
  }

  private static <T> T of(Map<String, T> figures, String role) {
    return Objects.requireNonNull(figures.get(role), role);
  }

  private static boolean noMore(Map<String, Integer> before, Map<String, Integer> after) {
    return after.entrySet().stream()
        .allMatch(e -> e.getValue() <= before.getOrDefault(e.getKey(), 0));
  }
}
