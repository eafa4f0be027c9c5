// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.ProcFile;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.ServiceLog;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a session may use of the machine's processors: control groups for a service's kernels. */
class CpuShareTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);
  private static final double NANOS = 1e9;

  /** Does nothing but network calls. */
  private static final String BUSY =
      """
      import socket
      s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
      s.bind(("127.0.0.1", 0))
      s.connect(s.getsockname())
      print("busy", flush=True)
      while True:
          s.send(b"x" * 1000)
          s.recv(2000)
      """;

  /**
   * Where CPU time is shared out.
   *
   * @param unified version 2 of control groups
   * @param root the directory of the group that all are in
   */
  private record Hierarchy(boolean unified, Path root) {
    /** The control group that a process is in. */
    Path group(long pid) {
      for (String line : lines(Path.of("/proc/" + pid + "/cgroup"))) {
        String[] parts = line.split(":", 3);
        if (unified
            ? parts[0].equals("0")
            : Arrays.asList(parts[1].split(",", -1)).contains("cpu")) {
          return root.resolve("." + parts[2]).normalize();
        }
      }
      throw new AssertionError("process " + pid + " is in no control group for CPU time");
    }

    /** What part of the second number of microseconds the group may use: -1 is all. */
    void requireLimit(Path group, long quota, long period) {
      if (unified) {
        String first = quota < 0 ? "max" : Long.toString(quota);
        assertThat(content(group, "cpu.max")).isEqualTo(first + " " + period);
      } else {
        assertThat(content(group, "cpu.cfs_quota_us")).isEqualTo(Long.toString(quota));
        assertThat(content(group, "cpu.cfs_period_us")).isEqualTo(Long.toString(period));
      }
    }

    String weight(Path group) {
      return content(group, unified ? "cpu.weight" : "cpu.shares");
    }
  }

  /** Where this process may make groups that share out CPU time. */
  private static Hierarchy hierarchy() {
    Hierarchy found = mounted("cgroup");
    if (found == null) {
      found = mounted("cgroup2");
      assumeTrue(
          found != null
              && !Files.exists(found.root().resolve("cgroup.type"))
              && List.of(content(found.root(), "cgroup.subtree_control").split(" ", -1))
                  .contains("cpu"),
          "no control groups that share out CPU time, or not the machine's own root of them:"
              + " scripts/in-vm has them");
    }
    Path probe = found.root().resolve("obt-probe-" + ProcessHandle.current().pid());
    try {
      Files.createDirectory(probe);
      Files.delete(probe);
    } catch (IOException e) {
      assumeTrue(false, "no control group can be made in " + found.root() + ": " + e);
    }
    return found;
  }

  private static @Nullable Hierarchy mounted(String type) {
    boolean unified = type.equals("cgroup2");
    return lines(Path.of("/proc/self/mounts")).stream()
        .map(line -> line.split(" ", -1))
        .filter(f -> f[2].equals(type))
        .filter(f -> unified || Arrays.asList(f[3].split(",", -1)).contains("cpu"))
        .map(f -> new Hierarchy(unified, Path.of(f[1])))
        .findFirst()
        .orElse(null);
  }

  private static List<String> lines(Path file) {
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A command that is in a group before it does anything else. */
  private static String[] in(Path group, String... command) {
    List<String> words = new ArrayList<>();
    words.addAll(
        List.of("sh", "-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\"", group.toString()));
    words.addAll(List.of(command));
    return words.toArray(String[]::new);
  }

  private static String content(Path group, String file) {
    try {
      return Files.readString(group.resolve(file)).strip();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** In the root of control groups, where version 2, too, lets a service make them at once. */
  private static Running service(Trial trial, Hierarchy hierarchy, Path socket, String... more) {
    return service(trial, hierarchy.root(), socket, more);
  }

  private static Running service(Trial trial, Path group, Path socket, String... more) {
    List<String> words =
        new ArrayList<>(
            List.of(
                Programs.launcher().toString(),
                "device",
                "--listen",
                "unix:" + socket,
                "--net=none"));
    words.addAll(List.of(more));
    Running service = trial.beside(in(group, words.toArray(String[]::new))).start();
    service.awaitErrors(LIMIT, "listening at");
    return service;
  }

  private static Running session(Trial trial, Path socket, String script) {
    return trial
        .outboard("run", "--device=unix:" + socket, "--", Programs.PYTHON, "-c", script)
        .start();
  }

  private static String status(Trial trial, Path socket, String... more) {
    List<String> words = new ArrayList<>(List.of("status", "--device=unix:" + socket));
    words.addAll(List.of(more));
    return trial.outboard(words.toArray(String[]::new)).run(LIMIT).expectSuccess().output();
  }

  private static List<Long> kernels(Trial trial) {
    return trial.processes("cli.Main device --control").stream().sorted().toList();
  }

  /** The one that is not among {@code known}. */
  private static long newKernel(Trial trial, List<Long> known) {
    List<Long> now = new ArrayList<>(kernels(trial));
    now.removeAll(known);
    assertThat(now).hasSize(1);
    return now.getFirst();
  }

  private static void requireGone(Path group) {
    Eventually.require(LIMIT, () -> group + " is left behind", () -> !Files.exists(group));
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aLimitHoldsForOneSessionAndNotForAnother(Trial trial) {
    Hierarchy hierarchy = hierarchy();
    Path socket = trial.directory().resolve("s");
    int metrics = trial.port();
    Path options = trial.file("options", "--limit=cpu=10%,tasks=64\n");
    try (Running service =
        service(trial, hierarchy, socket, "--options=" + options, "--metrics=" + metrics)) {
      Running limited = session(trial, socket, BUSY);
      limited.awaitOutput(LIMIT, "busy");
      long slow = newKernel(trial, List.of());
      Path slowGroup = hierarchy.group(slow);
      assertThat(slowGroup.getFileName().toString()).startsWith("outboard-");
      hierarchy.requireLimit(slowGroup, 2000, 20_000);

      trial.file("options", "--limit=cpu=3%\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "nothing is changed: --limit cpu: '3%' is not a part");
      trial.file("options", "--limit=cpu=fair\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "options as they are now");
      Running free = session(trial, socket, BUSY);
      free.awaitOutput(LIMIT, "busy");
      long fast = newKernel(trial, List.of(slow));
      Path fastGroup = hierarchy.group(fast);
      assertThat(fastGroup).isNotEqualTo(slowGroup);
      hierarchy.requireLimit(fastGroup, -1, 100_000);
      assertThat(hierarchy.weight(fastGroup)).isEqualTo(hierarchy.weight(slowGroup));
      hierarchy.requireLimit(slowGroup, 2000, 20_000); // As it was.

      // However loaded the machine is: so much at most, and less than who has no limit.
      long from = System.nanoTime();
      double slowBefore = ProcFile.cpuSeconds(slow);
      double fastBefore = ProcFile.cpuSeconds(fast);
      Eventually.require(
          LIMIT,
          () -> "the session without a limit has used " + (ProcFile.cpuSeconds(fast) - fastBefore),
          () ->
              ProcFile.cpuSeconds(fast) - fastBefore > 1.5 && System.nanoTime() - from > 2 * NANOS);
      double slowUsed = ProcFile.cpuSeconds(slow) - slowBefore;
      double wall = (System.nanoTime() - from) / NANOS;
      assertThat(slowUsed)
          .as("CPU seconds of %f with a limit of a tenth", wall)
          .isLessThan(0.1 * wall + 0.1);
      assertThat(slowUsed).isLessThan(ProcFile.cpuSeconds(fast) - fastBefore);
      assertThat(content(slowGroup, "cpu.stat")).containsPattern("nr_throttled [1-9]");
      assertThat(content(fastGroup, "cpu.stat")).contains("nr_throttled 0");

      assertThat(status(trial, socket))
          .contains("CPU: a control group in " + hierarchy.root())
          .containsPattern("(?m)^1 .* [0-9]+/10% ")
          .containsPattern("(?m)^2 .* [0-9]+% ");
      assertThat(status(trial, socket, "--json"))
          .containsPattern(
              "\"cpuLimitPercent\": 10, \"cpuNanos\": [1-9][0-9]+, \"throttledNanos\": [1-9]")
          .containsPattern(
              "\"cpuLimitPercent\": 0, \"cpuNanos\": [1-9][0-9]+, \"throttledNanos\": 0,");
      String figures = trial.figures(metrics).run(LIMIT).expectSuccess().output();
      assertThat(figures)
          .contains(
              "outboard_kernel_cpu_limit_ratio{kernel=\"%d\",kind=\"library\"} 0.1".formatted(slow))
          .doesNotContain("outboard_kernel_cpu_limit_ratio{kernel=\"" + fast)
          .containsPattern(
              "outboard_kernel_cpu_seconds_total\\{kernel=\"%d\".*} [1-9]".formatted(fast))
          .containsPattern(
              "outboard_kernel_throttled_seconds_total\\{kernel=\"%d\".*} [0-9]*[.0-9]*[1-9]"
                  .formatted(slow));

      limited.close();
      requireGone(slowGroup);
      Trial.signal(fast, "KILL");
      service.awaitErrors(LIMIT, "its process was ended by signal 9");
      requireGone(fastGroup);
      free.close();
    }
  }

  /** Its sessions go on, limited as they were; the next one cleans up after them. */
  @Scenario(modes = Mode.LIBRARY)
  void nothingIsLeftOfAServiceThatWasKilled(Trial trial) {
    Hierarchy hierarchy = hierarchy();
    Path socket = trial.directory().resolve("s");
    Running killed = service(trial, hierarchy, socket, "--limit=cpu=50%");
    Running program = session(trial, socket, "print('on', flush=True); input(); print('still on')");
    program.awaitOutput(LIMIT, "on");
    long kernel = newKernel(trial, List.of());
    Path group = hierarchy.group(kernel);
    Trial.signal(trial.processes("cli.Main device --listen").getFirst(), "KILL");
    killed.await(LIMIT);
    Path other = trial.directory().resolve("other");
    try (Running next = service(trial, hierarchy, other)) {
      assertThat(content(group, "cgroup.procs").lines()).contains(Long.toString(kernel));
      hierarchy.requireLimit(group, 10_000, 20_000);
      program.type("\n");
      assertThat(program.await(LIMIT).expectSuccess().output()).contains("still on");
      Eventually.require(LIMIT, next::errors, () -> kernels(trial).isEmpty());
      assertThat(group).as("nobody is there to remove it").exists();
      Running one = session(trial, other, "print('on', flush=True); input()");
      one.awaitOutput(LIMIT, "on");
      assertThat(group).doesNotExist();
      Path own = hierarchy.group(newKernel(trial, List.of()));
      one.close();
      requireGone(own);
    }
  }

  /** As in a unit of systemd with {@code Delegate=cpu}: version 2 has it make room. */
  @Scenario(modes = Mode.LIBRARY)
  void aServiceInAGroupOfItsOwn(Trial trial) throws IOException {
    Hierarchy hierarchy = hierarchy();
    assumeTrue(hierarchy.unified(), "version 1 has groups with processes hand CPU time on");
    Path unit = hierarchy.root().resolve("obt-unit-" + ProcessHandle.current().pid());
    Path socket = trial.directory().resolve("s");
    Files.createDirectory(unit);
    try {
      Running service = service(trial, unit, socket, "--limit=cpu=50%");
      long pid = trial.processes("cli.Main device --listen").getFirst();
      Path own = hierarchy.group(pid);
      assertThat(own).isEqualTo(unit.resolve("outboard-" + pid + "-service"));
      assertThat(content(unit, "cgroup.procs")).isEmpty();
      assertThat(content(unit, "cgroup.subtree_control")).isEqualTo("cpu");
      Running one = session(trial, socket, "print('on', flush=True); input()");
      one.awaitOutput(LIMIT, "on");
      long kernel = newKernel(trial, List.of());
      Path group = hierarchy.group(kernel);
      assertThat(group.getParent()).isEqualTo(unit);
      assertThat(group).isNotEqualTo(own);
      hierarchy.requireLimit(group, 10_000, 20_000);
      assertThat(content(group, "cgroup.procs").lines()).contains(Long.toString(kernel));
      assertThat(status(trial, socket)).contains("CPU: a control group in " + unit);
      one.close();
      requireGone(group);
      service.signal("TERM");
      service.await(LIMIT);
      requireGone(own);
      assertThat(content(unit, "cgroup.subtree_control")).isEmpty();
    } finally {
      Eventually.require(LIMIT, () -> unit + " is left behind", () -> unit.toFile().delete());
    }
  }

  /** Two processes in a group of version 2: neither is the service's to move. */
  @Scenario(modes = Mode.LIBRARY)
  void aServiceInAGroupWithOthers(Trial trial) throws IOException {
    Hierarchy hierarchy = hierarchy();
    assumeTrue(hierarchy.unified(), "version 1 has groups with processes hand CPU time on");
    Path unit = hierarchy.root().resolve("obt-shared-" + ProcessHandle.current().pid());
    Path socket = trial.directory().resolve("s");
    Files.createDirectory(unit);
    try (Running other = trial.beside(in(unit, "sh", "-c", "echo in; exec sleep 600")).start()) {
      other.awaitOutput(LIMIT, "in");
      try (Running service = service(trial, unit, socket)) {
        long pid = trial.processes("cli.Main device --listen").getFirst();
        assertThat(hierarchy.group(pid)).isEqualTo(unit);
        assertThat(content(unit, "cgroup.subtree_control")).isEmpty();
        assertThat(status(trial, socket))
            .contains("CPU: shared as any processes do")
            .contains("other processes are in it, too");
        try (var entries = Files.list(unit)) {
          assertThat(entries.filter(Files::isDirectory)).isEmpty();
        }
        service.signal("TERM");
        service.await(LIMIT);
      }
    } finally {
      Eventually.require(LIMIT, () -> unit + " is left behind", () -> unit.toFile().delete());
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void whereNoGroupCanBeMade(Trial trial) {
    Hierarchy hierarchy = hierarchy();
    assumeTrue(
        "root".equals(System.getProperty("user.name")), "it takes root to make a mount read-only");
    Path socket = trial.directory().resolve("s");
    String[] words =
        in(
            hierarchy.root(),
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -o remount,bind,ro \"$0\" && exec \"$@\"",
            hierarchy.root().toString(),
            Programs.launcher().toString(),
            "device",
            "--listen=unix:" + socket,
            "--net=none");
    List<String> asking = new ArrayList<>(List.of(words));
    asking.add("--limit=cpu=50%");
    Finished refused = trial.beside(asking.toArray(String[]::new)).run(LIMIT).expectStatus(125);
    assertThat(refused.errors())
        .contains("The CPU time of sessions cannot be limited (--limit cpu=50%)")
        .contains("Read-only file system")
        .contains("Delegate=cpu");
    assertThat(socket).doesNotExist();
    try (Running service = trial.beside(words).start()) {
      service.awaitErrors(LIMIT, "listening at");
      Running one = session(trial, socket, "print('on', flush=True); input()");
      one.awaitOutput(LIMIT, "on");
      assertThat(hierarchy.group(newKernel(trial, List.of())).getFileName().toString())
          .doesNotStartWith("outboard-");
      assertThat(status(trial, socket))
          .contains("CPU: shared as any processes do: no group can be made in " + hierarchy.root())
          .contains("Read-only file system");
      assertThat(ServiceLog.lines(service)).hasSize(1);
      one.close();
    }
  }
}
