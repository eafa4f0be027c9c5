// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkListener;
import dev.outboard.channel.LinkOptions;
import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.MemoryParts;
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
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;

/** {@code outboard device --listen}: a kernel for each session, unless it is shared on purpose. */
class ServiceTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** Binds 127.0.0.1 at the port, says so, and serves one connection after the other. */
  static final String SERVER =
      """
      import socket, sys
      s = socket.socket()
      s.bind(("127.0.0.1", int(sys.argv[1])))
      s.listen()
      print("bound", flush=True)
      while True:
          c = s.accept()[0]
          c.sendall(b"from " + sys.argv[2].encode())
          c.close()
      """;

  /** Prints what such a server sends, or why there is none. */
  static final String CLIENT =
      """
      import errno, socket, sys
      c = socket.socket()
      try:
          c.connect(("127.0.0.1", int(sys.argv[1])))
          print(c.recv(100).decode())
      except OSError as e:
          print(errno.errorcode[e.errno])
      """;

  private static final String ROUND_TRIPS =
      """
      import socket, sys
      l = socket.create_server(("127.0.0.1", 0))
      c = socket.create_connection(l.getsockname())
      s = l.accept()[0]
      for i in range(200):
          for a, b in (c, s), (s, c):
              a.sendall(b"x" * 1000)
              left = 1000
              while left:
                  left -= len(b.recv(left))
      print("done", flush=True)
      sys.stdin.read()
      """;

  /** For each of many sessions that begin or end together. */
  private static final Duration MANY = Duration.ofMinutes(5);

  /** What the process of a session's kernel may have in use. */
  private static final long MOST_RESIDENT_KIB = 120 << 10;

  /** For who asks for nothing but an answer. */
  static final LinkListener NOBODY =
      new LinkListener() {
        @Override
        public void ready(int handle, int mask, long stamp) {}

        @Override
        public void notice(String line) {}

        @Override
        public void lost(String why) {}
      };

  private static Running service(Trial trial, Path socket, String... more) {
    List<String> words = new ArrayList<>(List.of("device", "--listen", "unix:" + socket));
    words.addAll(List.of("--kernel", trial.mode().word()));
    if (trial.mode() == Mode.LIBRARY) {
      words.add("--net=none");
    }
    words.addAll(List.of(more));
    Running service = trial.outboard(words.toArray(String[]::new)).start();
    service.awaitErrors(LIMIT, "listening at");
    return service;
  }

  private static Command in(Trial trial, Path socket, List<String> options, String... program) {
    List<String> words = new ArrayList<>(List.of("run", "--device", "unix:" + socket));
    words.addAll(options);
    words.add("--");
    words.addAll(List.of(program));
    return trial.outboard(words.toArray(String[]::new));
  }

  private static Running server(
      Trial trial, Path socket, int port, String name, String... options) {
    Running server =
        in(
                trial,
                socket,
                List.of(options),
                Programs.PYTHON,
                "-c",
                SERVER,
                Integer.toString(port),
                name)
            .start();
    server.awaitOutput(LIMIT, "bound");
    return server;
  }

  private static String client(Trial trial, Path socket, int port, String... options) {
    return in(
            trial, socket, List.of(options), Programs.PYTHON, "-c", CLIENT, Integer.toString(port))
        .run(LIMIT)
        .expectSuccess()
        .output()
        .strip();
  }

  /** Processes with kernels, by age. */
  static List<Long> kernels(Trial trial) {
    return trial.processes("cli.Main device --control").stream().sorted().toList();
  }

  @Scenario(modes = Mode.LIBRARY)
  void eachSessionHasAKernelUnlessItSharesOne(Trial trial) {
    Path socket = trial.directory().resolve("s");
    int port = trial.port();
    String[] options = {"--max-sessions=3", "--limit=tasks=16", "--device-path=/proc/sys/vm"};
    try (Running service = service(trial, socket, options)) {
      Running one = server(trial, socket, port, "one");
      long first = kernels(trial).getFirst();
      Running other = server(trial, socket, port, "other", "--share=web");
      assertThat(kernels(trial)).hasSize(2);
      assertThat(client(trial, socket, port)).as("a third kernel").isEqualTo("ECONNREFUSED");
      assertThat(client(trial, socket, port, "--share=web")).isEqualTo("from other");
      Running third = server(trial, socket, port, "third");
      Finished tooMany = in(trial, socket, List.of(), "echo", "ran").run(LIMIT).expectStatus(125);
      assertThat(tooMany.errors()).contains("serves 3 sessions already").contains("--max-sessions");
      assertThat(tooMany.output()).isEmpty();

      // A kernel that dies takes its session along, and is reported.
      Trial.signal(first, "KILL");
      service.awaitErrors(LIMIT, "session 1: its process was ended by signal 9; lost: session 1");
      service.awaitErrors(LIMIT, "it said last:(?s:.*)Run /init");
      one.awaitErrors(LIMIT, "The device is gone");
      one.await(LIMIT); // its accept has failed

      // So does one that panics: all its memory is to stay free.
      String starve = "cd /proc/sys/vm; echo 1000000000 > min_free_kbytes; cat min_free_kbytes";
      Finished starved = in(trial, socket, List.of(), "sh", "-c", starve).run(LIMIT);
      assertThat(starved.errors()).contains("The device is gone", "Network is down");
      service.awaitErrors(LIMIT, "session \\d+: its process ended with status 70; lost: session");
      service.awaitErrors(LIMIT, "it said last:(?s:.*)Kernel panic - not syncing");
      assertThat(third.alive()).isTrue();
      assertThat(client(trial, socket, port, "--share=web")).isEqualTo("from other");
      third.close();
      other.close();
      Eventually.require(LIMIT, service::errors, () -> kernels(trial).isEmpty());
    }
    assertThat(socket).doesNotExist();
  }

  /** Three views of the same: a table, JSON, and what Prometheus reads. */
  @Scenario(modes = Mode.LIBRARY)
  void whatAServiceSaysOfItself(Trial trial) {
    Path socket = trial.directory().resolve("s");
    Finished nobody =
        trial.outboard("status", "--device", "unix:" + socket).run(LIMIT).expectStatus(125);
    assertThat(nobody.errors()).contains("There is no device at");
    int port = trial.port();
    int metrics = trial.port();
    try (Running service = service(trial, socket, "--metrics=" + metrics)) {
      Finished idle =
          trial.outboard("status", "--device=unix:" + socket).run(LIMIT).expectSuccess();
      assertThat(idle.output()).contains("0 of 64 sessions, 0 kernels");
      Running watch = trial.outboard("status", "--device=unix:" + socket, "--watch").start();
      Running lines =
          trial.outboard("status", "--device=unix:" + socket, "--watch", "--json").start();
      for (Running w : List.of(watch, lines)) {
        w.awaitOutput(LIMIT, ".");
      }
      Running server = server(trial, socket, port, "x".repeat(1000), "--share=web");
      watch.awaitOutput(
          LIMIT,
          "(?s)\033\\[H\033\\[J.* 0 of 64 .*\033\\[H\033\\[J[^\033]* 1 of 64 [^\033]*^1 +web ");
      lines.awaitOutput(
          LIMIT, "(?s)^\\{[^\n]*\"kernels\": \\[\\][^\n]*\n.*^\\{[^\n]*\"name\": \"web\"");
      watch.close();
      lines.close();
      for (int i = 0; i < 3; i++) {
        assertThat(client(trial, socket, port, "--share=web")).startsWith("from xxx");
      }
      String table =
          trial.outboard("status", "--device=unix:" + socket).run(LIMIT).expectSuccess().output();
      assertThat(table).containsPattern("(?m)^1 +web ").contains("python3 (").contains("so far 4");
      String json =
          trial
              .outboard("status", "--device=unix:" + socket, "--json")
              .run(LIMIT)
              .expectSuccess()
              .output();
      // socket, bind, listen, accept and more; three answers of 1005 bytes.
      assertThat(json)
          .contains("\"sessionsSoFar\": 4", "\"name\": \"web\"", "\"bytesIn\": 3015")
          .containsPattern("\"calls\": [1-9][0-9]+, ");
      String figures = trial.figures(metrics).run(LIMIT).expectSuccess().output();
      assertThat(figures)
          .contains("outboard_sessions 1.0", "outboard_sessions_begun_total 4.0")
          .containsPattern("outboard_session_sent_bytes_total\\{.*kernel=\"web\".*} 3015.0")
          .containsPattern("outboard_session_call_seconds_count\\{.*} [1-9]");
      server.close();
      assertThat(ServiceLog.lines(service)).hasSize(1);
    }
  }

  /**
   * What somebody gets who has got hold of a kernel's process is what it has: another session's
   * memory, descriptors, files and ports are not among it.
   */
  @Scenario(modes = Mode.LIBRARY)
  void sessionsAreKeptApart(Trial trial) throws Exception {
    Programs.require("setpriv");
    Path socket = trial.directory().resolve("s");
    int port = trial.port();
    try (Running service = service(trial, socket);
        Running victim = server(trial, socket, port, "victim")) {
      long kernel = kernels(trial).getFirst();
      String status = Files.readString(Path.of("/proc/" + kernel + "/status"));
      if (status.contains("Uid:\t0\t")) {
        // Where the program's files are for root alone it says that it stays root.
        assertThat(service.errors()).contains("stays root");
      } else {
        assertThat(status)
            .contains("Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000");
      }
      try (Stream<Path> threads = Files.list(Path.of("/proc/" + kernel + "/task"))) {
        for (Path thread : threads.toList()) {
          assertThat(Files.readString(thread.resolve("status")))
              .contains("NoNewPrivs:\t1", "Seccomp:\t2");
        }
      }
      // As the same user as the kernels are: no memory, no descriptors.
      Finished look =
          trial
              .machine(
                  "setpriv",
                  "--reuid=65534",
                  "--regid=65534",
                  "--clear-groups",
                  "--bounding-set=-all",
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, sys
                  for what in ("fd", "mem", "maps", "fd/3", "root", "environ"):
                      path = f"/proc/{sys.argv[1]}/{what}"
                      try:
                          if what in ("fd",):
                              os.listdir(path)
                          elif what in ("fd/3", "root"):
                              os.readlink(path)
                          else:
                              open(path, "rb").read(1)
                          print(what, "is open")
                      except OSError as e:
                          print(what, e.errno)
                  import ctypes
                  libc = ctypes.CDLL(None, use_errno=True)
                  print("getfd", libc.syscall(438, libc.syscall(434, int(sys.argv[1]), 0), 3, 0))
                  """,
                  Long.toString(kernel))
              .run(LIMIT)
              .expectSuccess();
      assertThat(look.output()).doesNotContain("is open").contains("fd 13", "getfd -1");

      // By its own link a session names what it likes, and reaches nothing: another kernel.
      assertThat(client(trial, socket, port)).isEqualTo("ECONNREFUSED");
      try (Running same = server(trial, socket, port, "same port")) {
        assertThat(kernels(trial)).hasSize(2);
        assertThat(same.alive()).isTrue();
      }
      assertThat(victim.alive()).isTrue();
    }
  }

  /** A setting of the network, and a file of the kernel's own file system. */
  @Scenario(modes = Mode.LIBRARY)
  void whatASessionWritesIsNobodyElses(Trial trial) {
    Path socket = trial.directory().resolve("s");
    String read = "cat /proc/sys/net/ipv4/ip_default_ttl; cat /kept 2>&1";
    String write = "echo %d >/proc/sys/net/ipv4/ip_default_ttl; echo %s >/kept; ";
    try (Running service = service(trial, socket, "--device-path=/kept")) {
      Running one =
          in(
                  trial,
                  socket,
                  List.of("--share=one"),
                  "sh",
                  "-c",
                  write.formatted(77, "secret") + "echo on; read x; " + read)
              .start();
      one.awaitOutput(LIMIT, "on");
      Finished other =
          in(
                  trial,
                  socket,
                  List.of(),
                  "sh",
                  "-c",
                  read + "; " + write.formatted(55, "other") + read)
              .run(LIMIT)
              .expectSuccess();
      assertThat(other.output())
          .isEqualTo("64\ncat: /kept: No such file or directory\n55\nother\n");
      // Who shares the kernel on purpose sees it.
      Finished same =
          in(trial, socket, List.of("--share=one"), "sh", "-c", read).run(LIMIT).expectSuccess();
      assertThat(same.output()).isEqualTo("77\nsecret\n");
      one.type("go\n");
      assertThat(one.await(LIMIT).expectSuccess().output()).isEqualTo("on\n77\nsecret\n");
      assertThat(ServiceLog.lines(service)).hasSize(1);
    }
  }

  /** Descriptors up to the limit and no further, and what that does to a connection that waits. */
  @Scenario(modes = Mode.LIBRARY)
  void noMoreDescriptorsThanTheLimit(Trial trial) {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket, "--limit=handles=20")) {
      Finished done =
          in(
                  trial,
                  socket,
                  List.of(),
                  Programs.PYTHON,
                  "-c",
                  """
                  import errno, socket
                  def attempt(what, make):
                      try:
                          return make()
                      except OSError as e:
                          print(what, errno.errorcode[e.errno])
                  l = socket.create_server(("127.0.0.1", 0))
                  c = socket.create_connection(l.getsockname())
                  c.sendall(b"kept")
                  held = []
                  while s := attempt("one more than %d:" % (len(held) + 2), socket.socket):
                      held.append(s)
                  attempt("accept:", l.accept)
                  attempt("again:", l.accept)
                  held.pop().close()
                  print("accepted:", l.accept()[0].recv(100).decode())
                  for s in held:
                      s.close()
                  print("again", len([socket.socket() for s in held]))
                  """)
              .run(LIMIT)
              .expectSuccess();
      assertThat(done.output())
          .isEqualTo(
              """
              one more than 20: EMFILE
              accept: EMFILE
              again: EMFILE
              accepted: kept
              again 17
              """);
      // Another session has as many.
      assertThat(
              in(
                      trial,
                      socket,
                      List.of(),
                      Programs.PYTHON,
                      "-c",
                      "import socket; print(len([socket.socket() for i in range(20)]))")
                  .run(LIMIT)
                  .expectSuccess()
                  .output())
          .isEqualTo("20\n");
      assertThat(ServiceLog.lines(service)).hasSize(1);
    }
  }

  /** Threads that make calls at the same time, and as many again when they have ended. */
  @Scenario(modes = Mode.LIBRARY)
  void noMoreThreadsThanTheLimit(Trial trial) {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket, "--limit=tasks=6")) {
      Finished done =
          in(
                  trial,
                  socket,
                  List.of("--hook=notifier"),
                  Programs.PYTHON,
                  "-c",
                  """
                  import errno, socket, threading, time
                  THREADS = 12
                  def round():
                      refused = []
                      def wait(s):
                          try:
                              s.recv(1)
                          except OSError as e:
                              refused.append(errno.errorcode[e.errno])
                      pairs = []
                      l = socket.create_server(("127.0.0.1", 0), backlog=THREADS)
                      for i in range(THREADS):
                          c = socket.create_connection(l.getsockname())
                          pairs.append((c, l.accept()[0]))
                      threads = [threading.Thread(target=wait, args=(p[0],)) for p in pairs]
                      for t in threads:
                          t.start()
                      while len(refused) < THREADS - 6:
                          time.sleep(0.01)
                      for c, s in pairs:
                          s.sendall(b"x")
                      for t in threads:
                          t.join()
                      return len(refused), set(refused)
                  for i in range(2):
                      count, names = round()
                      while i and count == THREADS:  # those of the first are on their way out
                          count, names = round()
                      print(THREADS - 6 <= count < THREADS, names)
                  """)
              .run(LIMIT)
              .expectSuccess();
      assertThat(done.output()).isEqualTo("True {'ENOBUFS'}\n".repeat(2));
      assertThat(done.errors().lines()).hasSize(1);
      assertThat(done.errors()).contains("no call slot left: more than 6 program threads");
      assertThat(ServiceLog.lines(service)).hasSize(1);
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void drainAndReload(Trial trial) {
    Path socket = trial.directory().resolve("s");
    Path options = trial.file("options", "# for all kernels\n--device-path=/one\n");
    Running service = service(trial, socket, "--options=" + options);
    trial.file("options", "--publish=18080:80\n");
    service.signal("HUP");
    service.awaitErrors(LIMIT, "nothing is changed: --publish is for one kernel");
    trial.file("options", "--memory=1T\n");
    service.signal("HUP");
    service.awaitErrors(LIMIT, "nothing is changed: --memory");
    trial.file("options", "--device-path=/sys/class/net/lo/address\n");
    service.signal("HUP");
    service.awaitErrors(LIMIT, "options as they are now");
    Running program =
        in(trial, socket, List.of(), "sh", "-c", "echo on; read x; ip -o addr").start();
    program.awaitOutput(LIMIT, "on");
    service.signal("TERM");
    service.awaitErrors(LIMIT, "1 may go on for 30 s");
    Finished late = in(trial, socket, List.of(), "echo", "ran").run(LIMIT).expectStatus(125);
    assertThat(late.errors()).contains("takes no new sessions");
    program.type("go\n");
    assertThat(program.await(LIMIT).expectSuccess().output()).contains("127.0.0.1/8");
    service.await(LIMIT).expectSuccess();
    assertThat(socket).doesNotExist();

    // A second signal does not wait.
    Running hasty = service(trial, socket);
    Running stuck =
        in(trial, socket, List.of(), Programs.PYTHON, "-c", "import time; time.sleep(99)").start();
    Eventually.require(LIMIT, hasty::errors, () -> kernels(trial).size() == 1);
    Eventually.pause(500);
    hasty.signal("TERM");
    hasty.awaitErrors(LIMIT, "another SIGTERM ends them");
    hasty.signal("TERM");
    hasty.await(Duration.ofSeconds(10)).expectSuccess();
    stuck.close();
  }

  @Scenario(modes = Mode.LIBRARY)
  void settingsThatOnlyOneKernelCanHave(Trial trial) {
    Path socket = trial.directory().resolve("s");
    for (String option :
        List.of("--net=tap:name=obtnone,addr=10.255.255.2/24", "--publish=18080:80")) {
      Finished done =
          trial
              .outboard("device", "--listen", "unix:" + socket, option)
              .run(LIMIT)
              .expectStatus(125);
      assertThat(done.errors()).contains(option.substring(0, 9)).contains("--one-kernel");
    }
    // What cannot be had is said before there is a visitor if there is one kernel, else to it.
    Finished one =
        trial
            .outboard(
                "device", "--listen=unix:" + socket, "--one-kernel", "--export=/no/such/place")
            .run(LIMIT)
            .expectStatus(125);
    assertThat(one.errors()).contains("/no/such/place");
    try (Running service = service(trial, socket, "--export=/no/such/place")) {
      Finished done = in(trial, socket, List.of(), "echo", "ran").run(LIMIT).expectStatus(125);
      assertThat(done.errors()).contains("did not start").contains("/no/such/place");
      assertThat(done.output()).isEmpty();
      assertThat(service.alive()).isTrue();
    }
    assertThat(socket).doesNotExist();
  }

  @Scenario(modes = Mode.HOST)
  void systemdPassesTheSocketAndIsTold(Trial trial) {
    Path socket = trial.directory().resolve("s");
    trial.file(
        "manager.py",
        """
        import os, socket, sys
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1])
        listener.listen()
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.bind("\\0" + sys.argv[1])
        if os.fork() == 0:
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()),
                              NOTIFY_SOCKET="@" + sys.argv[1])
            os.execv(sys.argv[2], sys.argv[2:])
        while True:
            state = told.recv(1000).decode().split("\\n")[0]
            print(state, flush=True)
            if state == "STOPPING=1":
                break
        os.wait()
        os.unlink(sys.argv[1])
        """);
    Running manager =
        trial
            .beside(
                Programs.PYTHON,
                trial.directory().resolve("manager.py").toString(),
                socket.toString(),
                Programs.launcher().toString(),
                "device",
                "--listen=systemd",
                "--kernel=host")
            .start();
    manager.awaitOutput(LIMIT, "READY=1");
    Finished done = in(trial, socket, List.of(), "ip", "-o", "addr").run(LIMIT).expectSuccess();
    assertThat(done.output()).contains("127.0.0.1/8");
    Trial.signal(trial.processes("--listen=systemd").getLast(), "HUP");
    manager.awaitOutput(LIMIT, "RELOADING=1\nREADY=1");
    Trial.signal(trial.processes("cli.Main device --listen=systemd").getLast(), "TERM");
    manager.awaitOutput(LIMIT, "STOPPING=1");
    manager.await(LIMIT).expectSuccess();
    Finished alone = trial.outboard("device", "--listen=systemd").run(LIMIT).expectStatus(125);
    assertThat(alone.errors()).contains("no socket that listens");
  }

  @Scenario(modes = Mode.LIBRARY)
  void nothingIsLeftOfSessions(Trial trial) throws Exception {
    comeAndGo(trial, 6);
  }

  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY)
  void nothingIsLeftOfFiftySessions(Trial trial) throws Exception {
    comeAndGo(trial, 50);
  }

  /** So many sessions, three at a time, and every fourth on a shared kernel. */
  private static void comeAndGo(Trial trial, int sessions) throws Exception {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket)) {
      open(socket, null).close();
      Eventually.require(LIMIT, service::errors, () -> kernels(trial).isEmpty());
      long pid = trial.processes("cli.Main device --listen").getFirst();
      Eventually.pause(300);
      int descriptors = entries(pid, "fd");
      int threads = entries(pid, "task");
      for (int i = 0; i < sessions; i += 3) {
        List<Thread> three = new ArrayList<>();
        for (int j = 0; j < 3; j++) {
          String share = (i + j) % 4 == 3 ? "common" : null;
          three.add(
              Thread.ofPlatform()
                  .start(() -> {
                    try (DeviceLink link = open(socket, share)) {
                      assertThat(link.welcome().kernel()).isEqualTo("library");
                    } catch (Exception e) {
                      throw new IllegalStateException(e);
                    }
                  }));
        }
        for (Thread thread : three) {
          thread.join();
        }
      }
      Eventually.require(LIMIT, service::errors, () -> kernels(trial).isEmpty());
      Eventually.require(
          LIMIT,
          () -> entries(pid, "fd") + " descriptors, " + entries(pid, "task") + " threads",
          () -> entries(pid, "fd") == descriptors && entries(pid, "task") <= threads);
      assertThat(service.errors()).doesNotContain("lost").doesNotContain("\tat ");
    }
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void whatAKernelOfASessionTakes(Trial trial) {
    atOnce(trial, 3);
  }

  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void fiftySessionsAtOnce(Trial trial) {
    atOnce(trial, 50);
  }

  /** So many sessions at the same time, with a kernel, a server and a client each. */
  private static void atOnce(Trial trial, int sessions) {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket, "--max-sessions=" + sessions)) {
      List<Running> programs = new ArrayList<>();
      long began = System.nanoTime();
      while (programs.size() < sessions) {
        // No more at a time than the service boots kernels at a time.
        List<Running> few = new ArrayList<>();
        while (few.size() < 4 && programs.size() < sessions) {
          few.add(in(trial, socket, List.of(), Programs.PYTHON, "-c", ROUND_TRIPS).start());
          programs.add(few.getLast());
        }
        few.forEach(p -> p.awaitOutput(MANY, "done"));
      }
      List<Long> kernels = kernels(trial);
      assertThat(kernels).hasSize(sessions);
      List<Long> resident = kernels.stream().map(ProcFile::residentKib).sorted().toList();
      List<Long> proportional = kernels.stream().map(ProcFile::proportionalKib).sorted().toList();
      System.out.printf(
          "%d kernels after %.0f s: RSS %s MiB, PSS %s MiB; one of them:%n%s",
          sessions,
          (System.nanoTime() - began) / 1e9,
          spread(resident),
          spread(proportional),
          MemoryParts.of(kernels.getLast()));
      assertThat(resident.getLast()).isLessThanOrEqualTo(MOST_RESIDENT_KIB);
      programs.forEach(Running::endInput);
      programs.forEach(p -> p.await(MANY).expectSuccess());
      Eventually.require(LIMIT, service::errors, () -> kernels(trial).isEmpty());
      assertThat(ServiceLog.lines(service)).hasSize(1);
    }
  }

  /** Least, median and most. */
  private static String spread(List<Long> kib) {
    return "%d, %d, %d"
        .formatted(kib.getFirst() >> 10, kib.get(kib.size() / 2) >> 10, kib.getLast() >> 10);
  }

  private static DeviceLink open(Path socket, @Nullable String share) throws Exception {
    return DeviceLink.connect(socket, NOBODY, LinkOptions.ofNewDevice("test").withShare(share));
  }

  private static int entries(long pid, String what) {
    try (Stream<Path> list = Files.list(Path.of("/proc/" + pid + "/" + what))) {
      return (int) list.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
