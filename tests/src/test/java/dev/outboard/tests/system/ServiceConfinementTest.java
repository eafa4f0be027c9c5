// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

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
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What somebody gets who has got hold of a service's own process: a debugger has that process make
 * the calls, so nothing in it has to cooperate, and has another process of the same user make them,
 * too, to which the machine's kernel says something else.
 */
class ServiceConfinementTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** Calls that change nothing where they are allowed; all but the last have nothing to work on. */
  private static final Map<String, String> ALWAYS = new LinkedHashMap<>();

  static {
    ALWAYS.put("process_vm_readv", "310, getpid(), 0, 0, 0, 0, 0");
    ALWAYS.put("process_vm_writev", "311, getpid(), 0, 0, 0, 0, 0");
    ALWAYS.put("kcmp", "312, getpid(), getpid(), 0, 0, 0");
    ALWAYS.put("pidfd_getfd", "438, -1, 0, 0");
    ALWAYS.put("keyctl", "250, 99, 0, 0, 0, 0");
    ALWAYS.put("add_key", "248, 0, 0, 0, 0, 0");
    ALWAYS.put("perf_event_open", "298, 0, 0, 0, 0, 0");
    ALWAYS.put("io_uring_setup", "425, 0, 0");
    ALWAYS.put("userfaultfd", "323, 0x40000000");
    ALWAYS.put("name_to_handle_at", "303, -1, 0, 0, 0, 0");
    ALWAYS.put("clock_adjtime", "305, 99, 0");
    ALWAYS.put("move_mount", "429, -1, 0, -1, 0, 0");
    ALWAYS.put("setns", "308, -1, 0");
    ALWAYS.put("bpf", "321, 99, 0, 0");
  }

  /** Those that passt needs; as root they would succeed, or find nothing there. */
  private static final Map<String, String> NAMESPACES = new LinkedHashMap<>();

  static {
    NAMESPACES.put("unshare", "272, 0x04000000");
    NAMESPACES.put("umount2", "166, 0, 0");
    NAMESPACES.put("chroot", "161, 0");
  }

  private static final Pattern RESULT = Pattern.compile("result (\\w+) (-?\\d+) (\\d+)");

  /** What a process gets that a debugger has make these calls: 0, or an errno. */
  private static Map<String, Integer> made(Trial trial, long pid, Map<String, String> calls) {
    List<String> words =
        new ArrayList<>(List.of("gdb", "-q", "-nx", "-batch", "-p", Long.toString(pid)));
    words.addAll(List.of("-ex", "set scheduler-locking on"));
    calls.forEach((name, arguments) -> {
      String call = "((long (*)(long, ...)) syscall)(" + arguments + ")";
      call = call.replace("getpid()", "((int (*)(void)) getpid)()");
      words.addAll(List.of("-ex", "set $r = " + call));
      words.addAll(
          List.of(
              "-ex",
              "printf \"result "
                  + name
                  + " %ld %d\\n\", $r, *((int *(*)(void)) __errno_location)()"));
    });
    String output = trial.machine(words.toArray(String[]::new)).run(LIMIT).expectSuccess().output();
    Map<String, Integer> results = new LinkedHashMap<>();
    RESULT
        .matcher(output)
        .results()
        .forEach((MatchResult m) ->
            results.put(m.group(1), m.group(2).equals("-1") ? Integer.parseInt(m.group(3)) : 0));
    assertThat(results.keySet()).as(output).isEqualTo(calls.keySet());
    return results;
  }

  private static final int EPERM = 1;

  private static void refused(Trial trial, long service, long other, Map<String, String> calls) {
    Map<String, Integer> allowed = made(trial, other, calls);
    Map<String, Integer> results = made(trial, service, calls);
    for (String call : calls.keySet()) {
      assertThat(allowed.get(call)).as("%s, elsewhere", call).isNotEqualTo(EPERM);
      assertThat(results.get(call)).as(call).isEqualTo(EPERM);
    }
  }

  private static void confined(long pid) throws IOException {
    try (Stream<Path> threads = Files.list(Path.of("/proc/" + pid + "/task"))) {
      List<Path> all = threads.toList();
      assertThat(all).hasSizeGreaterThan(5);
      for (Path thread : all) {
        String status = Files.readString(thread.resolve("status"));
        assertThat(status).contains("NoNewPrivs:\t1", "Seccomp:\t2");
      }
    }
    assertThat(Files.readString(Path.of("/proc/" + pid + "/limits")))
        .containsPattern("Max core file size +0 +0 ");
  }

  private static long service(Trial trial) {
    List<Long> found =
        trial.processes("cli.Main device --listen").stream()
            .filter(pid -> trial.processes("cli.Main device --control").indexOf(pid) < 0)
            .toList();
    return found.getLast();
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aServiceCannotDoWhatItNeverNeeds(Trial trial) throws Exception {
    Programs.require("gdb");
    Machines machines = new Machines(trial);
    Path socket = trial.directory().resolve("s");
    int port = trial.port();
    machines.introduce(port);
    try (Running idle = trial.machine("sleep", "600").start();
        Running service = machines.service(port, "--listen=unix:" + socket, "--net=none")) {
      long pid = service(trial);
      assertThat(idle.alive()).isTrue();
      long other = trial.processes("sleep 600").getLast();
      confined(pid);
      refused(trial, pid, other, ALWAYS);
      refused(trial, pid, other, NAMESPACES);
      // And it still does all that it is for.
      assertThat(
              machines.run(port, List.of(), "ip", "-o", "addr").run(LIMIT).expectSuccess().output())
          .contains("127.0.0.1/8");
      Running held =
          trial
              .outboard(
                  "run", "--device=unix:" + socket, "--", "sh", "-c", "ip -o link; echo on; read x")
              .start();
      held.awaitOutput(LIMIT, "on");
      long kernel = ServiceTest.kernels(trial).getFirst();
      assertThat(Files.readString(Path.of("/proc/" + kernel + "/status")))
          .as("a kernel's process has both filters")
          .contains("NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t2");
      assertThat(machines.status("host", port)).contains("so far 1");
      held.close();
      assertThat(service.errors()).doesNotContain("not filtered");
    }
  }

  /** passt shuts itself in by namespaces, which it must be able to make. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void withPasstWhatPasstNeedsIsLeft(Trial trial) throws Exception {
    Programs.require("gdb", "passt");
    Path options = trial.file("options", "# none\n");
    Path socket = trial.directory().resolve("s");
    try (Running idle = trial.machine("sleep", "600").start();
        Running service =
            trial.outboard("device", "--listen=unix:" + socket, "--options=" + options).start()) {
      service.awaitErrors(LIMIT, "listening at");
      long pid = service(trial);
      confined(pid);
      assertThat(idle.alive()).isTrue();
      refused(trial, pid, trial.processes("sleep 600").getLast(), ALWAYS);
      assertThat(addresses(trial, socket)).contains("eth0");
      // What a reload asks for must be left.
      trial.file("options", "--net=none\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "kernels that start from now on");
      assertThat(addresses(trial, socket)).contains("127.0.0.1/8").doesNotContain("eth0");
    }
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aReloadDoesNotAskForWhatWasGivenUp(Trial trial) {
    Path options = trial.file("options", "--net=none\n");
    Path socket = trial.directory().resolve("s");
    try (Running service =
        trial.outboard("device", "--listen=unix:" + socket, "--options=" + options).start()) {
      service.awaitErrors(LIMIT, "listening at");
      trial.file("options", "--net=passt\n");
      service.signal("HUP");
      service.awaitErrors(LIMIT, "nothing is changed: .*given up.*start it anew");
    }
  }

  /** What a program sees of its session's network. */
  private static String addresses(Trial trial, Path socket) {
    return trial
        .outboard("run", "--device=unix:" + socket, "--", "ip", "-o", "-4", "addr")
        .run(LIMIT)
        .expectSuccess()
        .output();
  }
}
