// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.BreakingProxy;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.LateProxy;
import dev.outboard.tests.support.Machines;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;

/** Devices that are reached by TCP and TLS, over connections that break. */
class LinksTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** Stands for the checker's port in the words of a program. */
  private static final String SERVICE = "SERVICE";

  /** A device at a port, whom a host at these ports knows and who knows the host. */
  private static Running device(Trial trial, Machines machines, int port, int... alsoAt) {
    machines.introduce(IntStream.concat(IntStream.of(port), IntStream.of(alsoAt)).toArray());
    return machines.service(
        port, "--one-kernel", "--net=none", "--export=" + trial.directory() + ":/counted");
  }

  private static long number(Finished done, String what) {
    return Long.parseLong(
        done.output()
            .lines()
            .filter(l -> l.startsWith(what + " "))
            .findFirst()
            .orElseThrow(() -> new AssertionError("no " + what + ": " + done.output()))
            .substring(what.length() + 1));
  }

  /**
   * Sends until nothing more is taken, ends its stream, and sends; then the other end reads all.
   */
  private static final String SENDS_BEHIND_THE_END =
      """
      import os, socket, time
      listener = socket.create_server(("127.0.0.1", 0))
      near = socket.create_connection(listener.getsockname())
      far = listener.accept()[0]
      near.setblocking(False)
      sent, quiet = 0, 0
      while quiet < 5:
          try:
              sent += near.send(bytes(65536))
              quiet = 0
          except BlockingIOError:
              quiet += 1
              time.sleep(0.05)
      near.shutdown(socket.SHUT_WR)
      def outcome(call):
          try:
              return "took " + str(call())
          except OSError as e:
              return type(e).__name__
      print("at once:", outcome(lambda: near.send(b"x")), outcome(lambda: os.write(near.fileno(), b"x")))
      near.setblocking(True)
      near.settimeout(None)
      print("waiting:", outcome(lambda: near.send(b"x")), outcome(lambda: near.sendmsg([b"x"])))
      received = 0
      while part := far.recv(1 << 20):
          received += len(part)
      print("all:", received == sent)
      """;

  /** Natively the stream has ended, whatever of it is still on its way. */
  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void aSendBehindTheEndOfAFullStreamIsRefused(Trial trial) {
    assertThat(said(trial, SENDS_BEHIND_THE_END))
        .contains(
            "at once: BrokenPipeError BrokenPipeError\n",
            "waiting: BrokenPipeError BrokenPipeError\n",
            "all: True\n");
  }

  /**
   * Bytes of a corked socket, which may stay on the host for as long as they would be held back
   * anyway: whoever lets them go, closes, or waits for long enough has them sent.
   */
  private static final String HOLDS_BACK =
      """
      import socket, time
      listener = socket.create_server(("127.0.0.1", 0))
      def pair():
          near = socket.create_connection(listener.getsockname())
          far = listener.accept()[0]
          far.settimeout(5)
          for _ in range(60):
              near.send(b"w")
              far.recv(1)
          return near, far
      def cork(s, on):
          s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
      def all(far, count):
          had = b""
          while len(had) < count and (part := far.recv(count - len(had))):
              had += part
          return had
      near, far = pair()
      for i in range(50):
          cork(near, 1)
          near.send(b"header %03d" % i)
          near.send(b"more")
          cork(near, 0)
          assert all(far, 14) == b"header %03dmore" % i
      print("let go")
      for i in range(3):
          cork(near, 1)
          near.send(b"held")
          assert all(far, 4) == b"held"
          near.send(b"more", socket.MSG_MORE)
          cork(near, 0)
          assert all(far, 4) == b"more"
          near.send(b"less", socket.MSG_MORE)
          assert all(far, 4) == b"less"
      print("waited for")
      soonest = 1
      for i in range(30):
          near, far = pair()
          cork(near, 1)
          near.send(b"the last")
          begun = time.monotonic()
          near.close()
          assert all(far, 100) == b"the last"
          soonest = min(soonest, time.monotonic() - begun)
      # 200 ms is how long the kernel holds them back; a close lets them go.
      assert soonest < 0.15, "closed late: %f" % soonest
      print("closed")
      """;

  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void whatACorkedSocketHoldsBackComes(Trial trial) {
    assertThat(said(trial, HOLDS_BACK)).isEqualTo("let go\nwaited for\nclosed\n");
  }

  /** What a Python program says, natively or over a link; the outcome of the trial. */
  private static String said(Trial trial, String source) {
    String[] program = {Programs.PYTHON, "-c", source};
    String said;
    if (trial.mode() == Mode.NATIVE) {
      said = trial.machine(program).run(LIMIT).expectSuccess().output();
    } else {
      Machines machines = new Machines(trial);
      int port = trial.port();
      try (Running device = device(trial, machines, port)) {
        assertThat(device.alive()).isTrue();
        said = machines.run(port, List.of(), program).run(LIMIT).expectSuccess().output();
      }
    }
    trial.outcome("output", said);
    return said;
  }

  /** What is done to a link under load. */
  private interface Harm {
    void to(BreakingProxy proxy, Running program);
  }

  /** Connections that break all the time, then none for a while. */
  private static Harm breaks(int breaks) {
    return (proxy, program) -> {
      proxy.breakAfter(40_000);
      Eventually.require(
          LIMIT.multipliedBy(5),
          () ->
              "breaks: %d, overtaken: %d\n".formatted(proxy.breaks(), proxy.overtaken())
                  + program.output()
                  + program.errors(),
          () -> (proxy.breaks() >= breaks && proxy.overtaken() >= breaks / 20) || !program.alive());
      proxy.away(true);
      Eventually.pause(500);
      proxy.away(false);
      proxy.breakAfter(0);
    };
  }

  /** What is to hold besides of a program, by what it and {@code --stats} say. */
  private interface Oracle {
    void judge(BreakingProxy proxy, Finished done, String stats) throws IOException;
  }

  /**
   * A program under load, and a checker of another session, while something is done to its link.
   *
   * @param words its name, and what it is told besides the checker's port
   */
  private static void judge(Trial trial, Harm harm, Oracle oracle, String... words)
      throws IOException {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Machines machines = new Machines(trial);
    int port = trial.port();
    int service = trial.port();
    List<String> load = new ArrayList<>(List.of(words));
    load.set(0, Programs.python(words[0]));
    load.addFirst(Programs.PYTHON);
    load.replaceAll(word -> word.equals(SERVICE) ? "" + service : word);
    try (BreakingProxy proxy = new BreakingProxy(port, seed);
        Running device = device(trial, machines, port, proxy.port());
        Running checker =
            machines
                .program(
                    port, "0", Programs.PYTHON, Programs.python("numbered"), "listen", "" + service)
                .start()) {
      checker.awaitOutput(LIMIT, "listening");
      try (Running program =
          machines.program(proxy.port(), "60s", load.toArray(String[]::new)).start()) {
        program.awaitOutput(LIMIT, "ready");
        harm.to(proxy, program);
        program.type("enough\n");
        Finished done = program.await(LIMIT).expectSuccess();
        Finished checked = checker.await(LIMIT).expectSuccess();
        assertThat(number(checked, "received")).isEqualTo(number(done, "sent"));
        assertThat(number(done, "received")).isEqualTo(number(checked, "sent"));
        assertThat(number(done, "sent")).isPositive();
        assertThat(done.errors()).as("what the user is told of it").isEmpty();
        oracle.judge(
            proxy, done, Files.readString(trial.directory().resolve("stats." + proxy.port())));
      }
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  /** The same of one that counts in streams both ways, and in a file of the device. */
  private static void judge(Trial trial, Harm harm) throws IOException {
    judge(
        trial,
        harm,
        (proxy, done, stats) -> {
          assertThat(number(done, "received")).isPositive();
          int appended = (int) number(done, "appended");
          assertThat(appended).isPositive();
          assertThat(Files.readAllLines(trial.directory().resolve("log")))
              .isEqualTo(IntStream.range(0, appended).mapToObj(Integer::toString).toList());
          assertThat(stats).containsPattern("\"link\": \\{\"breaks\": [1-9]");
          assertThat(figure(stats, "\"sentAhead\": (\\d+)")).isPositive();
          assertThat(direct(stats, "sendto")).as("sends without a trap").isPositive();
          assertThat(figure(stats, "\"receivedAhead\": (\\d+)")).isPositive();
          System.out.printf(
              "%d breaks, %d overtaken, %d and %d numbers, %d appends%n",
              proxy.breaks(),
              proxy.overtaken(),
              number(done, "sent"),
              number(done, "received"),
              appended);
        },
        "numbered",
        "connect",
        SERVICE,
        "/counted/log");
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void nothingIsLostOrDoneTwiceWhateverBreaks(Trial trial) throws IOException {
    judge(trial, breaks(40));
  }

  /** Files of the device that are sent without a trap are sent once, whatever breaks. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void filesAreSentOnce(Trial trial) throws IOException {
    judge(
        trial,
        breaks(20),
        (proxy, done, stats) ->
            assertThat(direct(stats, "sendfile")).as("without a trap").isPositive(),
        "filed",
        SERVICE,
        "/counted/numbers");
  }

  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void thousandBreaks(Trial trial) throws IOException {
    judge(trial, breaks(1000));
  }

  /** Sends are not bound by round trips, and what a program sent last arrives. */
  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void farAway(Trial trial) {
    int bytes = 4 << 20;
    int piece = 4096;
    Machines machines = new Machines(trial);
    int port = trial.port();
    int service = trial.port();
    try (LateProxy near = new LateProxy(port, Duration.ofNanos(100_000));
        LateProxy far = new LateProxy(port, Duration.ofMillis(1));
        LateProxy farther = new LateProxy(port, Duration.ofMillis(10));
        Running device = device(trial, machines, port, near.port(), far.port(), farther.port())) {
      for (LateProxy proxy : List.of(near, far, farther)) {
        try (Running sink =
            machines
                .program(port, "0", Programs.PYTHON, Programs.python("ahead"), "sink", "" + service)
                .start()) {
          sink.awaitOutput(LIMIT, "listening");
          Finished done =
              machines
                  .program(
                      proxy.port(),
                      "0",
                      Programs.PYTHON,
                      Programs.python("ahead"),
                      "leave",
                      "" + service,
                      "" + bytes,
                      "" + piece)
                  .run(LIMIT)
                  .expectSuccess();
          assertThat(number(sink.await(LIMIT).expectSuccess(), "received")).isEqualTo(bytes);
          long millis = number(done, "milliseconds");
          System.out.printf("%d sends in %d ms%n", bytes / piece, millis);
          if (proxy.equals(farther)) {
            assertThat(millis).isLessThan(bytes / piece * 20L / 2);
          }
        }
      }
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  /** Receives are not bound by round trips, and an answer costs one with its readiness. */
  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void receivesFromFarAway(Trial trial) {
    int bytes = 4 << 20;
    int piece = 4096;
    int requests = 50;
    Machines machines = new Machines(trial);
    int port = trial.port();
    int service = trial.port();
    try (LateProxy far = new LateProxy(port, Duration.ofMillis(10));
        Running device = device(trial, machines, port, far.port())) {
      Finished drained =
          withService(machines, port, service, "source", bytes, far.port(), "drain", piece);
      assertThat(number(drained, "received")).isEqualTo(bytes);
      assertThat(number(drained, "wrong")).isZero();
      assertThat(number(drained, "milliseconds")).isLessThan(bytes / piece * 20L / 2);
      Finished asked =
          withService(machines, port, service, "answer", requests, far.port(), "ask", requests);
      long micros = number(asked, "microseconds");
      System.out.printf(
          "%d receives in %d ms, %d us for an answer%n",
          bytes / piece, number(drained, "milliseconds"), micros);
      assertThat(micros).isLessThan(2 * 20_000);
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  private static Finished withService(
      Machines machines,
      int port,
      int service,
      String serves,
      int amount,
      int farPort,
      String asks,
      int how) {
    String script = Programs.python("looked");
    try (Running server =
        machines
            .program(port, "0", Programs.PYTHON, script, serves, "" + service, "" + amount)
            .start()) {
      server.awaitOutput(LIMIT, "listening");
      Finished done =
          machines
              .program(farPort, "0", Programs.PYTHON, script, asks, "" + service, "" + how)
              .run(LIMIT)
              .expectSuccess();
      server.await(LIMIT).expectSuccess();
      return done;
    }
  }

  /** Calls of different threads wait for their answers at the same time. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void callsOfThreadsOverlap(Trial trial) {
    int threads = 16;
    int rounds = 20;
    long roundTrip = 20_000; // microseconds
    Machines machines = new Machines(trial);
    int port = trial.port();
    trial.file(
        "numbers",
        IntStream.range(0, threads).mapToObj("%07d\n"::formatted).collect(Collectors.joining()));
    try (LateProxy far = new LateProxy(port, Duration.ofMillis(10));
        Running device = device(trial, machines, port, far.port())) {
      Finished done =
          machines
              .program(
                  far.port(),
                  "0",
                  Programs.PYTHON,
                  Programs.python("crossings"),
                  "threads",
                  "/counted/numbers",
                  "" + threads,
                  "" + rounds)
              .run(LIMIT)
              .expectSuccess();
      assertThat(number(done, "wrong")).isZero();
      long alone = number(done, "alone");
      long together = number(done, "together");
      System.out.printf(
          "one read in %d us, %d of as many threads in %d us%n", alone, threads, together);
      assertThat(alone).as("a read crosses").isGreaterThanOrEqualTo(roundTrip);
      // One after the other they would take sixteen round trips, whatever the machine.
      assertThat(together).isBetween(roundTrip, threads * roundTrip / 3);
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  /** Calls on sockets, most of which do not trap, and are as they are natively. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void callsNeedNoTrap(Trial trial) throws IOException {
    Machines machines = new Machines(trial);
    int port = trial.port();
    try (Running device = device(trial, machines, port)) {
      Finished done =
          machines
              .program(port, "0", Programs.PYTHON, Programs.python("untrapped"), "/counted")
              .run(LIMIT.multipliedBy(3))
              .expectSuccess();
      assertThat(done.output()).endsWith("ok\n");
      assertThat(done.errors()).isEmpty();
      String stats = Files.readString(trial.directory().resolve("stats." + port));
      for (String call :
          List.of(
              "sendto",
              "writev",
              "recvfrom",
              "getsockname",
              "getpeername",
              "setsockopt",
              "sendfile")) {
        assertThat(direct(stats, call)).as("%s without a trap", call).isPositive();
      }
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  /** What a receiver has not taken when it is killed is the others'. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void noByteIsLostWithAReceiver(Trial trial) throws IOException {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    Machines machines = new Machines(trial);
    int port = trial.port();
    int rounds = 60;
    try (Running device = device(trial, machines, port)) {
      machines
          .program(port, "0", Programs.c("killed"), "" + seed, "" + rounds, "warm")
          .run(LIMIT.multipliedBy(4))
          .expectSuccess();
      String stats = Files.readString(trial.directory().resolve("stats." + port));
      assertThat(direct(stats, "recvfrom")).as("without a trap").isGreaterThan(rounds);
      device.signal("TERM");
      device.await(LIMIT);
    }
  }

  private static long direct(String stats, String call) {
    return figure(stats, "\"name\": \"" + call + "\", \"device\": \\d+, \"direct\": (\\d+)");
  }

  private static long figure(String stats, String pattern) {
    Matcher m = Pattern.compile(pattern).matcher(stats);
    assertThat(m.find()).as("%s in %s", pattern, stats).isTrue();
    return Long.parseLong(m.group(1));
  }

  /** Longer than the ends of a link wait for a sign of life. */
  @Tag("judges")
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void silenceIsABreakToo(Trial trial) throws IOException {
    judge(
        trial,
        (proxy, program) -> {
          proxy.deaf(true);
          Eventually.pause(30_000);
          assertThat(program.alive()).isTrue();
          proxy.deaf(false);
          Eventually.pause(12_000); // an attempt that began meanwhile has ended
        });
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aLinkThatStaysAwayIsALostDevice(Trial trial) {
    Machines machines = new Machines(trial);
    int port = trial.port();
    Duration loss = Duration.ofSeconds(5);
    try (BreakingProxy proxy = new BreakingProxy(port, 1);
        Running device = device(trial, machines, port, proxy.port());
        Running program =
            machines
                .program(proxy.port(), "1s", Programs.PYTHON, Programs.python("survivor"))
                .start()) {
      program.awaitOutput(LIMIT, "ready");
      Eventually.pause(300); // all five calls are blocked by now
      proxy.away(true);
      for (String call : List.of("recv", "accept", "read")) {
        program.awaitOutput(loss, call + " failed with ENETDOWN");
      }
      program.awaitOutput(loss, "^epoll returned woken");
      program.type("go on\n");
      Finished done = program.await(LIMIT).expectSuccess();
      assertThat(done.output()).contains("later send failed with ENETDOWN", "alive");
      assertThat(done.errors().lines()).hasSize(1);
      assertThat(done.errors()).contains("could not be taken up again", "within 1.0 s");
      device.awaitErrors(loss, "did not come back within 1.0 s");
      // What the session had is free again: the device serves the next one, which ends in order.
      proxy.away(false);
      machines.program(proxy.port(), "1s", "true").run(LIMIT).expectSuccess();
      device.signal("TERM");
      device.await(LIMIT);
      assertThat(device.errors()).doesNotContain("\tat ");
    }
  }
}
