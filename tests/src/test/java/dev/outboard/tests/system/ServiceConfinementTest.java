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
import dev.outboard.tests.support.ServiceLog;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
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

  /** {@code CAP_SETGID}, {@code CAP_SETUID}: to become another user. */
  private static final long USER = 0xc0;

  private static final long DAC_OVERRIDE = 0x2;
  private static final long KILL = 0x20;
  private static final long NET_ADMIN = 0x1000;

  private static final int EACCES = 13;

  private static final Pattern RESULT = Pattern.compile("result (\\w+) (-?\\d+) (\\d+)");

  /** What a process gets that a debugger has make these calls: 0, or an errno. */
  private static Map<String, Integer> made(Trial trial, long pid, Map<String, String> calls) {
    return made(trial, pid, calls, Map.of());
  }

  /**
   * The same.
   *
   * @param paths of a call of that name, whose arguments name it {@code $path}
   */
  private static Map<String, Integer> made(
      Trial trial, long pid, Map<String, String> calls, Map<String, Path> paths) {
    List<String> words =
        new ArrayList<>(List.of("gdb", "-q", "-nx", "-batch", "-p", Long.toString(pid)));
    words.addAll(List.of("-ex", "set scheduler-locking on"));
    calls.forEach((name, arguments) -> {
      String call = "((long (*)(long, ...)) syscall)(" + arguments + ")";
      Path path = paths.get(name);
      if (path != null) {
        // Far below what the thread has on its stack, and what the call needs of it.
        words.addAll(
            List.of(
                "-ex",
                "set $path = (long) $sp - 8192",
                "-ex",
                "python gdb.selected_inferior().write_memory(int(gdb.parse_and_eval('$path')), b'"
                    + path
                    + "\\0')"));
      }
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

  /** What a process gets that opens these files, made by a debugger, with flags of open(2). */
  private static Map<String, Integer> opened(
      Trial trial, long pid, Map<String, Path> paths, Map<String, Integer> flags) {
    Map<String, String> calls = new LinkedHashMap<>();
    paths.forEach((name, path) ->
        calls.put(name, "257, -100, $path, " + flags.getOrDefault(name, 0) + ", 0"));
    return made(trial, pid, calls, paths);
  }

  /**
   * What Linux says of each thread of a process that is root's: {@code CapPrm} and so on; another
   * user's has nothing.
   *
   * @param bounding who has no CAP_SETPCAP starts processes with his own
   */
  private static void capabilities(long pid, long expected, long bounding) throws IOException {
    try (Stream<Path> threads = Files.list(Path.of("/proc/" + pid + "/task"))) {
      for (Path thread : threads.toList()) {
        String status;
        try {
          status = Files.readString(thread.resolve("status"));
        } catch (NoSuchFileException e) {
          continue; // It has ended meanwhile.
        }
        if (status.contains("Uid:\t0\t0\t0\t0\n")) {
          String set = String.format(Locale.ROOT, "%016x", expected);
          assertThat(status)
              .contains("CapPrm:\t" + set, "CapEff:\t" + set)
              .contains(String.format(Locale.ROOT, "CapBnd:\t%016x", bounding))
              .contains("CapInh:\t0000000000000000", "CapAmb:\t0000000000000000");
        } else {
          assertThat(status).contains("CapPrm:\t0000000000000000", "CapEff:\t0000000000000000");
        }
        assertThat(status).contains("NoNewPrivs:\t1");
      }
    }
  }

  /**
   * What a service has besides what its kernels have. Where groups are made at the root of a
   * hierarchy, as in a container, it says that it has to keep more.
   */
  private static long ofItsOwn(Running service) {
    return ServiceLog.keepsMore(service) ? KILL | DAC_OVERRIDE : KILL;
  }

  /** Files that anybody may read or write, and what a process has to get that opens them. */
  private static void confinedToItsFiles(Trial trial, long pid, long other, boolean service)
      throws IOException {
    Path secret = trial.file("not-a-secret", "anybody's\n");
    Files.setPosixFilePermissions(secret, PosixFilePermissions.fromString("rw-rw-rw-"));
    Path made = Path.of("/tmp/outboard-made-" + pid);
    Map<String, Path> paths = new LinkedHashMap<>();
    paths.put("read", secret);
    paths.put("write", secret);
    paths.put("make", made);
    paths.put("list", trial.directory());
    paths.put("passwords", Path.of("/etc/shadow"));
    paths.put("program", Path.of("/usr/bin/env"));
    paths.put("machine", Path.of("/proc/meminfo"));
    Map<String, Integer> flags = Map.of("write", 1, "make", 0102, "list", 0200000);
    try {
      Map<String, Integer> elsewhere = opened(trial, other, paths, flags);
      assertThat(elsewhere.values()).as("elsewhere: %s", elsewhere).containsOnly(0);
    } finally {
      Files.deleteIfExists(made);
    }
    Map<String, Integer> results = opened(trial, pid, paths, flags);
    assertThat(Files.exists(made)).isFalse();
    assertThat(results).containsEntry("program", 0).containsEntry("machine", 0);
    for (String name : List.of("read", "list", "passwords")) {
      assertThat(results.get(name)).as(name).isEqualTo(EACCES);
    }
    // A kernel's process may not even ask to write.
    for (String name : List.of("write", "make")) {
      assertThat(results.get(name)).as(name).isEqualTo(service ? EACCES : EPERM);
    }
  }

  private static boolean root() {
    return System.getProperty("user.name").equals("root");
  }

  private static boolean hasLandlock(Trial trial) {
    return trial
        .machine(
            "python3",
            "-c",
            "import ctypes; print('version', ctypes.CDLL(None).syscall(444, 0, 0, 1))")
        .run(LIMIT)
        .expectSuccess()
        .output()
        .matches("version ([2-9]|\\d\\d+)\n");
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
      capabilities(pid, USER | ofItsOwn(service), USER | ofItsOwn(service));
      refused(trial, pid, other, ALWAYS);
      refused(trial, pid, other, NAMESPACES);
      boolean landlock = hasLandlock(trial);
      if (landlock) {
        confinedToItsFiles(trial, pid, other, true);
      }
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
      capabilities(kernel, USER, USER | ofItsOwn(service));
      if (landlock && root()) {
        confinedToItsFiles(trial, kernel, other, false);
      }
      assertThat(machines.status("host", port)).contains("so far 1");
      // What is said to every JVM reaches it.
      assertThat(
              trial
                  .machine(javaTool("jcmd"), Long.toString(pid), "Thread.print")
                  .run(LIMIT)
                  .expectSuccess()
                  .output())
          .contains("acceptor");
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
      capabilities(pid, USER | ofItsOwn(service), USER | ofItsOwn(service));
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

  private static String javaTool(String name) {
    return Path.of(System.getProperty("java.home"), "bin", name).toString();
  }

  /** An export is read and written by whoever the program is; a reload adds no other. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void withAnExportTheExportAndNothingElseIsLeft(Trial trial) throws Exception {
    Programs.require("gdb");
    Path export = trial.newDirectory("export");
    Path more = trial.newDirectory("more");
    Path conf = trial.newDirectory("conf");
    Path options = Files.writeString(conf.resolve("options"), "--limit=cpu=50%\n");
    Path log = trial.directory().resolve("log");
    Path socket = trial.directory().resolve("s");
    try (Running idle = trial.machine("sleep", "600").start();
        Running service =
            trial
                .outboard(
                    "device",
                    "--listen=unix:" + socket,
                    "--net=none",
                    "--export=" + export + ":/there",
                    "--log=" + log,
                    "--options=" + options)
                .start()) {
      service.awaitErrors(LIMIT, "listening at");
      assertThat(idle.alive()).isTrue();
      long pid = service(trial);
      String script =
          "umask 022; cd /there && mkdir d && echo text >d/f && chmod 640 d/f && mv d/f g && cat g"
              + " && [ ! -e ../more ] && echo on && read x && rm -r d g";
      Running held =
          trial.outboard("run", "--device=unix:" + socket, "--", "sh", "-c", script).start();
      held.awaitOutput(LIMIT, "text\non\n");
      assertThat(export.resolve("g")).hasContent("text");
      long kernel = ServiceTest.kernels(trial).getFirst();
      if (root()) {
        // CHOWN to FOWNER, FSETID, SETGID, SETUID, LINUX_IMMUTABLE, MKNOD, SETFCAP
        long ofFiles = 0x1f | USER | 0x200 | 1L << 27 | 1L << 31;
        capabilities(pid, ofFiles | ofItsOwn(service), ofFiles | ofItsOwn(service));
        capabilities(kernel, ofFiles, ofFiles | ofItsOwn(service));
      }
      if (hasLandlock(trial)) {
        Map<String, Path> paths = new LinkedHashMap<>();
        paths.put("export", export);
        paths.put("more", more);
        paths.put("conf", conf);
        assertThat(opened(trial, pid, paths, Map.of()))
            .containsEntry("export", 0)
            .containsEntry("more", EACCES)
            .containsEntry("conf", 0);
        if (root()) {
          assertThat(opened(trial, kernel, paths, Map.of()))
              .containsEntry("export", 0)
              .containsEntry("more", EACCES)
              .containsEntry("conf", EACCES);
        }
        // Another file in the place of the one that was read first.
        Path next = Files.writeString(conf.resolve("next"), "--export=" + more + ":/more\n");
        Files.move(next, options, StandardCopyOption.ATOMIC_MOVE);
        service.signal("HUP");
        service.awaitErrors(LIMIT, "nothing is changed: .*given up.*start it anew");
      }
      held.type("\n");
      held.await(LIMIT).expectSuccess();
      assertThat(export).isEmptyDirectory();
      Files.writeString(conf.resolve("next"), "--export=" + export + ":/other:ro\n");
      Files.move(conf.resolve("next"), options, StandardCopyOption.ATOMIC_MOVE);
      service.signal("HUP");
      service.awaitErrors(LIMIT, "kernels that start from now on");
      trial
          .outboard("run", "--device=unix:" + socket, "--", "sh", "-c", "ls /other && ls /there")
          .run(LIMIT)
          .expectSuccess();
      // It is written when it is full, or ends.
      service.signal("TERM");
      service.await(LIMIT).expectSuccess();
      assertThat(Files.readString(log)).contains("Linux version");
    }
  }

  /** An interface is made, serves and is given back by a process that can do little else. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void withATapTheInterfacesAreLeft(Trial trial) throws Exception {
    Path socket = trial.directory().resolve("s");
    String tap = "obk" + ProcessHandle.current().pid();
    try (Running service =
        trial
            .outboard(
                "device",
                "--listen=unix:" + socket,
                "--one-kernel",
                "--net=tap:name=" + tap + ",addr=10.255.251.2/24")
            .start()) {
      service.awaitErrors(LIMIT, "listening at");
      long own = ofItsOwn(service);
      capabilities(service(trial), NET_ADMIN | own, NET_ADMIN | own);
      capabilities(ServiceTest.kernels(trial).getFirst(), NET_ADMIN, NET_ADMIN | own);
      assertThat(addresses(trial, socket)).contains("10.255.251.2/24");
      assertThat(trial.beside("ip", "-o", "link").run(LIMIT).expectSuccess().output())
          .contains(tap);
      trial.beside("ping", "-c", "1", "-W", "10", "10.255.251.2").run(LIMIT).expectSuccess();
      service.signal("TERM");
      service.await(LIMIT).expectSuccess();
      assertThat(trial.beside("ip", "-o", "link").run(LIMIT).expectSuccess().output())
          .doesNotContain(tap);
    }
  }

  /** Devices of one session: of capabilities they have what their work takes. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aDeviceOfOneSessionHasWhatItsWorkTakes(Trial trial) throws Exception {
    try (Running held =
        trial.outboard("run", "--net=none", "--", "sh", "-c", "echo on; read x").start()) {
      held.awaitOutput(LIMIT, "on\n");
      capabilities(trial.device(), USER, USER);
      // The host's side is the user's, who has what he had.
      assertThat(Files.readString(Path.of("/proc/" + trial.hook() + "/status")))
          .contains("NoNewPrivs:\t0");
      held.type("\n");
      held.await(LIMIT).expectSuccess();
    }
    try (Running stdio = trial.outboard("device", "--stdio", "--net=none").start()) {
      Eventually.require(
          LIMIT,
          () -> "no device with what it needs: " + trial.processes("cli.Main device --stdio"),
          () -> {
            List<Long> found = trial.processes("cli.Main device --stdio");
            return restarted(found) || (found.size() == 1 && !root());
          });
      capabilities(trial.processes("cli.Main device --stdio").getFirst(), USER, USER);
      stdio.endInput();
    }
  }

  private static boolean restarted(List<Long> found) {
    return found.size() == 1
        && ProcFile.commandLine(found.getFirst()).contains("outboard.restricted");
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
