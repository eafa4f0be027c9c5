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

  /** Where version 1 shares out CPU time, if this process may make groups there. */
  private static Path hierarchy() {
    Path mount = mount();
    assumeTrue(
        mount != null,
        "version 1 of control groups does not share out CPU time here, and in version 2 a trial's"
            + " group has more processes than the service");
    Path probe = mount.resolve("obt-probe-" + ProcessHandle.current().pid());
    try {
      Files.createDirectory(probe);
      Files.delete(probe);
    } catch (IOException e) {
      assumeTrue(false, "no control group can be made in " + mount + ": " + e);
    }
    return mount;
  }

  private static @Nullable Path mount() {
    try {
      return Files.readAllLines(Path.of("/proc/self/mounts")).stream()
          .map(line -> line.split(" ", -1))
          .filter(f -> f[2].equals("cgroup") && Arrays.asList(f[3].split(",", -1)).contains("cpu"))
          .map(f -> Path.of(f[1]))
          .findFirst()
          .orElse(null);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The control group for CPU time that a process is in. */
  private static Path group(Path hierarchy, long pid) {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/cgroup"))) {
        String[] parts = line.split(":", 3);
        if (Arrays.asList(parts[1].split(",", -1)).contains("cpu")) {
          return hierarchy.resolve("." + parts[2]).normalize();
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    throw new AssertionError("process " + pid + " is in no control group for CPU time");
  }

  private static String content(Path group, String file) {
    try {
      return Files.readString(group.resolve(file)).strip();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Running service(Trial trial, Path socket, String... more) {
    List<String> words =
        new ArrayList<>(List.of("device", "--listen", "unix:" + socket, "--net=none"));
    words.addAll(List.of(more));
    Running service = trial.outboard(words.toArray(String[]::new)).start();
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

  /** CPU time of a process so far, to a hundredth of a second: {@code proc_pid_stat(5)}. */
  private static double cpuSeconds(long pid) {
    String stat = ProcFile.read(pid, "stat");
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
    return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / 100.0;
  }

  private static void requireGone(Path group) {
    Eventually.require(LIMIT, () -> group + " is left behind", () -> !Files.exists(group));
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aLimitHoldsForOneSessionAndNotForAnother(Trial trial) {
    Path hierarchy = hierarchy();
    Path socket = trial.directory().resolve("s");
    int metrics = trial.port();
    Path options = trial.file("options", "--limit=cpu=10%,tasks=64\n");
    try (Running service = service(trial, socket, "--options=" + options, "--metrics=" + metrics)) {
      Running limited = session(trial, socket, BUSY);
      limited.awaitOutput(LIMIT, "busy");
      long slow = newKernel(trial, List.of());
      Path slowGroup = group(hierarchy, slow);
      assertThat(slowGroup.getFileName().toString()).startsWith("outboard-");
      assertThat(content(slowGroup, "cpu.cfs_period_us")).isEqualTo("20000");
      assertThat(content(slowGroup, "cpu.cfs_quota_us")).isEqualTo("2000");

      trial.file("options", "--limit=cpu=3%\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "nothing is changed: --limit cpu: '3%' is not a part");
      trial.file("options", "--limit=cpu=fair\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "options as they are now");
      Running free = session(trial, socket, BUSY);
      free.awaitOutput(LIMIT, "busy");
      long fast = newKernel(trial, List.of(slow));
      Path fastGroup = group(hierarchy, fast);
      assertThat(fastGroup).isNotEqualTo(slowGroup);
      assertThat(content(fastGroup, "cpu.cfs_quota_us")).isEqualTo("-1");
      assertThat(content(fastGroup, "cpu.shares")).isEqualTo(content(slowGroup, "cpu.shares"));
      assertThat(content(slowGroup, "cpu.cfs_quota_us")).as("it stays as it was").isEqualTo("2000");

      // However loaded the machine is: so much at most, and less than who has no limit.
      long from = System.nanoTime();
      double slowBefore = cpuSeconds(slow);
      double fastBefore = cpuSeconds(fast);
      Eventually.require(
          LIMIT,
          () -> "the session without a limit has used " + (cpuSeconds(fast) - fastBefore),
          () -> cpuSeconds(fast) - fastBefore > 1.5 && System.nanoTime() - from > 2 * NANOS);
      double slowUsed = cpuSeconds(slow) - slowBefore;
      double wall = (System.nanoTime() - from) / NANOS;
      assertThat(slowUsed)
          .as("CPU seconds of %f with a limit of a tenth", wall)
          .isLessThan(0.1 * wall + 0.1);
      assertThat(slowUsed).isLessThan(cpuSeconds(fast) - fastBefore);
      assertThat(content(slowGroup, "cpu.stat")).containsPattern("nr_throttled [1-9]");
      assertThat(content(fastGroup, "cpu.stat")).contains("nr_throttled 0");

      assertThat(status(trial, socket))
          .contains("CPU: a control group in " + hierarchy)
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
    Path hierarchy = hierarchy();
    Path socket = trial.directory().resolve("s");
    Running killed = service(trial, socket, "--limit=cpu=50%");
    Running program = session(trial, socket, "print('on', flush=True); input(); print('still on')");
    program.awaitOutput(LIMIT, "on");
    long kernel = newKernel(trial, List.of());
    Path group = group(hierarchy, kernel);
    Trial.signal(trial.processes("cli.Main device --listen").getFirst(), "KILL");
    killed.await(LIMIT);
    Path other = trial.directory().resolve("other");
    try (Running next = service(trial, other)) {
      assertThat(content(group, "cgroup.procs").lines()).contains(Long.toString(kernel));
      assertThat(content(group, "cpu.cfs_quota_us")).isEqualTo("10000");
      program.type("\n");
      assertThat(program.await(LIMIT).expectSuccess().output()).contains("still on");
      Eventually.require(LIMIT, next::errors, () -> kernels(trial).isEmpty());
      assertThat(group).as("nobody is there to remove it").exists();
      Running one = session(trial, other, "print('on', flush=True); input()");
      one.awaitOutput(LIMIT, "on");
      assertThat(group).doesNotExist();
      Path own = group(hierarchy, newKernel(trial, List.of()));
      one.close();
      requireGone(own);
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void whereNoGroupCanBeMade(Trial trial) {
    Path hierarchy = hierarchy();
    assumeTrue(
        "root".equals(System.getProperty("user.name")), "it takes root to make a mount read-only");
    Path socket = trial.directory().resolve("s");
    String[] words = {
      "unshare",
      "--mount",
      "sh",
      "-c",
      "mount -o remount,bind,ro \"$0\" && exec \"$@\"",
      hierarchy.toString(),
      Programs.launcher().toString(),
      "device",
      "--listen=unix:" + socket,
      "--net=none"
    };
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
      assertThat(group(hierarchy, newKernel(trial, List.of())).getFileName().toString())
          .doesNotStartWith("outboard-");
      assertThat(status(trial, socket))
          .contains("CPU: shared as any processes do: no group can be made in " + hierarchy)
          .contains("Read-only file system");
      assertThat(service.errors().lines()).hasSize(1);
      one.close();
    }
  }
}
