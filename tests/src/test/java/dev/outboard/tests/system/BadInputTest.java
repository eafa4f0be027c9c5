// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Mistakes of users, and peers that send nonsense: a clear error each, and nothing else ends. */
class BadInputTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);
  private static final int OURS = 125;

  @Scenario(modes = Mode.LIBRARY)
  void commandLinesThatAreWrong(Trial trial) {
    says(trial, OURS, "--no-such-option", "run", "--no-such-option", "--", "true");
    says(trial, OURS, "no-such-command", "no-such-command");
    says(trial, OURS, "program", "run");
    says(trial, OURS, "no-such-kernel", "run", "--kernel", "no-such-kernel", "--", "true");
    says(trial, OURS, "--net", "run", "--net", "carrier-pigeon", "--", "true");
    says(trial, OURS, "addr=nowhere", "run", "--net", "tap:name=x,addr=nowhere", "--", "true");
    says(trial, OURS, "no-such-socket", "run", "--device", "unix:no-such-socket", "--", "true");
    says(trial, OURS, "--publish", "run", "--publish", "eighty:80", "--", "true");
  }

  private static void says(Trial trial, int status, String what, String... words) {
    Finished done = trial.outboard(words).run(LIMIT).expectStatus(status);
    assertThat(done.errors()).startsWith("outboard").contains(what).doesNotContain("\tat ");
    assertThat(done.output()).isEmpty();
  }

  /** The device has no part in it. */
  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void programsThatCannotBeExecuted(Trial trial) throws Exception {
    Path file = trial.file("not-executable", "#!/bin/sh\necho never\n");
    Path badInterpreter = trial.file("bad-interpreter", "#!/no/such/interpreter\n");
    assertThat(badInterpreter.toFile().setExecutable(true)).isTrue();
    int missing = status(trial, "no-such-program");
    assertThat(missing).isEqualTo(127);
    trial.outcome("missing", missing);
    trial.outcome("missing path", status(trial, "./no-such-program"));
    int notExecutable = status(trial, file.toString());
    assertThat(notExecutable).isEqualTo(126);
    trial.outcome("not executable", notExecutable);
    trial.outcome("directory", status(trial, trial.directory().toString()));
    trial.outcome("interpreter", status(trial, badInterpreter.toString()));
  }

  /** Natively by way of env(1), which is what outboard's statuses are like. */
  private static int status(Trial trial, String program) {
    Finished done =
        trial.mode() == Mode.NATIVE
            ? trial.program("env", program).run(LIMIT)
            : trial.program(program).run(LIMIT);
    assertThat(done.errors()).contains(Path.of(program).getFileName().toString());
    return done.status();
  }

  /** Denied are a call, whoever would execute it, and sockets of families. */
  @Scenario(modes = Mode.LIBRARY)
  void callsThatTheHostDenies(Trial trial) {
    String[] python = {
      Programs.PYTHON,
      "-c",
      """
      import os, socket
      s = socket.socket()
      for f in (lambda: s.bind(("127.0.0.1", 0)), s.listen, lambda: os.setpriority(0, 0, 5),
                lambda: socket.socket(socket.AF_UNIX), lambda: socket.socket(socket.AF_INET6)):
          try:
              f()
              print("done")
          except OSError as e:
              print(e.errno)
      """
    };
    Finished done =
        trial
            .program(python)
            .with("--deny=bind,setpriority,socket:AF_INET6")
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).isEqualTo("1\ndone\n1\ndone\n1\n");
    assertThat(done.errors().lines())
        .containsExactlyInAnyOrder(
            "outboard: a bind of the program is denied",
            "outboard: a setpriority of the program is denied",
            "outboard: a socket of the program is denied");
    done = trial.program(python).with("--allow=socket:AF_INET").run(LIMIT).expectSuccess();
    assertThat(done.output()).isEqualTo("done\ndone\ndone\n1\n1\n");
    done = trial.program("true").with("--deny=bnid").run(LIMIT).expectStatus(OURS);
    assertThat(done.errors()).contains("there is no call 'bnid'");
  }

  @Scenario(modes = Mode.LIBRARY)
  void aTapThatIsNotPermitted(Trial trial) {
    Finished done =
        trial
            .outboard("run", "--net", "tap:name=obtnone,addr=10.255.255.2/24", "--", "echo", "ran")
            .under("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
            .run(LIMIT)
            .expectStatus(OURS);
    assertThat(done.errors()).contains("obtnone").containsIgnoringCase("permi");
    assertThat(done.output()).isEmpty();
  }

  /** Whoever may not look into the program says so, once, and the program goes on. */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void aProgramThatForbidsToReadItsMemory(Trial trial) {
    String python =
        """
        import ctypes, socket
        s = socket.socket()
        assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0
        for _ in range(2):
            try: s.connect(("127.0.0.1", 9)); print("connected")
            except OSError as e: print(e.strerror)
        print(open("/dev/null").read() == "")
        """;
    Finished done =
        trial
            .program(Programs.PYTHON, "-c", python)
            .under("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).isEqualTo("Operation not permitted\n".repeat(2) + "True\n");
    assertThat(done.errors().lines().filter(l -> l.contains("has made itself unreadable")))
        .hasSize(1);
  }

  @Scenario(modes = Mode.LIBRARY)
  void aKernelThatIsNotBuiltAndCannotBe(Trial trial) {
    Finished done =
        trial
            .outboard("run", "--net", "none", "--", "echo", "ran")
            .environment("OUTBOARD_CACHE", "/proc/no-place-for-a-cache")
            .run(LIMIT)
            .expectStatus(OURS);
    assertThat(done.errors()).contains("/proc/no-place-for-a-cache");
    assertThat(done.output()).isEmpty();
  }

  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void framesThatAreNonsense(Trial trial) throws Exception {
    Path socket = trial.directory().resolve("device.sock");
    String[] words = {
      "device",
      "--listen",
      "unix:" + socket,
      "--one-kernel",
      "--kernel",
      trial.mode().word(),
      "--net",
      "none"
    };
    if (trial.mode() == Mode.HOST) {
      words = Arrays.copyOf(words, words.length - 2);
    }
    try (Running device = trial.outboard(words).start()) {
      device.awaitErrors(
          LIMIT, "listening at"); // there is a moment when it is bound, and does not yet
      Map<String, ByteBuffer> wrong = new LinkedHashMap<>();
      wrong.put("length 0", header(0, 1));
      wrong.put("length below the header's", header(7, 1));
      wrong.put("length above the greatest", header(FrameCodec.MAX_BYTES + 1, 1));
      wrong.put("negative length", header(-1, 1));
      wrong.put("a Hello that is too short", header(10, 1, (byte) 1, (byte) 2));
      wrong.put("a Hello without its magic", header(20, 1, new byte[12]));
      ByteBuffer longer = hello();
      longer.putInt(0, longer.getInt(0) + 4);
      wrong.put("a Hello with bytes too many", concatenation(longer, ByteBuffer.allocate(4)));
      ByteBuffer reserved = hello();
      reserved.put(6, (byte) 1);
      wrong.put("bits in the reserved field", reserved);
      wrong.put("something else first", frame(new Frame.Ping(1)));
      wrong.put("no version in common", frame(new Frame.Hello(77, 99, 4, "test")));
      wrong.put("an oversized Attach", concatenation(hello(), header(1 << 20, 3)));
      wrong.put("an Attach that is too short", concatenation(hello(), header(12, 3, new byte[4])));
      wrong.put("a second Hello", concatenation(hello(), hello()));
      wrong.put("a frame of the device's", concatenation(hello(), frame(new Frame.Detached(0))));
      for (Map.Entry<String, ByteBuffer> entry : wrong.entrySet()) {
        try (SocketChannel link = connect(socket)) {
          link.write(entry.getValue().rewind());
          assertThat(closedBy(link))
              .as("the device closes a link with %s", entry.getKey())
              .isTrue();
        }
      }
      // Cut off in the middle of a frame, and silent: the device waits, and serves others.
      for (ByteBuffer part : new ByteBuffer[] {ByteBuffer.allocate(3), header(100, 1), hello()}) {
        try (SocketChannel link = connect(socket)) {
          link.write(part.rewind());
        }
      }
      try (SocketChannel link = connect(socket)) {
        link.write(hello().rewind());
        link.write(header(16, 999, new byte[8])); // unknown kinds are ignored
        link.write(frame(new Frame.Ping(42)));
        link.shutdownOutput();
        assertThat(received(link)).as("kinds of the device's frames").contains(2, 13);
      }
      assertThat(device.alive()).as(device.errors()).isTrue();
      Finished done =
          trial
              .outboard(
                  "run", "--device", "unix:" + socket, "--", Programs.staticC("everyday"), "stream")
              .run(LIMIT)
              .expectSuccess();
      assertThat(done.output()).startsWith("streams:");
      assertThat(device.errors()).doesNotContain("\tat ");
    }
    assertThat(socket).doesNotExist();
  }

  private static SocketChannel connect(Path socket) throws IOException {
    SocketChannel link = SocketChannel.open(StandardProtocolFamily.UNIX);
    link.connect(UnixDomainSocketAddress.of(socket));
    return link;
  }

  private static ByteBuffer header(int length, int kind, byte... body) {
    ByteBuffer b =
        ByteBuffer.allocate(FrameCodec.HEADER_BYTES + body.length).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(length).putShort((short) kind).putShort((short) 0).put(body);
    return b.flip();
  }

  private static ByteBuffer frame(Frame frame) {
    ByteBuffer b = FrameCodec.newBuffer();
    FrameCodec.encode(frame, b);
    return b;
  }

  private static ByteBuffer hello() {
    return frame(
        new Frame.Hello(FrameCodec.LOWEST_VERSION, FrameCodec.HIGHEST_VERSION, 4, "a test"));
  }

  private static ByteBuffer concatenation(ByteBuffer one, ByteBuffer two) {
    one.rewind();
    two.rewind();
    return ByteBuffer.allocate(one.remaining() + two.remaining()).put(one).put(two).flip();
  }

  private static boolean closedBy(SocketChannel link) throws Exception {
    try {
      return CompletableFuture.supplyAsync(() -> drained(link)).get(5, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      return true; // reset
    }
  }

  private static boolean drained(SocketChannel link) {
    ByteBuffer into = ByteBuffer.allocate(1 << 16);
    try {
      while (link.read(into) >= 0) {
        into.clear();
      }
      return true;
    } catch (IOException e) {
      return true;
    }
  }

  private static Set<Integer> received(SocketChannel link) throws Exception {
    return CompletableFuture.supplyAsync(
            () -> {
              Set<Integer> kinds = new HashSet<>();
              ByteBuffer into = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
              try {
                while (link.read(into) >= 0) {
                  // Until the device closes its side, as we have closed ours.
                }
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
              into.flip();
              while (into.remaining() >= FrameCodec.HEADER_BYTES) {
                int start = into.position();
                kinds.add((int) into.getShort(start + 4));
                into.position(start + into.getInt(start));
              }
              return kinds;
            })
        .get(5, TimeUnit.SECONDS);
  }
}
