// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.DeviceCounts;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.SlotLayout;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ReceivedMessage;
import dev.outboard.syscalls.SocketOptions;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * The whole path from a link to a kernel and back, in one JVM. The same tests run on both kinds of
 * kernel.
 */
@Timeout(120)
abstract class WholePathSuite {
  private static final Limits LIMITS = new Limits(3, 256, 512, 4096);

  // include/uapi/linux/tcp.h
  private static final int TCP_NODELAY = 1;
  private static final int TCP_LINGER2 = 8;

  /** How many random calls to make; more by -Dtests.fuzz=. */
  private static final int FUZZ_CALLS = Integer.getInteger("tests.fuzz", 3000);

  final TestDevice.Ear ear = new TestDevice.Ear();
  private TestDevice device;
  private DeviceLink link;

  /** The kernel under test; shared by the class. */
  abstract Kernel kernel();

  @BeforeEach
  void open() throws LinkException {
    device = new TestDevice(kernel(), LIMITS);
    link = device.link(ear, 64);
  }

  @AfterEach
  void shut() {
    link.close();
    device.close();
    synchronized (device.log) {
      assertThat(device.log).noneMatch(line -> line.contains("fail") || line.contains("stays"));
    }
  }

  @Test
  void welcomeTellsWhatTheDeviceIs() {
    assertThat(link.welcome().release()).isEqualTo(kernel().release()).isNotEmpty();
    assertThat(link.welcome().system()).startsWith("Linux ").contains(kernel().release());
    assertThat(link.welcome().slots()).isEqualTo(64);
    assertThat(link.welcome().resolvConf()).isEqualTo("nameserver 192.0.2.1\n");
    assertThat(link.ownNames()).isTrue();
    assertThat(ear.notices).containsExactly("a notice");
  }

  @Test
  void bytesCrossAConnection() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] pair = p.pair();
      byte[] bytes = new byte[100_000];
      new Random(1).nextBytes(bytes);
      assertThat(p.send(pair[0], bytes)).isEqualTo(bytes.length);
      assertThat(p.receive(pair[1], bytes.length, Socket.MSG_WAITALL)).isEqualTo(bytes.length);
      assertThat(p.received(bytes.length)).isEqualTo(bytes);
      p.close(pair[0]);
      assertThat(p.receive(pair[1], 10, 0)).isZero();
      p.close(pair[1]);
      assertThat(link.counts().handles()).isZero();
    }
  }

  /**
   * It is a task more, as long as the session lasts; and leaves to others what may have to wait.
   */
  @Test
  void whoCarriesASessionSends() throws Exception {
    byte[] bytes = new byte[300_000];
    new Random(1).nextBytes(bytes);
    TestDevice.Ear other = new TestDevice.Ear();
    try (DeviceLink carried = device.carriedLink(other, 8);
        TestProgram p = new TestProgram(carried);
        TestProgram ahead = new TestProgram(carried)) {
      int[] pair = p.pair();
      MemorySegment one = MemorySegment.ofArray(new byte[] {1, 0, 0, 0});
      for (int i = 0; i < 4; i++) {
        carried.sendAhead(ahead.slot, i == 0, Frame.Ahead.Kind.OPTION, pair[0], 1, one, true);
        MemorySegment part = MemorySegment.ofArray(bytes).asSlice(i * 75_000L, 75_000);
        carried.sendBytesAhead(ahead.slot, false, pair[0], 0, part, true);
        assertThat(p.receive(pair[1], 75_000, Socket.MSG_WAITALL)).isEqualTo(75_000);
        assertThat(part.mismatch(MemorySegment.ofArray(p.received(75_000)))).isNegative();
        if (i == 1) {
          DeviceCounts counts = carried.counts();
          assertThat(counts.tasks()).as("root, carrier").isEqualTo(counts.slots() + 2);
          // From here on it is no socket of those that it sends on.
          p.data().set(ValueLayout.JAVA_INT, 0, 1000);
          p.expect(Canonical.SETSOCKOPT, pair[0], Socket.IPPROTO_TCP, TCP_LINGER2, 0, 4);
        }
      }
      p.data().set(ValueLayout.JAVA_INT, 4, 4);
      p.expect(Canonical.GETSOCKOPT, pair[0], Socket.IPPROTO_TCP, TCP_NODELAY, 0, 4);
      assertThat(p.data().get(ValueLayout.JAVA_INT, 0)).isEqualTo(1);
      // Asked by its thread, as something of before may not have been told of, or by the carrier.
      int port = p.port(pair[0]);
      assertThat(port).isPositive().isEqualTo(p.port(pair[0]));
    }
    for (int i = 0; i < 500 && device.server.sessions() > 1; i++) {
      Thread.sleep(10);
    }
    assertThat(device.server.sessions()).as("but for the other one").isEqualTo(1);
  }

  @Test
  void messagesComeManyAtATime() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int to = p.socket(Socket.SOCK_DGRAM | Socket.SOCK_NONBLOCK);
      p.address(0);
      p.expect(Canonical.BIND, to, 0, 16);
      int from = p.socket(Socket.SOCK_DGRAM);
      assertThat(p.connect(from, p.port(to))).isZero();
      assertThat(p.call(PseudoCall.RECEIVE, to, 1 << 20, 0)).isEqualTo(-Errno.EAGAIN);
      for (int i = 1; i <= 3; i++) {
        assertThat(p.send(from, new byte[100 * i])).isEqualTo(100L * i);
      }
      // Two more that together have no room.
      assertThat(p.send(from, new byte[60_000])).isEqualTo(60_000);
      assertThat(p.send(from, new byte[60_000])).isEqualTo(60_000);
      assertThat(p.send(from, new byte[60_000])).isEqualTo(60_000);
      long all = 2 * ReceivedMessage.bytes(60_000);
      for (int i = 1; i <= 3; i++) {
        all += ReceivedMessage.bytes(100L * i);
      }
      assertThat(p.call(PseudoCall.RECEIVE, to, 1 << 20, 0)).isEqualTo(all);
      long at = 0;
      for (int i = 1; i <= 3; i++) {
        assertThat(p.data().get(ValueLayout.JAVA_INT, at)).isEqualTo(100 * i);
        assertThat(p.data().get(ValueLayout.JAVA_INT, at + ReceivedMessage.NAME_LENGTH))
            .isEqualTo(16);
        at += ReceivedMessage.bytes(100L * i);
      }
      assertThat(p.data().get(ValueLayout.JAVA_INT, at)).isEqualTo(60_000);
      // Each is cut to what is wanted, and says how long it was.
      assertThat(p.call(PseudoCall.RECEIVE, to, 10, 1)).isEqualTo(ReceivedMessage.bytes(10));
      assertThat(p.data().get(ValueLayout.JAVA_INT, 0)).isEqualTo(60_000);
      assertThat(p.data().get(ValueLayout.JAVA_INT, ReceivedMessage.FLAGS) & Socket.MSG_TRUNC)
          .isNotZero();
      // Waits though the socket does not, until a message comes or somebody interrupts.
      p.submit(PseudoCall.RECEIVE, to, 1 << 20, 1);
      assertThat(p.slot.await(20_000_000)).isFalse();
      try (TestProgram q = new TestProgram(link)) {
        assertThat(q.send(from, new byte[5])).isEqualTo(5);
      }
      assertThat(p.await()).isEqualTo(ReceivedMessage.bytes(5));
      p.submit(PseudoCall.RECEIVE, to, 1 << 20, 1);
      assertThat(p.slot.await(20_000_000)).isFalse();
      link.interrupt(p.slot);
      assertThat(p.await()).isIn((long) -Errno.EINTR, (long) -Errno.ERESTARTSYS);
      assertThat(p.call(PseudoCall.RECEIVE, 9999, 1 << 20, 0)).isEqualTo(-Errno.EBADF);
      p.close(to);
      p.close(from);
    }
  }

  @Test
  void errorsAreTheKernels() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int fd = p.socket(Socket.SOCK_STREAM);
      assertThat(p.receive(fd, 10, 0)).isEqualTo(-Errno.ENOTCONN);
      assertThat(p.connect(fd, 1)).isEqualTo(-Errno.ECONNREFUSED);
      assertThat(p.call(Canonical.SOCKET, Socket.AF_INET, 99, 0)).isEqualTo(-Errno.EINVAL);
      assertThat(p.call(Canonical.SOCKET, Socket.AF_UNIX, Socket.SOCK_STREAM, 0))
          .isEqualTo(-Errno.EAFNOSUPPORT);
      p.close(fd);
      assertThat(p.call(Canonical.CLOSE, fd)).isEqualTo(-Errno.EBADF);
      assertThat(p.receive(fd, 10, 0)).isEqualTo(-Errno.EBADF);
    }
  }

  @Test
  void aSessionCanNameOnlyWhatItMade() throws Exception {
    TestDevice.Ear other = new TestDevice.Ear();
    try (TestProgram p = new TestProgram(link);
        DeviceLink second = device.link(other, 8);
        TestProgram q = new TestProgram(second)) {
      int fd = p.socket(Socket.SOCK_STREAM);
      // Every number that the kernel could have open for the session itself, the JVM, or another
      // session; q has made nothing.
      for (int n = 0; n < 200; n++) {
        assertThat(q.call(Canonical.CLOSE, n)).isEqualTo(-Errno.EBADF);
        assertThat(q.call(Canonical.FCNTL, n, 3)).isEqualTo(-Errno.EBADF);
        if (n != fd) {
          assertThat(p.call(Canonical.CLOSE, n)).isEqualTo(-Errno.EBADF);
        }
      }
      assertThat(q.call(Canonical.CLOSE, 1L << 32 | fd)).isEqualTo(-Errno.EBADF);
      assertThat(q.call(PseudoCall.WATCH, fd, 1)).isEqualTo(-Errno.EBADF);
      assertThat(p.call(Canonical.FCNTL, fd, Fcntl.F_DUPFD, 0)).isEqualTo(-Errno.EINVAL);
      p.close(fd);
    }
  }

  private static void eventually(String what, int wanted, Callable<Integer> now) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (now.call() != wanted && System.nanoTime() < deadline) {
      Thread.sleep(1);
    }
    assertThat(now.call()).as(what).isEqualTo(wanted);
  }

  /** Two ends of a connection, and their births. */
  private static int[][] born(TestProgram p) {
    int listener = p.listener(1);
    int client = p.socket(Socket.SOCK_STREAM);
    int clientBirth = p.slot.newBirth();
    assertThat(p.connect(client, p.port(listener))).isZero();
    int server = p.accept(listener);
    int serverBirth = p.slot.newBirth();
    p.close(listener);
    return new int[][] {{client, clientBirth}, {server, serverBirth}};
  }

  @Test
  void aSlotThatIsLentSendsAndReceives() throws Exception {
    int slots = link.counts().slots();
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int b = ends[1][0];
      p.watch(b);
      assertThat(p.call(PseudoCall.SYNC, 0)).isEqualTo(1);
      long since = p.slot.readyStamp();
      q.data().setString(0, "hello");
      assertThat(q.call(Canonical.SENDTO, ends[0][1], a, 0, 5, 0)).isEqualTo(5);
      assertThat(p.call(PseudoCall.SYNC, since)).isEqualTo(1);
      since = p.slot.readyStamp();
      q.data().setString(0, "-----");
      assertThat(q.call(Canonical.RECVFROM, ends[1][1], b, 0, 3, Socket.MSG_PEEK)).isEqualTo(3);
      assertThat(q.call(Canonical.RECVFROM, ends[1][1], b, 0, 100, 0)).isEqualTo(5);
      assertThat(q.data().getString(0)).isEqualTo("hello");
      // The hook did not see it; the next look tells that nothing is there any more.
      assertThat(p.call(PseudoCall.SYNC, since)).isEqualTo(1);
      assertThat(p.data().get(ValueLayout.JAVA_INT, PseudoCall.SAMPLE_MASK) & Poll.POLLIN).isZero();
      // Nothing there: to wait is the hook's business, not to wait is an answer.
      long start = System.nanoTime();
      assertThat(q.call(Canonical.RECVFROM, ends[1][1], b, 0, 1, 0)).isEqualTo(LentCalls.TRAP);
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(LentCalls.WAIT_NANOS);
      assertThat(q.call(Canonical.RECVFROM, ends[1][1], b, 0, 1, Socket.MSG_DONTWAIT))
          .isEqualTo(-Errno.EAGAIN);
      p.expect(Canonical.FCNTL, b, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      assertThat(q.call(Canonical.RECVFROM, ends[1][1], b, 0, 1, 0)).isEqualTo(-Errno.EAGAIN);
      // A buffer that is full is the hook's business always.
      p.expect(Canonical.FCNTL, a, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      long r;
      do {
        r = q.call(Canonical.SENDTO, ends[0][1], a, 0, 100_000, 0);
      } while (r > 0);
      assertThat(r).isEqualTo(LentCalls.TRAP);
      p.close(a);
      assertThat(q.call(Canonical.SENDTO, ends[0][1], a, 0, 1, 0)).isEqualTo(LentCalls.TRAP);
      p.close(b);
    }
    eventually("slots", slots, () -> link.counts().slots());
  }

  private static String text(LentProgram q, long bytes) {
    return new String(
        q.data().asSlice(0, bytes).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.US_ASCII);
  }

  private static void sendText(TestProgram p, int fd, String text) {
    assertThat(p.send(fd, text.getBytes(StandardCharsets.US_ASCII))).isEqualTo(text.length());
  }

  /** What is there for everybody else to receive, without waiting. */
  private static String receiveText(TestProgram p, int fd) {
    long r = p.receive(fd, 1000, Socket.MSG_DONTWAIT);
    return r < 0 ? Errno.name((int) -r) : new String(p.received(r), StandardCharsets.US_ASCII);
  }

  /** Of a stream, and of messages; what a process does not take that has ended is others'. */
  @Test
  void whatAProcessHasNotTakenIsOthers() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link);
        LentProgram r = new LentProgram(link)) {
      int slots = link.counts().slots();
      int[][] ends = born(p);
      int to = p.socket(Socket.SOCK_DGRAM | Socket.SOCK_NONBLOCK);
      int toBirth = p.slot.newBirth();
      p.address(0);
      p.expect(Canonical.BIND, to, 0, 16);
      int from = p.socket(Socket.SOCK_DGRAM);
      assertThat(p.connect(from, p.port(to))).isZero();
      int[][] ways = {
        {ends[0][0], ends[1][0], ends[1][1]}, {from, to, toBirth},
      };
      for (int[] way : ways) {
        int a = way[0];
        int b = way[1];
        int birth = way[2];
        p.watch(b);
        sendText(p, a, "hello");
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat(text(q, 5)).isEqualTo("hello");
        assertThat(receiveText(p, b)).isEqualTo("hello");
        assertThat(q.take()).isFalse();

        sendText(p, a, "taken");
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat(q.take()).isTrue();
        assertThat((int) p.call(PseudoCall.SAMPLE, b) & Poll.POLLIN).isZero();
        assertThat(receiveText(p, b)).isEqualTo("EAGAIN");
        sendText(p, a, "next");
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(4);
        assertThat(q.take()).isTrue();
        assertThat(q.receive(b, birth, 100, Socket.MSG_DONTWAIT)).isEqualTo(-Errno.EAGAIN);
        assertThat(q.isOffered()).isFalse();

        // Not taken before the next call of the same process, nor by a second one.
        sendText(p, a, "again");
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat(r.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat(text(r, 5)).isEqualTo("again");
        assertThat(q.take()).isFalse();
        assertThat(r.take()).isTrue();
        assertThat(q.receive(b, birth, 100, Socket.MSG_DONTWAIT)).isEqualTo(-Errno.EAGAIN);

        // Looks take nothing, and nothing away.
        sendText(p, a, "looks");
        assertThat(q.receive(b, birth, 100, Socket.MSG_PEEK)).isEqualTo(5);
        assertThat(q.isOffered()).isFalse();
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(5);
        assertThat((int) p.call(PseudoCall.SAMPLE, b) & Poll.POLLIN).isNotZero();
        assertThat(q.take()).isTrue();
        assertThat((int) p.call(PseudoCall.SAMPLE, b) & Poll.POLLIN).isZero();

        // Who waits in the kernel is the one who gets it.
        try (TestProgram waits = new TestProgram(link)) {
          p.expect(Canonical.FCNTL, b, Fcntl.F_SETFL, 0);
          waits.submit(Canonical.RECVFROM, b, 0, 100, 0, 0, 0);
          assertThat(waits.slot.await(20_000_000)).isFalse();
          assertThat(q.receive(b, birth, 100, 0)).isEqualTo(LentCalls.TRAP);
          sendText(p, a, "waits");
          assertThat(waits.await()).isEqualTo(5);
          assertThat(q.receive(b, birth, 100, 0)).as("not settled").isEqualTo(LentCalls.TRAP);
          waits.slot.settle();
          p.expect(Canonical.FCNTL, b, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
        }

        // The process ends.
        sendText(p, a, "ended");
        try (LentProgram ends1 = new LentProgram(link)) {
          assertThat(ends1.receive(b, birth, 100, 0)).isEqualTo(5);
        }
        assertThat(receiveText(p, b)).isEqualTo("ended");
        sendText(p, a, "had it");
        try (LentProgram ends2 = new LentProgram(link)) {
          assertThat(ends2.receive(b, birth, 100, 0)).isEqualTo(6);
          assertThat(ends2.take()).isTrue();
        }
        assertThat(receiveText(p, b)).isEqualTo("EAGAIN");
        eventually("slots", slots, () -> link.counts().slots());

        // From an option on that would be moved by looks, all is the hook's.
        p.data().set(ValueLayout.JAVA_INT, 64, 0);
        p.expect(Canonical.SETSOCKOPT, b, Socket.SOL_SOCKET, Socket.SO_PEEK_OFF, 64, 4);
        sendText(p, a, "offset");
        assertThat(q.receive(b, birth, 100, 0)).isEqualTo(LentCalls.TRAP);
        assertThat(receiveText(p, b)).isEqualTo("offset");
        p.close(b);
        assertThat(q.take()).isFalse();
      }
      assertThat(q.call(PseudoCall.PING, 0)).isEqualTo(LentCalls.TRAP);
    }
  }

  @Test
  void aStreamsBytesAreTakenInOrderWhateverIsAskedFor() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("aStreamsBytesAreTakenInOrderWhateverIsAskedFor -Dtests.seed=" + seed);
    Random random = new Random(seed);
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link);
        LentProgram r = new LentProgram(link)) {
      int[][] ends = born(p);
      p.expect(Canonical.FCNTL, ends[1][0], Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      int sent = 0;
      int received = 0;
      for (int i = 0; i < 2000 || received < sent; i++) {
        LentProgram by = random.nextBoolean() ? q : r;
        if (i < 2000 && random.nextInt(3) != 0 && sent - received < 60_000) {
          byte[] bytes = counting(sent, 1 + random.nextInt(20_000));
          assertThat(p.send(ends[0][0], bytes)).isEqualTo(bytes.length);
          sent += bytes.length;
        }
        boolean direct = random.nextInt(4) != 0;
        int most = 1 + random.nextInt(30_000);
        long n =
            direct ? by.receive(ends[1][0], ends[1][1], most, 0) : p.receive(ends[1][0], most, 0);
        if (n == -Errno.EAGAIN) {
          continue;
        }
        assertThat(n).isBetween(1L, (long) Math.min(most, sent - received));
        byte[] got =
            direct ? by.data().asSlice(0, n).toArray(ValueLayout.JAVA_BYTE) : p.received(n);
        assertThat(got).isEqualTo(counting(received, (int) n));
        if (!direct || (random.nextInt(4) != 0 && by.take())) {
          received += (int) n;
        }
      }
    }
  }

  /** Nobody receives what comes behind bytes that the hook has, and nobody else yet. */
  @Test
  void whatTheHookHasComesFirst() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int b = ends[1][0];
      int birth = ends[1][1];
      for (int call : new int[] {Canonical.RECVFROM, Canonical.READ}) {
        sendText(p, ends[0][0], "one-two-");
        assertThat(p.call(call, b, 4096, 4, 0, Call.NULL, Call.NULL)).isEqualTo(4);
        assertThat(q.receive(b, birth, 4, 0)).isEqualTo(LentCalls.TRAP);
        p.slot.settle();
        assertThat(q.receive(b, birth, 4, 0)).isEqualTo(4);
        assertThat(text(q, 4)).isEqualTo("two-");
        assertThat(q.take()).isTrue();
      }
      // Another call says it, too; and the end of the thread.
      sendText(p, ends[0][0], "three");
      assertThat(p.call(Canonical.READ, b, 4096, 1)).isEqualTo(1);
      assertThat(p.call(PseudoCall.PING)).isZero();
      assertThat(q.receive(b, birth, 1, 0)).isEqualTo(1);
      assertThat(q.take()).isTrue();
      int slots = link.counts().slots();
      try (TestProgram ends1 = new TestProgram(link)) {
        assertThat(ends1.call(Canonical.READ, b, 4096, 1)).isEqualTo(1);
        assertThat(q.receive(b, birth, 1, 0)).isEqualTo(LentCalls.TRAP);
      }
      eventually("slots", slots, () -> link.counts().slots());
      assertThat(q.receive(b, birth, 1, 0)).isEqualTo(1);
      assertThat(q.take()).isTrue();
      // What the hook keeps is the hook's to give, for good.
      assertThat(p.call(PseudoCall.KEEPS, b)).isZero();
      assertThat(q.receive(b, birth, 1, 0)).isEqualTo(LentCalls.TRAP);
      assertThat(receiveText(p, b)).isEqualTo("e");
      assertThat(p.call(PseudoCall.KEEPS, 9999)).isEqualTo(-Errno.EBADF);
    }
  }

  @Test
  void manyHandlesAreClosedByOneCall() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] handles = new int[5];
      for (int i = 0; i < 3; i++) {
        handles[i] = p.socket(Socket.SOCK_DGRAM);
      }
      handles[3] = -1;
      handles[4] = handles[0];
      int other = p.socket(Socket.SOCK_DGRAM);
      MemorySegment.copy(handles, 0, p.data(), ValueLayout.JAVA_INT, 0, handles.length);
      assertThat(p.call(PseudoCall.CLOSES, handles.length)).isEqualTo(3);
      for (int handle : handles) {
        assertThat(p.call(Canonical.LISTEN, handle, 1)).isEqualTo(-Errno.EBADF);
      }
      assertThat(p.call(Canonical.CLOSE, other)).isZero();
      assertThat(p.call(PseudoCall.CLOSES, 0)).isZero();
      assertThat(p.call(PseudoCall.CLOSES, -1)).isEqualTo(-Errno.EINVAL);
      assertThat(p.call(PseudoCall.CLOSES, PseudoCall.MAX_CLOSES + 1)).isEqualTo(-Errno.EINVAL);
    }
  }

  @Test
  void anEmptyMessageIsTakenToo() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int to = p.socket(Socket.SOCK_DGRAM | Socket.SOCK_NONBLOCK);
      int birth = p.slot.newBirth();
      p.address(0);
      p.expect(Canonical.BIND, to, 0, 16);
      int from = p.socket(Socket.SOCK_DGRAM);
      assertThat(p.connect(from, p.port(to))).isZero();
      assertThat(p.send(from, new byte[0])).isZero();
      sendText(p, from, "long");
      sendText(p, from, "last");
      assertThat(q.receive(to, birth, 100, 0)).isZero();
      assertThat(q.take()).isTrue();
      assertThat(q.receive(to, birth, 2, 0)).isEqualTo(2);
      assertThat(q.take()).isTrue();
      assertThat(receiveText(p, to)).isEqualTo("last");
    }
  }

  /** Nor is an error lost with the process that was about to be told. */
  @Test
  void anErrorIsForWhoeverReceivesNext() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      for (int flags : new int[] {0, Socket.MSG_PEEK}) {
        int[][] ends = born(p);
        int a = ends[0][0];
        p.data().set(ValueLayout.JAVA_INT, 64, 1);
        p.data().set(ValueLayout.JAVA_INT, 68, 0);
        p.expect(Canonical.SETSOCKOPT, ends[1][0], Socket.SOL_SOCKET, Socket.SO_LINGER, 64, 8);
        p.close(ends[1][0]);
        eventually("reset", Poll.POLLERR, () -> (int) p.call(PseudoCall.SAMPLE, a) & Poll.POLLERR);
        assertThat(q.receive(a, ends[0][1], 10, flags)).isEqualTo(LentCalls.TRAP);
        assertThat(p.receive(a, 10, 0)).isEqualTo(-Errno.ECONNRESET);
        assertThat(p.receive(a, 10, 0)).isZero();
        p.close(a);
        // Nothing listens there. Of messages it comes first of all, and at once.
        int to = p.socket(Socket.SOCK_DGRAM);
        p.address(0);
        p.expect(Canonical.BIND, to, 0, 16);
        int from = p.socket(Socket.SOCK_DGRAM | Socket.SOCK_NONBLOCK);
        int birth = p.slot.newBirth();
        assertThat(p.connect(from, p.port(to))).isZero();
        p.close(to);
        sendText(p, from, "x");
        eventually(
            "refusal", Poll.POLLERR, () -> (int) p.call(PseudoCall.SAMPLE, from) & Poll.POLLERR);
        assertThat(q.receive(from, birth, 10, flags)).isEqualTo(-Errno.ECONNREFUSED);
        assertThat(receiveText(p, from)).isEqualTo("EAGAIN");
        p.close(from);
      }
    }
  }

  @Test
  void aSlotThatIsLentLooksAndHoldsSegmentsBack() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int b = ends[1][0];
      q.polled(0, a, Poll.POLLIN | Poll.POLLOUT, ends[0][1]);
      q.polled(1, b, Poll.POLLIN, ends[1][1]);
      assertThat(q.call(Canonical.PPOLL, ends[0][1], a, 0, 2)).isEqualTo(1);
      assertThat(q.found(0)).isEqualTo(Poll.POLLOUT);
      assertThat(q.found(1)).isZero();
      assertThat(p.send(a, new byte[3])).isEqualTo(3);
      assertThat(q.call(Canonical.PPOLL, ends[0][1], a, 0, 2)).isEqualTo(2);
      assertThat(q.found(1)).isEqualTo(Poll.POLLIN);
      // Of what is not ready it says so at once.
      q.polled(0, a, Poll.POLLIN, ends[0][1]);
      assertThat(q.call(Canonical.PPOLL, ends[0][1], a, 0, 1)).isZero();
      // One wrong birth among them is enough to say nothing.
      q.polled(0, a, Poll.POLLOUT, ends[0][1]);
      q.polled(1, b, Poll.POLLIN, ends[1][1] + 1);
      assertThat(q.call(Canonical.PPOLL, ends[0][1], a, 0, 2)).isEqualTo(LentCalls.TRAP);
      for (long count : new long[] {0, -1, LentCalls.MAX_POLLED + 1, Long.MAX_VALUE}) {
        assertThat(q.call(Canonical.PPOLL, ends[0][1], a, 0, count)).isEqualTo(LentCalls.TRAP);
      }
      q.data().set(ValueLayout.JAVA_INT, 0, 1);
      assertThat(q.call(Canonical.SETSOCKOPT, ends[0][1], a, Socket.IPPROTO_TCP, Socket.TCP_CORK))
          .isZero();
      for (long[] other : new long[][] {{Socket.SOL_SOCKET, 2}, {Socket.IPPROTO_TCP, 2}, {0, 1}}) {
        assertThat(q.call(Canonical.SETSOCKOPT, ends[0][1], a, other[0], other[1]))
            .isEqualTo(LentCalls.TRAP);
      }
      // From a socket nothing is sent, to one that waits neither, nor with a wrong birth.
      q.data().set(ValueLayout.JAVA_LONG, 0, 0);
      assertThat(q.call(Canonical.SENDFILE, ends[0][1], a, b, 1, ends[1][1]))
          .isEqualTo(LentCalls.TRAP);
      p.expect(Canonical.FCNTL, a, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      assertThat(q.call(Canonical.SENDFILE, ends[0][1], a, b, 1, ends[1][1] + 1))
          .isEqualTo(LentCalls.TRAP);
      assertThat(q.call(Canonical.SENDFILE, ends[0][1], a, b, 1, ends[1][1])).isNegative();
      assertThat(
              q.call(
                  Canonical.SENDFILE, ends[0][1], a, b, LentCalls.SENDFILE_BYTES + 1, ends[1][1]))
          .isEqualTo(LentCalls.TRAP);
    }
  }

  @Test
  void aSlotThatIsLentAnswersQuestions() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int birth = ends[0][1];
      int b = ends[1][0];
      // Each end's own name is the other's peer's, cut off where there is less room.
      q.answers((byte) 0x5a);
      assertThat(q.call(Canonical.GETSOCKNAME, birth, a, 0, 0, 128)).isZero();
      byte[] name = q.answer(16);
      assertThat(q.answered()).isEqualTo(16);
      assertThat(q.answer(17)[16]).isEqualTo((byte) 0x5a);
      q.answers((byte) 0x5a);
      assertThat(q.call(Canonical.GETPEERNAME, ends[1][1], b, 0, 0, 5)).isZero();
      assertThat(q.answered()).isEqualTo(16);
      assertThat(q.answer(5)).isEqualTo(Arrays.copyOf(name, 5));
      assertThat(q.answer(6)[5]).isEqualTo((byte) 0x5a);
      assertThat(q.call(Canonical.GETSOCKOPT, birth, a, Socket.SOL_SOCKET, Socket.SO_TYPE, 4))
          .isZero();
      assertThat(q.number()).isEqualTo(Socket.SOCK_STREAM);
      assertThat(p.send(b, new byte[7])).isEqualTo(7);
      assertThat(q.call(Canonical.IOCTL, birth, a, Ioctl.FIONREAD, 0, 4)).isZero();
      assertThat(q.number()).isEqualTo(7);
      assertThat(q.call(Canonical.GETSOCKOPT, birth, a, Socket.SOL_SOCKET, Socket.SO_ERROR, 4))
          .isZero();
      assertThat(q.number()).isZero();
      // An error is for the hook to tell, and is there still.
      p.data().set(ValueLayout.JAVA_LONG, 0, 1);
      assertThat(p.call(Canonical.SETSOCKOPT, b, Socket.SOL_SOCKET, Socket.SO_LINGER, 0, 8))
          .isZero();
      p.close(b);
      for (int i = 0; i < 2; i++) {
        eventually(
            "asked for an error",
            (int) LentCalls.TRAP,
            () ->
                (int)
                    q.call(Canonical.GETSOCKOPT, birth, a, Socket.SOL_SOCKET, Socket.SO_ERROR, 4));
      }
      assertThat(q.call(Canonical.GETPEERNAME, birth, a, 0, 0, 16)).isEqualTo(-Errno.ENOTCONN);
    }
  }

  @Test
  void whatIsNoQuestionIsNotMade() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int a = p.socket(Socket.SOCK_STREAM);
      int birth = p.slot.newBirth();
      q.answers((byte) 0x5a);
      long most = SocketOptions.ASKED_BYTES;
      int names = Canonical.GETSOCKNAME;
      int options = Canonical.GETSOCKOPT;
      for (long room : new long[] {-1, most + 1, Integer.MAX_VALUE, 1L << 32, Long.MIN_VALUE}) {
        assertThat(q.call(names, birth, a, 0, 0, room)).isEqualTo(LentCalls.TRAP);
        assertThat(q.call(Canonical.GETPEERNAME, birth, a, 0, 0, room)).isEqualTo(LentCalls.TRAP);
        assertThat(q.call(options, birth, a, Socket.SOL_SOCKET, Socket.SO_TYPE, room))
            .isEqualTo(LentCalls.TRAP);
      }
      for (long[] option :
          new long[][] {
            {Socket.SOL_SOCKET, Socket.SO_PEERCRED},
            {Socket.SOL_SOCKET, Socket.SO_RCVTIMEO},
            {Socket.SOL_SOCKET, -1},
            {Socket.SOL_SOCKET, 64 + Socket.SO_TYPE},
            {Socket.SOL_SOCKET, 1L << 32 | Socket.SO_TYPE},
            {1L << 32 | Socket.SOL_SOCKET, Socket.SO_TYPE},
            {Socket.IPPROTO_TCP, 35},
            {Socket.IPPROTO_SCTP, 102},
            {-1, Socket.SO_TYPE},
          }) {
        assertThat(q.call(options, birth, a, option[0], option[1], 4)).isEqualTo(LentCalls.TRAP);
      }
      // An error that could not be told whole would be lost.
      assertThat(q.call(options, birth, a, Socket.SOL_SOCKET, Socket.SO_ERROR, 3))
          .isEqualTo(LentCalls.TRAP);
      for (long request : new long[] {Ioctl.FIONBIO, Ioctl.SIOCOUTQ, 1L << 32 | Ioctl.FIONREAD}) {
        assertThat(q.call(Canonical.IOCTL, birth, a, request, 0, 4)).isEqualTo(LentCalls.TRAP);
      }
      for (int number : new int[] {Canonical.FCNTL, Canonical.CLOSE, Canonical.ACCEPT4}) {
        assertThat(q.call(number, birth, a, 1)).isEqualTo(LentCalls.TRAP);
      }
      for (int number : new int[] {names, Canonical.GETPEERNAME}) {
        assertThat(q.call(number, birth + 1, a, 0, 0, 16)).isEqualTo(LentCalls.TRAP);
      }
      assertThat(q.answer(64)).containsOnly(0x5a);
      // Room for nothing is an answer, and the socket is as it was.
      assertThat(q.call(names, birth, a, 0, 0, 0)).isZero();
      assertThat(q.answered()).isEqualTo(16);
      assertThat(q.answer(64)).containsOnly(0x5a);
      assertThat(p.call(Canonical.FCNTL, a, Fcntl.F_GETFL)).isEqualTo(2);
    }
  }

  /** Counts in a stream, in one byte each. */
  private static byte[] counting(int from, int bytes) {
    byte[] all = new byte[bytes];
    for (int i = 0; i < bytes; i++) {
      all[i] = (byte) ((from + i) % 251);
    }
    return all;
  }

  /** Receives so many bytes by calls that wait, and checks that they count on. */
  private static int expectCounting(TestProgram p, int fd, int from, int bytes) {
    int got = 0;
    while (got < bytes) {
      long r = p.receive(fd, Math.min(bytes - got, 65536), 0);
      assertThat(r).isPositive();
      byte[] data = p.received(r);
      assertThat(data).isEqualTo(counting(from + got, data.length));
      got += data.length;
    }
    return from + got;
  }

  @Test
  void whatIsSentAheadIsMadeBeforeAnyCall() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link);
        LentProgram other = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int birth = ends[0][1];
      int b = ends[1][0];
      p.expect(Canonical.FCNTL, b, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      assertThat(q.call(PseudoCall.PING, 0)).isEqualTo(LentCalls.TRAP);
      Random random = new Random(1);
      int sent = 0;
      int received = 0;
      for (int i = 0; i < 2000; i++) {
        int bytes = 1 + random.nextInt(random.nextInt(10) == 0 ? SlotLayout.AHEAD_BYTES : 100);
        byte[] data = counting(sent, bytes);
        switch (random.nextInt(8)) {
          case 0 -> {
            MemorySegment.copy(data, 0, q.data(), ValueLayout.JAVA_BYTE, 0, bytes);
            assertThat(q.call(Canonical.SENDTO, birth, a, 0, bytes, 0)).isEqualTo(bytes);
          }
          case 1 -> {
            MemorySegment.copy(data, 0, other.data(), ValueLayout.JAVA_BYTE, 0, bytes);
            assertThat(other.call(Canonical.SENDTO, birth, a, 0, bytes, 0)).isEqualTo(bytes);
          }
          case 2 -> assertThat(p.send(a, data)).isEqualTo(bytes);
          case 3 -> {
            q.ahead(a, birth, Socket.MSG_MORE, data);
            q.awaitDrained();
          }
          default -> {
            q.ahead(a, birth, 0, data);
            if (random.nextInt(3) == 0) {
              // Every call finds it, be it one that looks or one that waits for nothing.
              assertThat(p.call(random.nextBoolean() ? PseudoCall.PING : PseudoCall.SYNC, 0))
                  .isNotNegative();
            }
          }
        }
        sent += bytes;
        if (sent - received > 20_000 || random.nextInt(4) == 0) {
          // MSG_MORE holds back what the next send takes along.
          assertThat(p.send(a, counting(sent, 1))).isEqualTo(1);
          sent++;
          received = expectAll(p, b, received, sent);
        }
      }
      q.ahead(a, birth, 0, counting(sent, 5));
      p.close(a);
      assertThat(expectAll(p, b, received, sent + 5)).isEqualTo(sent + 5);
      eventually("end", 0, () -> (int) p.receive(b, 1, 0));
      // The file is gone: such a send is thrown away.
      q.ahead(a, birth, 0, counting(0, 5));
      assertThat(p.call(PseudoCall.PING)).isZero();
      assertThat(q.drained()).isPositive();
    }
  }

  /** All that was sent is to come, though a device's loopback may take a moment. */
  private static int expectAll(TestProgram p, int fd, int from, int to) throws Exception {
    int[] at = {from};
    eventually(
        "received",
        to,
        () -> {
          long r = p.receive(fd, Math.min(to - at[0], 65536), 0);
          if (r > 0) {
            byte[] data = p.received(r);
            assertThat(data).isEqualTo(counting(at[0], data.length));
            at[0] += data.length;
          }
          return at[0];
        });
    return to;
  }

  /** In a library kernel each session has a table of descriptors, and the same numbers in it. */
  @Test
  void whatGoesWithoutACallIsItsSessionsAlone() throws Exception {
    try (DeviceLink second = device.link(new TestDevice.Ear(), 64);
        TestProgram p = new TestProgram(link);
        LentProgram lent = new LentProgram(link);
        TestProgram other = new TestProgram(second);
        LentProgram otherLent = new LentProgram(second)) {
      int[][] ends = born(p);
      int[][] otherEnds = born(other);
      p.expect(Canonical.FCNTL, ends[1][0], Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      other.expect(Canonical.FCNTL, otherEnds[1][0], Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      sendText(other, otherEnds[0][0], "theirs");
      for (int i = 0; i < 100; i++) {
        lent.ahead(ends[0][0], ends[0][1], 0, counting(5 * i, 5));
        other.call(PseudoCall.PING);
        assertThat(otherLent.call(PseudoCall.PING, 0)).isEqualTo(LentCalls.TRAP);
        lent.awaitDrained();
        expectAll(p, ends[1][0], 5 * i, 5 * i + 5);
        // What is taken of a reply is thrown out of the queue by the next call, if it is its own.
        sendText(p, ends[0][0], "taken");
        assertThat(lent.receive(ends[1][0], ends[1][1], 5, 0)).isEqualTo(5);
        assertThat(lent.take()).isTrue();
        other.call(PseudoCall.PING);
        assertThat(p.receive(ends[1][0], 100, 0)).isEqualTo(-Errno.EAGAIN);
      }
      assertThat(other.receive(otherEnds[1][0], 100, 0)).isEqualTo(6);
    }
  }

  @Test
  void whatIsSentAheadOutlivesItsProcess() throws Exception {
    for (int i = 0; i < 20; i++) {
      try (TestProgram p = new TestProgram(link)) {
        int[][] ends = born(p);
        try (LentProgram q = new LentProgram(link)) {
          assertThat(q.call(PseudoCall.PING, 0)).isEqualTo(LentCalls.TRAP);
          q.ahead(ends[0][0], ends[0][1], 0, counting(0, 1000));
          q.ahead(ends[0][0], ends[0][1], 0, counting(1000, 8000));
        }
        assertThat(expectCounting(p, ends[1][0], 0, 9000)).isEqualTo(9000);
      }
    }
  }

  @Test
  void whatIsSentAheadAndFindsNoRoomWaitsForIt() throws Exception {
    for (int how = 0; how < 3; how++) {
      try (TestProgram p = new TestProgram(link);
          LentProgram q = new LentProgram(link)) {
        int[][] ends = born(p);
        int a = ends[0][0];
        int birth = ends[0][1];
        int b = ends[1][0];
        p.expect(Canonical.FCNTL, a, Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
        // As they are from now on: the kernel makes buffers larger when acknowledgements come.
        for (int[] fixed : new int[][] {{a, Socket.SO_SNDBUF}, {b, Socket.SO_RCVBUF}}) {
          p.data().set(ValueLayout.JAVA_INT, 0, 200_000);
          p.expect(Canonical.SETSOCKOPT, fixed[0], Socket.SOL_SOCKET, fixed[1], 0, Integer.BYTES);
        }
        int sent = 0;
        // Until it is full for good: the receiver's window may still open, when it is probed.
        for (int full = 0; full < 5; ) {
          long r = p.send(a, counting(sent, 100_000));
          if (r < 0) {
            full++;
            Thread.sleep(100);
          } else {
            full = 0;
            sent += (int) r;
          }
        }
        for (int i = 0; i < 3; i++) {
          q.ahead(a, birth, 0, counting(sent, 7000));
          sent += 7000;
        }
        assertThat(p.send(a, new byte[1])).isEqualTo(-Errno.EAGAIN);
        assertThat(q.call(Canonical.SENDTO, birth, a, 0, 1, 0)).isEqualTo(LentCalls.TRAP);
        q.ahead(a, birth, 0, counting(sent, 10));
        sent += 10;
        switch (how) {
          case 0 -> p.close(a);
          case 1 -> p.expect(Canonical.SHUTDOWN, a, 1);
          default -> {
            // A send that waits comes behind it.
            p.expect(Canonical.FCNTL, a, Fcntl.F_SETFL, 0);
            int before = sent;
            try (TestProgram blocked = new TestProgram(link)) {
              Thread t =
                  Thread.ofPlatform()
                      .start(() -> assertThat(blocked.send(a, counting(before, 10))).isEqualTo(10));
              assertThat(expectCounting(p, b, 0, before + 10)).isEqualTo(before + 10);
              t.join();
            }
            p.close(a);
            sent += 10;
            assertThat(p.receive(b, 1, 0)).isZero();
            continue;
          }
        }
        assertThat(expectCounting(p, b, 0, sent)).isEqualTo(sent);
        assertThat(p.receive(b, 1, 0)).isZero();
      }
    }
  }

  /** A kernel of which poll can be kept from seeing anything. */
  private static Kernel blind(Kernel kernel, AtomicBoolean isBlind) {
    return (Kernel)
        Proxy.newProxyInstance(
            Kernel.class.getClassLoader(),
            new Class<?>[] {Kernel.class},
            (proxy, method, args) -> {
              if (isBlind.get()
                  && method.getName().equals("syscall")
                  && args[0].equals(Canonical.PPOLL)) {
                return 0L;
              }
              try {
                return method.invoke(kernel, args);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  @Test
  void theErrorOfASendThatWentAheadIsToldOnce() throws Exception {
    AtomicBoolean blind = new AtomicBoolean();
    try (TestDevice device = new TestDevice(blind(kernel(), blind), new Limits(1, 16, 32, 1000));
        DeviceLink own = device.link(new TestDevice.Ear(), 16);
        TestProgram p = new TestProgram(own);
        LentProgram q = new LentProgram(own)) {
      for (int way = 0; way < 8; way++) {
        int[][] ends = born(p);
        int a = ends[0][0];
        int birth = ends[0][1];
        p.data().set(ValueLayout.JAVA_INT, 64, 1);
        p.data().set(ValueLayout.JAVA_INT, 68, 0);
        p.expect(Canonical.SETSOCKOPT, ends[1][0], Socket.SOL_SOCKET, Socket.SO_LINGER, 64, 8);
        p.close(ends[1][0]);
        eventually("reset", Poll.POLLERR, () -> (int) p.call(PseudoCall.SAMPLE, a) & Poll.POLLERR);
        blind.set(way % 2 == 0);
        q.ahead(a, birth, 0, counting(0, 10));
        assertThat(p.call(PseudoCall.PING)).isZero();
        blind.set(false);
        assertThat((int) p.call(PseudoCall.SAMPLE, a) & Poll.POLLERR).isNotZero();
        assertThat(q.call(Canonical.RECVFROM, birth, a, 0, 1, Socket.MSG_PEEK)).isNotEqualTo(1);
        if (way / 2 != 3 && way % 2 != 0) {
          // The socket still has it, and has told it by that receive.
          p.close(a);
          continue;
        }
        switch (way / 2) {
          case 0 -> assertThat(p.send(a, new byte[1])).isEqualTo(-Errno.ECONNRESET);
          case 1 -> assertThat(p.receive(a, 1, 0)).isEqualTo(-Errno.ECONNRESET);
          case 2 -> {
            assertThat(socketError(p, a)).isEqualTo(Errno.ECONNRESET);
            assertThat(socketError(p, a)).isZero();
          }
          default -> {
            p.close(a);
            continue;
          }
        }
        assertThat((int) p.call(PseudoCall.SAMPLE, a) & Poll.POLLERR).isZero();
        assertThat(p.send(a, new byte[1])).isEqualTo(-Errno.EPIPE);
        p.close(a);
      }
    }
  }

  private static int socketError(TestProgram p, int fd) {
    p.data().set(ValueLayout.JAVA_INT, 64, -1);
    p.data().set(ValueLayout.JAVA_INT, 72, 4);
    p.expect(Canonical.GETSOCKOPT, fd, Socket.SOL_SOCKET, Socket.SO_ERROR, 64, 72);
    return p.data().get(ValueLayout.JAVA_INT, 64);
  }

  @Test
  void onTheDevicesLoopbackNothingGoesAhead() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      assertThat(q.credit(Canonical.SENDTO, ends[0][1], ends[0][0], 0, 5, 0)).isZero();
      assertThat(q.credit(Canonical.RECVFROM, ends[1][1], ends[1][0], 0, 5, 0)).isZero();
    }
  }

  /** {@code include/uapi/linux/tcp.h}. */
  private static final int TCP_MAXSEG = 2;

  @Test
  void optionsInARingAreSetWhereTheyStand() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int birth = ends[0][1];
      q.call(PseudoCall.PING, 0);
      int sets = Integer.MIN_VALUE;
      byte[] on = {1, 0, 0, 0};
      q.ahead(a, birth, sets | Socket.TCP_NODELAY, on);
      q.ahead(a, birth, sets | Socket.TCP_CORK, on);
      q.ahead(a, birth, 0, counting(0, 100));
      // Every call finds it, and held back is what came behind it.
      assertThat(tcpOption(p, a, Socket.TCP_CORK)).isOne();
      assertThat(tcpOption(p, a, Socket.TCP_NODELAY)).isOne();
      assertThat(p.call(PseudoCall.SAMPLE, ends[1][0]) & Poll.POLLIN).isZero();
      q.ahead(a, birth, 0, counting(100, 50));
      q.ahead(a, birth, sets | Socket.TCP_CORK, new byte[4]);
      assertThat(expectCounting(p, ends[1][0], 0, 150)).isEqualTo(150);
      assertThat(tcpOption(p, a, Socket.TCP_CORK)).isZero();
      // Of another file, another option, of another length: nothing is set, and what follows is.
      q.ahead(a, birth + 1, sets | Socket.TCP_CORK, on);
      q.ahead(a, birth, sets | TCP_MAXSEG, on);
      q.ahead(a, birth, sets | Socket.TCP_CORK, new byte[] {1});
      q.ahead(a, birth, sets | Socket.TCP_CORK, new byte[] {1, 0, 0, 0, 0, 0, 0, 0});
      assertThat(tcpOption(p, a, Socket.TCP_CORK)).isZero();
      q.ahead(a, birth, sets | Socket.TCP_NODELAY, new byte[4]);
      assertThat(tcpOption(p, a, Socket.TCP_NODELAY)).isZero();
    }
  }

  private static int tcpOption(TestProgram p, int fd, int name) {
    p.data().set(ValueLayout.JAVA_INT, 64, -1);
    p.data().set(ValueLayout.JAVA_INT, 72, 4);
    p.expect(Canonical.GETSOCKOPT, fd, Socket.IPPROTO_TCP, name, 64, 72);
    return p.data().get(ValueLayout.JAVA_INT, 64);
  }

  @Test
  void randomRingsNeverHarmTheDevice() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("randomRingsNeverHarmTheDevice -Dtests.seed=" + seed);
    Random random = new Random(seed);
    try (TestProgram p = new TestProgram(link)) {
      int[][] ends = born(p);
      p.expect(Canonical.FCNTL, ends[1][0], Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      for (int round = 0; round < 300; round++) {
        try (LentProgram q = new LentProgram(link)) {
          q.call(PseudoCall.PING, 0);
          long position = 0;
          for (int i = 0; i < 20; i++) {
            for (int at = 0; at < SlotLayout.RING_BYTES; at += 16) {
              q.header(
                  at,
                  random.nextInt(8) == 0 ? (int) odd(random) : ends[0][0],
                  random.nextInt(8) == 0 ? random.nextInt() : ends[0][1],
                  switch (random.nextInt(4)) {
                    case 0 -> random.nextInt();
                    case 1 -> Integer.MIN_VALUE | random.nextInt(4);
                    default -> 0;
                  },
                  random.nextInt(4) == 0 ? (int) odd(random) : 1 + random.nextInt(3000));
            }
            position =
                random.nextInt(30) == 0
                    ? odd(random)
                    : position + 16L * random.nextInt(SlotLayout.RING_BYTES / 16 + 1);
            q.publish(position);
            assertThat(p.call(PseudoCall.PING)).isZero();
            p.receive(ends[1][0], 100_000, 0);
          }
        }
      }
      assertThat(p.call(PseudoCall.PING)).isZero();
      int[][] others = born(p);
      assertThat(p.send(others[0][0], new byte[3])).isEqualTo(3);
    }
  }

  @Test
  void aSlotThatIsLentDoesNothingElse() throws Exception {
    try (TestProgram p = new TestProgram(link);
        LentProgram q = new LentProgram(link)) {
      int[][] ends = born(p);
      int a = ends[0][0];
      int birth = ends[0][1];
      assertThat(birth).isNotEqualTo(ends[1][1]);
      for (int number :
          new int[] {
            Canonical.SOCKET,
            Canonical.CLOSE,
            Canonical.OPENAT,
            Canonical.SETSOCKOPT,
            Canonical.RECVMSG,
            PseudoCall.PING,
            PseudoCall.CREDENTIALS,
            PseudoCall.WATCH,
            PseudoCall.SYNC,
            -1
          }) {
        assertThat(q.call(number, birth, a, 0, 1, 0)).as("%d", number).isEqualTo(LentCalls.TRAP);
      }
      assertThat(q.call(Canonical.SENDTO, birth, a, 0, 1, Socket.MSG_OOB))
          .isEqualTo(LentCalls.TRAP);
      for (long bytes : new long[] {-1, Call.PIECE_BYTES + 1, Long.MAX_VALUE, Long.MIN_VALUE}) {
        assertThat(q.call(Canonical.SENDTO, birth, a, 0, bytes, 0)).isEqualTo(LentCalls.TRAP);
        assertThat(q.call(Canonical.RECVFROM, birth, a, 0, bytes, 0)).isEqualTo(LentCalls.TRAP);
      }
      assertThat(q.call(Canonical.SENDTO, birth, a, 0, 1, 0)).isEqualTo(1);
      // Who guesses has a few guesses, and then no say at all.
      for (int i = 1; i < 400; i++) {
        assertThat(q.call(Canonical.SENDTO, birth + i, a, 0, 1, 0)).isEqualTo(LentCalls.TRAP);
      }
      assertThat(q.call(Canonical.SENDTO, birth, a, 0, 1, 0)).isEqualTo(LentCalls.TRAP);
      assertThat(p.send(a, new byte[1])).as("the hook's calls go on").isEqualTo(1);
    }
  }

  @Test
  void aLentSlotsPlaceIsTheSessionsAgain() throws Exception {
    for (int i = 0; i < 200; i++) {
      try (LentProgram q = new LentProgram(link);
          TestProgram p = new TestProgram(link)) {
        assertThat(p.call(PseudoCall.PING)).isZero();
        assertThat(q.call(PseudoCall.PING, 0)).isEqualTo(LentCalls.TRAP);
      }
    }
  }

  @Test
  void whoWaitsInALentSlotHearsOfTheEnd() throws Exception {
    // Also if the device is just about to answer.
    for (int i = 0; i < 50; i++) {
      TestDevice.Ear other = new TestDevice.Ear();
      try (DeviceLink second = device.link(other, 8);
          LentProgram q = new LentProgram(second)) {
        second.bye();
        long r;
        do {
          r = q.call(PseudoCall.PING, 0);
        } while (r != LentProgram.LOST);
        assertThat(second.lost()).isTrue();
      }
      // The device hears of the link's end when it comes to it, and has room for a few sessions.
      eventually("sessions", 1, () -> link.counts().sessions());
    }
  }

  @Test
  void unknownAndRefusedCallsAreEnosys() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      for (int number : new int[] {-1, Integer.MIN_VALUE, 999, 5000, 0xffff, 0x1_0fff}) {
        assertThat(p.call(number)).as("%d", number).isEqualTo(-Errno.ENOSYS);
      }
      // Real calls that no host may ask for: execve, kill, ptrace, dup3, mount, reboot.
      for (int number : new int[] {221, 129, 117, 24, 40, 142}) {
        assertThat(p.call(number)).as("%d", number).isEqualTo(-Errno.ENOSYS);
      }
    }
  }

  /** A host may open what is the device's for it, and nothing else of the device's machine. */
  @Test
  void pathsThatAreNotTheDevicesAreRefused() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      for (String path :
          List.of(
              "/etc/passwd", "etc/passwd", "/", "", "/proc/net/../../etc/passwd", "/proc/1/mem")) {
        assertThat(p.open(path)).as("'%s'", path).isNegative();
      }
      long fd = p.open("/proc/net/dev");
      assertThat(fd).isNotNegative();
      assertThat(p.call(Canonical.READ, fd, 4096, 100)).isPositive();
      p.close((int) fd);
    }
  }

  @Test
  void aBlockedCallIsInterruptedAndTheNextOneIsNot() throws Exception {
    try (TestProgram p = new TestProgram(link);
        TestProgram q = new TestProgram(link)) {
      int[] pair = p.pair();
      for (int i = 0; i < 50; i++) {
        p.submit(Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
        if (i % 2 == 0) {
          assertThat(p.slot.await(i * 200_000L)).isFalse();
        }
        long start = System.nanoTime();
        link.interrupt(p.slot);
        assertThat(p.await()).isEqualTo(-Errno.ERESTARTSYS);
        assertThat(System.nanoTime() - start).isLessThan(TimeUnit.SECONDS.toNanos(1));
        // A second interruption of the same call has come too late and must do no harm.
        link.interrupt(p.slot);
        assertThat(q.send(pair[0], new byte[] {(byte) i})).isEqualTo(1);
        assertThat(p.receive(pair[1], 10, 0)).isEqualTo(1);
      }
      assertThat(link.counts().interrupts()).isEqualTo(50);
      p.close(pair[0]);
      p.close(pair[1]);
    }
  }

  @Test
  void aCallWithATimeoutIsNotRestarted() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] pair = p.pair();
      p.data().set(ValueLayout.JAVA_LONG, 0, 5);
      p.data().set(ValueLayout.JAVA_LONG, 8, 0);
      p.expect(Canonical.SETSOCKOPT, pair[1], Socket.SOL_SOCKET, Socket.SO_RCVTIMEO, 0, 16);
      p.submit(Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
      assertThat(p.slot.await(20_000_000)).isFalse();
      link.interrupt(p.slot);
      assertThat(p.await()).isEqualTo(-Errno.EINTR);
      p.close(pair[0]);
      p.close(pair[1]);
    }
  }

  @Test
  void anAcceptBlocksUntilAConnectionComes() throws Exception {
    try (TestProgram p = new TestProgram(link);
        TestProgram q = new TestProgram(link, p.slot.index(), Credentials.root())) {
      int listener = p.listener(5);
      int port = p.port(listener);
      p.submit(Canonical.ACCEPT4, listener, TestProgram.NULL, TestProgram.NULL, 0);
      assertThat(p.slot.await(50_000_000)).isFalse();
      int client = q.socket(Socket.SOCK_STREAM);
      assertThat(q.connect(client, port)).isZero();
      long server = p.await();
      assertThat(server).isNotNegative();
      // Handles are the session's: one thread's are another's too.
      q.close((int) server);
      q.close(client);
      q.close(listener);
    }
  }

  @Test
  void aHandleClosedUnderABlockedCallLivesUntilTheCallIsOver() throws Exception {
    try (TestProgram p = new TestProgram(link);
        TestProgram q = new TestProgram(link)) {
      int[] pair = p.pair();
      p.submit(Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
      assertThat(p.slot.await(20_000_000)).isFalse();
      q.close(pair[1]);
      assertThat(q.call(Canonical.CLOSE, pair[1])).isEqualTo(-Errno.EBADF);
      assertThat(link.counts().handles()).isEqualTo(2);
      // The number is still taken: what is made now must be another.
      int fresh = q.socket(Socket.SOCK_STREAM);
      assertThat(fresh).isNotEqualTo(pair[1]);
      assertThat(q.send(pair[0], new byte[] {1})).isEqualTo(1);
      assertThat(p.await()).isEqualTo(1);
      q.close(fresh);
      q.close(pair[0]);
      assertThat(link.counts().handles()).isZero();
    }
  }

  @Test
  void resultsOfWatchedHandlesCarryTheirState() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] pair = p.pair();
      assertThat(p.send(pair[0], new byte[] {1, 2, 3})).isEqualTo(3);
      assertThat(p.slot.readyMask()).isEqualTo(-1);
      p.watch(pair[1]);
      assertThat(p.slot.readyMask() & Poll.POLLIN).isNotZero();
      long first = p.slot.readyStamp();
      assertThat(p.receive(pair[1], 2, 0)).isEqualTo(2);
      assertThat(p.slot.readyMask() & Poll.POLLIN).isNotZero();
      assertThat(p.slot.readyStamp()).isGreaterThan(first);
      assertThat(p.receive(pair[1], 2, 0)).isEqualTo(1);
      assertThat(p.slot.readyMask()).isEqualTo(Poll.POLLOUT | Poll.POLLWRNORM);
      assertThat(p.receive(pair[1], 2, Socket.MSG_DONTWAIT)).isEqualTo(-Errno.EAGAIN);
      assertThat(p.slot.readyMask()).isEqualTo(Poll.POLLOUT | Poll.POLLWRNORM);
      p.close(pair[0]);
      assertThat(p.call(PseudoCall.SAMPLE, pair[1]) & (Poll.POLLRDHUP | Poll.POLLIN))
          .isEqualTo(Poll.POLLRDHUP | Poll.POLLIN);
      assertThat(link.counts().watched()).isEqualTo(1);
      p.close(pair[1]);
      assertThat(link.counts().watched()).isZero();
    }
  }

  @Test
  void everyEdgeIsToldAndNoneIsMadeUp() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] pair = p.pair();
      p.watch(pair[1]);
      assertThat(ear.sample(100)).as("to start to watch is no edge").isNull();
      long last = 0;
      for (int i = 0; i < 100; i++) {
        // More data while there is some already: an edge all the same.
        assertThat(p.send(pair[0], new byte[] {1})).isEqualTo(1);
        Frame.Sample s = ear.sample(5000);
        assertThat(s).as("edge %d", i).isNotNull();
        assertThat(s.handle()).isEqualTo(pair[1]);
        assertThat(s.mask() & Poll.POLLIN).isNotZero();
        assertThat(PseudoCall.edges(s.mask())).isEqualTo(i + 1);
        assertThat(s.stamp()).isGreaterThan(last);
        last = s.stamp();
      }
      assertThat(p.receive(pair[1], 1000, 0)).isEqualTo(100);
      assertThat(ear.sample(50)).isNull();
      assertThat(p.call(PseudoCall.WATCH, pair[1], 0)).isZero();
      assertThat(p.send(pair[0], new byte[] {1})).isEqualTo(1);
      assertThat(ear.sample(100)).as("not watched any more").isNull();
      p.close(pair[0]);
      p.close(pair[1]);
    }
  }

  @Test
  void syncTellsWhatHasChangedSinceTheLast() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int[] a = p.pair();
      int[] b = p.pair();
      p.watch(a[1]);
      p.watch(b[1]);
      assertThat(p.call(PseudoCall.SYNC, 0)).isEqualTo(2);
      long since = p.slot.readyStamp();
      assertThat(p.call(PseudoCall.SYNC, since)).isZero();
      assertThat(p.send(b[0], new byte[] {1})).isEqualTo(1);
      assertThat(p.call(PseudoCall.SYNC, since)).isEqualTo(1);
      assertThat(p.data().get(ValueLayout.JAVA_INT, PseudoCall.SAMPLE_HANDLE)).isEqualTo(b[1]);
      int mask = p.data().get(ValueLayout.JAVA_INT, PseudoCall.SAMPLE_MASK);
      assertThat(mask & Poll.POLLIN).isNotZero();
      assertThat(PseudoCall.edges(mask)).isEqualTo(1);
      // The watcher may have been faster; then its frame tells of the same edge.
      Frame.Sample told = ear.sample(200);
      assertThat(told == null ? 1 : PseudoCall.edges(told.mask())).isEqualTo(1);
      // Another reader of changes, with an older time, is told of the same change.
      assertThat(p.call(PseudoCall.SYNC, since)).isEqualTo(1);
      assertThat(PseudoCall.edges(p.data().get(ValueLayout.JAVA_INT, PseudoCall.SAMPLE_MASK)))
          .isEqualTo(1);
      for (int fd : new int[] {a[0], a[1], b[0], b[1]}) {
        p.close(fd);
      }
    }
  }

  /**
   * Writers make edges while readers sync and drain: at the end of each round the receiver of
   * samples must know that there is data, by the newest sample that it has from any source.
   */
  @Test
  void theNewestSampleIsTheTruth() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    Random random = new Random(seed);
    try (TestProgram p = new TestProgram(link);
        TestProgram q = new TestProgram(link)) {
      int[] pair = p.pair();
      p.watch(pair[1]);
      for (int round = 0; round < 300; round++) {
        AtomicReference<Frame.Sample> newest = new AtomicReference<>(new Frame.Sample(0, 0, 0));
        ear.samples.clear();
        int bytes = 1 + random.nextInt(4);
        Thread writer =
            Thread.ofPlatform()
                .start(() -> {
                  for (int i = 0; i < bytes; i++) {
                    q.send(pair[0], new byte[] {1});
                  }
                });
        int drained = 0;
        while (writer.isAlive()) {
          if (random.nextBoolean()) {
            long n = p.receive(pair[1], 1, Socket.MSG_DONTWAIT);
            drained += n > 0 ? 1 : 0;
            newer(newest, new Frame.Sample(pair[1], p.slot.readyMask(), p.slot.readyStamp()));
          } else {
            sync(p, newest);
          }
        }
        writer.join();
        sync(p, newest);
        for (Frame.Sample s = ear.sample(0); s != null; s = ear.sample(0)) {
          newer(newest, s);
        }
        assertThat((newest.get().mask() & Poll.POLLIN) != 0)
            .as("round %d, seed %d", round, seed)
            .isEqualTo(drained < bytes);
        if (drained < bytes) {
          assertThat(p.receive(pair[1], bytes - drained, Socket.MSG_WAITALL))
              .isEqualTo(bytes - drained);
        }
      }
      p.close(pair[0]);
      p.close(pair[1]);
    }
  }

  private static void sync(TestProgram p, AtomicReference<Frame.Sample> newest) {
    long n = p.call(PseudoCall.SYNC, 0);
    assertThat(n).isEqualTo(1);
    newer(
        newest,
        new Frame.Sample(
            p.data().get(ValueLayout.JAVA_INT, 0),
            p.data().get(ValueLayout.JAVA_INT, 4),
            p.data().get(ValueLayout.JAVA_LONG, 8)));
  }

  private static void newer(AtomicReference<Frame.Sample> newest, Frame.Sample s) {
    if (s.stamp() > newest.get().stamp()) {
      newest.set(s);
    }
  }

  @Test
  void aThousandConnectionsLeaveNothing() throws Exception {
    try (TestProgram p = new TestProgram(link)) {
      int listener = p.listener(2000);
      int port = p.port(listener);
      p.watch(listener);
      DeviceCounts before = link.counts();
      for (int round = 0; round < 2; round++) {
        List<Integer> fds = new ArrayList<>();
        for (int i = 0; i < 1000; i++) {
          int client = p.socket(Socket.SOCK_STREAM);
          assertThat(p.connect(client, port)).isZero();
          int server = p.accept(listener);
          p.watch(server);
          fds.add(client);
          fds.add(server);
        }
        assertThat(link.counts().handles()).isEqualTo(before.handles() + 2000);
        assertThat(link.counts().watched()).isEqualTo(before.watched() + 1000);
        for (int fd : fds) {
          p.close(fd);
        }
      }
      // The watcher may be at one of them still; then it is the watcher who closes it.
      eventually("handles", before.handles(), () -> link.counts().handles());
      DeviceCounts after = link.counts();
      assertThat(after.watched()).isEqualTo(before.watched());
      assertThat(after.tasks()).isEqualTo(before.tasks());
      assertThat(after.slots()).isEqualTo(before.slots());
      assertThat(after.descriptors()).isEqualTo(before.descriptors());
      p.close(listener);
    }
  }

  @Test
  void threadsComeAndGoWithoutTrace() throws Exception {
    DeviceCounts before = link.counts();
    for (int round = 0; round < 10; round++) {
      List<TestProgram> programs = new ArrayList<>();
      for (int i = 0; i < 50; i++) {
        programs.add(new TestProgram(link));
      }
      eventually("slots", 50, () -> link.counts().slots());
      for (TestProgram p : programs) {
        p.close();
      }
      // There are not slots enough for the next round beside those that are on their way out.
      eventually("slots", before.slots(), () -> link.counts().slots());
    }
    awaitCounts(before);
    // A thread that has given its slot back may take a moment to end; the JVM may start its own.
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (link.counts().threads() > before.threads() + 4 && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    assertThat(link.counts().threads()).isLessThanOrEqualTo(before.threads() + 4);
  }

  @Test
  void detachEndsABlockedThread() throws Exception {
    DeviceCounts before = link.counts();
    TestProgram p = new TestProgram(link);
    int[] pair = p.pair();
    p.submit(Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
    assertThat(p.slot.await(20_000_000)).isFalse();
    p.close();
    try (TestProgram q = new TestProgram(link)) {
      q.close(pair[0]);
      q.close(pair[1]);
    }
    awaitCounts(before);
  }

  private void awaitCounts(DeviceCounts before) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
    while (System.nanoTime() < deadline) {
      DeviceCounts now = link.counts();
      if (now.slots() == before.slots()
          && now.tasks() == before.tasks()
          && now.handles() == before.handles()) {
        return;
      }
      Thread.sleep(5);
    }
    assertThat(link.counts()).isEqualTo(before);
  }

  /** A link that is a stream makes and ends things by these frames. */
  @Test
  void theHostHearsOfASlotsEndBeforeItsNextUserAndOfNoOther() throws Exception {
    FrameStream stream = new FrameStream(device.rawLink());
    try {
      int highest = FrameCodec.HIGHEST_VERSION;
      stream.send(new Frame.Hello(highest, highest, 3, "a stream"));
      assertThat(stream.receive(5000)).isInstanceOf(Decoded.Received.class);
      Linux.close(stream.takeDescriptor());
      Credentials many =
          new Credentials(
              0, 0, 0, 0, 0, 0, 0, 0, IntStream.range(1, 2100).boxed().toList(), ~0L, ~0L, ~0L);
      BitSet held = new BitSet();
      int wanted = 0;
      int refused = 0;
      for (int i = 0; i < 3000; i++) {
        boolean asks = wanted < 2;
        if (asks) {
          boolean fails = i % 10 == 0;
          stream.send(new Frame.Attach(i, 1, 1, -1, false, fails ? many : Credentials.root()));
          wanted++;
        }
        switch (stream.receive(5000)) {
          case Decoded.Received(Frame.Attached(long id, int slot)) when slot < 0 -> {
            wanted--;
            refused++;
          }
          case Decoded.Received(Frame.Attached(long id, int slot)) -> {
            assertThat(held.get(slot)).as("slot " + slot + " is held").isFalse();
            held.set(slot);
            stream.send(new Frame.Detach(slot));
          }
          case Decoded.Received(Frame.Detached(int slot)) -> {
            assertThat(held.get(slot)).as("slot " + slot + " is held").isTrue();
            held.clear(slot);
            wanted--;
          }
          default -> throw new AssertionError("another frame");
        }
      }
      assertThat(refused).isBetween(1, 1000);
      stream.sendLast(new Frame.Bye("done"));
      Decoded last;
      do {
        last = stream.receive(5000);
      } while (last instanceof Decoded.Received);
      assertThat(last).isInstanceOf(Decoded.Ended.class);
    } finally {
      stream.stop();
      stream.close();
    }
  }

  @Test
  void theSlotsAreBounded() throws Exception {
    List<TestProgram> programs = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      programs.add(new TestProgram(link));
    }
    assertThatThrownBy(() -> new TestProgram(link))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("no call slot left");
    programs.removeLast().close();
    // The slot is free again once the shadow thread is gone.
    TestProgram again = null;
    for (int i = 0; again == null && i < 200; i++) {
      try {
        again = new TestProgram(link);
      } catch (LinkException e) {
        Thread.sleep(10);
      }
    }
    assertThat(again).isNotNull();
  }

  @Test
  void theSessionsAreBounded() throws Exception {
    try (DeviceLink second = device.link(ear, 8);
        DeviceLink third = device.link(ear, 8)) {
      assertThat(second.counts().sessions()).isEqualTo(3);
      assertThatThrownBy(() -> device.link(ear, 8))
          .isInstanceOf(LinkException.class)
          .hasMessageContaining("limit");
      assertThat(third.counts().sessions()).isEqualTo(3);
    }
  }

  @Test
  void aDeviceThatEndsIsToldWithinASecond() throws Exception {
    TestProgram p = new TestProgram(link);
    int[] pair = p.pair();
    AtomicReference<Long> result = new AtomicReference<>();
    long[] ended = new long[1];
    Thread blocked =
        Thread.ofPlatform()
            .start(() -> {
              p.submit(
                  Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
              p.slot.await(Long.MAX_VALUE);
              result.set(p.slot.result());
              ended[0] = System.nanoTime();
            });
    Thread.sleep(50);
    long start = System.nanoTime();
    device.close();
    blocked.join(5000);
    assertThat(result.get()).isEqualTo(-Errno.ENETDOWN);
    assertThat(ended[0] - start).isLessThan(TimeUnit.SECONDS.toNanos(1));
    assertThat(ear.losses.poll(1, TimeUnit.SECONDS)).isNotNull();
    assertThat(p.call(PseudoCall.PING)).isEqualTo(-Errno.ENETDOWN);
    assertThat(link.lost()).isTrue();
    assertThatThrownBy(() -> new TestProgram(link)).isInstanceOf(LinkException.class);
    link.close();
    assertThat(ear.losses).isEmpty();
  }

  @Test
  void aHostThatGoesLeavesNothing() throws Exception {
    TestDevice.Ear other = new TestDevice.Ear();
    int before = device.server.processDescriptors();
    int threads = device.server.processThreads();
    for (int i = 0; i < 5; i++) {
      while (device.server.sessions() > 2) {
        Thread.sleep(1); // Those before are still being cleared away, and there is room for a few.
      }
      DeviceLink second = device.link(other, 8);
      TestProgram p = new TestProgram(second);
      int[] pair = p.pair();
      p.watch(pair[0]);
      p.submit(Canonical.RECVFROM, pair[1], 4096, 10, 0, TestProgram.NULL, TestProgram.NULL);
      second.close();
      assertThat(p.slot.await(1_000_000_000)).isTrue();
      assertThat(p.slot.result()).isEqualTo(-Errno.ENETDOWN);
    }
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
    while (device.server.sessions() > 1 && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    assertThat(device.server.sessions()).isEqualTo(1);
    while (device.server.processDescriptors() > before && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    assertThat(device.server.processDescriptors()).isLessThanOrEqualTo(before);
    while (device.server.processThreads() > threads + 4 && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    assertThat(device.server.processThreads()).isLessThanOrEqualTo(threads + 4);
  }

  @Test
  void credentialsAreTheThreads() throws Exception {
    if (!kernel().privileged()) {
      return;
    }
    try (TestProgram p = new TestProgram(link, -1, Credentials.user(12345, 12345));
        TestProgram q = new TestProgram(link, p.slot.index(), Credentials.root())) {
      // A raw socket needs CAP_NET_RAW, which one of the two has.
      assertThat(p.call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_RAW, 1))
          .isEqualTo(-Errno.EPERM);
      q.close(q.socketOf(Socket.AF_INET, Socket.SOCK_RAW, 1));
      assertThat(link.credentials(p.slot, Credentials.root())).isZero();
      p.close(p.socketOf(Socket.AF_INET, Socket.SOCK_RAW, 1));
      assertThat(link.credentials(p.slot, Credentials.user(12345, 12345))).isZero();
      assertThat(p.call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_RAW, 1))
          .isEqualTo(-Errno.EPERM);
      // A user with a capability, and the superuser without one.
      Credentials capable =
          new Credentials(7, 7, 7, 7, 7, 7, 7, 7, List.of(1, 2, 3), 0, 1L << 13, 1L << 13);
      assertThat(link.credentials(p.slot, capable)).isZero();
      p.close(p.socketOf(Socket.AF_INET, Socket.SOCK_RAW, 1));
      Credentials stripped = new Credentials(0, 0, 0, 0, 0, 0, 0, 0, List.of(), 0, 0, 0);
      assertThat(link.credentials(p.slot, stripped)).isZero();
      assertThat(p.call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_RAW, 1))
          .isEqualTo(-Errno.EPERM);
    }
  }

  @Test
  void malformedFramesEndTheLinkAndNothingElse() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    Random random = new Random(seed);
    List<byte[]> bad = new ArrayList<>();
    bad.add(new byte[] {7, 0, 0, 0, 1, 0, 0, 0}); // shorter than a header
    bad.add(new byte[] {0, 0, 0, 0, 1, 0, 0, 0});
    bad.add(new byte[] {-1, -1, -1, -1, 1, 0, 0, 0}); // negative
    bad.add(new byte[] {1, 0, 1, 0, 1, 0, 0, 0}); // 64 KiB and one
    bad.add(new byte[] {12, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0}); // reserved bits
    bad.add(new byte[] {8, 0, 0, 0, 3, 0, 0, 0}); // attach without a body
    bad.add(new byte[] {13, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}); // detach and a byte
    bad.add(new byte[] {16, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    for (int i = 0; i < 40; i++) {
      byte[] noise = new byte[8 + random.nextInt(200)];
      random.nextBytes(noise);
      ByteBuffer.wrap(noise).order(java.nio.ByteOrder.LITTLE_ENDIAN).putInt(0, noise.length);
      noise[4] = (byte) (3 + random.nextInt(5));
      noise[5] = 0;
      noise[6] = 1;
      bad.add(noise);
    }
    for (byte[] frame : bad) {
      while (device.server.sessions() > 1) {
        Thread.sleep(1); // The last one is still being cleared away.
      }
      int fd = device.rawLink();
      try {
        assertThat(hello(fd)).as("welcome").isEqualTo(2);
        write(fd, frame);
        assertThat(lastKind(fd))
            .as("seed %d, frame %s", seed, Arrays.toString(frame))
            .isEqualTo(14);
      } finally {
        Linux.close(fd);
      }
    }
    // Before the greeting nothing else is understood, not even half a frame.
    int fd = device.rawLink();
    write(fd, new byte[] {16, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0});
    assertThat(lastKind(fd)).isEqualTo(14);
    Linux.close(fd);
    fd = device.rawLink();
    write(fd, new byte[] {40, 0, 0});
    Linux.close(fd);
    // The first session has noticed nothing.
    try (TestProgram p = new TestProgram(link)) {
      assertThat(p.call(PseudoCall.PING)).isZero();
    }
  }

  private static int hello(int fd) {
    ByteBuffer b = FrameCodec.newBuffer();
    FrameCodec.encode(
        new Frame.Hello(FrameCodec.LOWEST_VERSION, FrameCodec.HIGHEST_VERSION, 4, "raw"), b);
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    write(fd, bytes);
    return kind(read(fd));
  }

  private static void write(int fd, byte[] bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment m = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
      assertThat(Linux.write(fd, m.address(), bytes.length)).isEqualTo(bytes.length);
    }
  }

  private static byte[] read(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment m = arena.allocate(FrameCodec.MAX_BYTES);
      long n = Linux.read(fd, m.address(), m.byteSize());
      return n <= 0 ? new byte[0] : m.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  /** Reads to the end; the kind of the last frame. */
  private static int lastKind(int fd) {
    int last = -1;
    for (byte[] bytes = read(fd); bytes.length > 0; bytes = read(fd)) {
      last = kind(bytes);
    }
    return last;
  }

  private static int kind(byte[] bytes) {
    return bytes.length < 6 ? -1 : bytes[4];
  }

  @Test
  void anOlderHostIsSpokenToInItsVersion() throws Exception {
    for (int highest = FrameCodec.LOWEST_VERSION;
        highest <= FrameCodec.HIGHEST_VERSION + 1;
        highest++) {
      int fd = device.rawLink();
      ByteBuffer b = FrameCodec.newBuffer();
      FrameCodec.encode(new Frame.Hello(1, highest, 4, "older"), b);
      byte[] bytes = new byte[b.remaining()];
      b.get(bytes);
      write(fd, bytes);
      byte[] answer = read(fd);
      assertThat(kind(answer)).isEqualTo(2);
      int version = answer[12]; // behind the header and the magic
      assertThat(version).isEqualTo(Math.min(highest, FrameCodec.HIGHEST_VERSION));
      Linux.close(fd);
      // There is room for a few sessions.
      eventually("sessions", 1, () -> link.counts().sessions());
    }
  }

  @Test
  void aVersionThatTheDeviceLacksIsRefused() {
    int fd = device.rawLink();
    ByteBuffer b = FrameCodec.newBuffer();
    int newer = FrameCodec.HIGHEST_VERSION + 1;
    FrameCodec.encode(new Frame.Hello(newer, newer + 2, 4, "newer"), b);
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    write(fd, bytes);
    byte[] answer = read(fd);
    assertThat(kind(answer)).isEqualTo(14);
    assertThat(new String(answer, StandardCharsets.ISO_8859_1))
        .contains("speaks versions 3 to " + FrameCodec.HIGHEST_VERSION);
    Linux.close(fd);
  }

  /** Whatever a host writes into a slot, the device lives and answers. */
  @Test
  void randomSlotsNeverHarmTheDevice() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("randomSlotsNeverHarmTheDevice -Dtests.seed=" + seed);
    Random random = new Random(seed);
    int[] numbers = {
      Canonical.SOCKET,
      Canonical.BIND,
      Canonical.CONNECT,
      Canonical.SENDTO,
      Canonical.RECVFROM,
      Canonical.SETSOCKOPT,
      Canonical.GETSOCKOPT,
      Canonical.IOCTL,
      Canonical.FCNTL,
      Canonical.READ,
      Canonical.WRITE,
      66,
      211,
      212,
      204,
      205,
      210,
      71,
      76,
      Canonical.CLOSE,
      PseudoCall.SYNC,
      PseudoCall.WATCH,
      PseudoCall.SAMPLE,
      PseudoCall.CREDENTIALS,
      PseudoCall.RECEIVE,
      269,
      243,
    };
    try (TestProgram p = new TestProgram(link);
        TestProgram guard = new TestProgram(link)) {
      AtomicBoolean stop = new AtomicBoolean();
      // A second hand in the same memory: what is checked may change a moment later.
      MemorySegment shared = p.data();
      Thread meddler =
          Thread.ofPlatform()
              .start(() -> {
                Random r = new Random(seed + 1);
                while (!stop.get()) {
                  shared.set(ValueLayout.JAVA_LONG, 8L * r.nextInt(64), odd(r));
                  Thread.onSpinWait();
                }
              });
      for (int i = 0; i < FUZZ_CALLS; i++) {
        long[] args = new long[6];
        for (int a = 0; a < 6; a++) {
          args[a] = random.nextInt(3) == 0 ? random.nextInt(64) : odd(random);
        }
        int number = numbers[random.nextInt(numbers.length)];
        if (random.nextInt(4) != 0) {
          args[0] = random.nextInt(400);
        }
        if (number == Canonical.SOCKET && random.nextBoolean()) {
          args[0] = Socket.AF_INET;
          args[1] = (1L + random.nextInt(2)) | Socket.SOCK_NONBLOCK;
          args[2] = 0;
        }
        p.submit(number, args);
        while (!p.slot.await(20_000_000)) {
          link.interrupt(p.slot);
        }
        if (i % 100 == 0) {
          assertThat(guard.call(PseudoCall.PING)).isZero();
        }
      }
      stop.set(true);
      meddler.join();
    }
    try (TestProgram p = new TestProgram(link)) {
      int[] pair = p.pair();
      assertThat(p.send(pair[0], new byte[] {1})).isEqualTo(1);
    }
  }

  @Test
  void randomCallsOfALentSlotNeverHarmTheDevice() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("randomCallsOfALentSlotNeverHarmTheDevice -Dtests.seed=" + seed);
    Random random = new Random(seed);
    int[] numbers = {Canonical.SENDTO, Canonical.RECVFROM, Canonical.READ, Canonical.IOCTL, 212};
    try (TestProgram p = new TestProgram(link)) {
      int[][] ends = born(p);
      for (int end = 0; end < 2; end++) {
        p.expect(Canonical.FCNTL, ends[end][0], Fcntl.F_SETFL, Fcntl.O_NONBLOCK);
      }
      int served = 0;
      for (int round = 0; round < 20; round++) {
        try (LentProgram q = new LentProgram(link)) {
          for (int i = 0; i < FUZZ_CALLS / 20; i++) {
            int[] end = ends[random.nextInt(2)];
            long[] args = new long[6];
            for (int a = 1; a < 6; a++) {
              args[a] = random.nextBoolean() ? random.nextInt(200_000) : odd(random);
            }
            args[0] = random.nextInt(20) == 0 ? odd(random) : end[0];
            args[3] =
                random.nextInt(3) == 0 ? odd(random) : (long) Socket.MSG_PEEK * random.nextInt(4);
            int birth = random.nextInt(20) == 0 ? random.nextInt() : end[1];
            q.flags(random.nextInt());
            if (random.nextBoolean()) {
              q.take();
            } else if (random.nextInt(4) == 0) {
              q.scribble((int) odd(random), (int) odd(random));
            }
            long r = q.call(numbers[random.nextInt(numbers.length)], birth, args);
            assertThat(r).isBetween(LentCalls.TRAP, (long) Call.PIECE_BYTES);
            served += r > 0 ? 1 : 0;
          }
        }
      }
      assertThat(served).isPositive();
      assertThat(p.call(PseudoCall.PING)).isZero();
    }
  }

  private static long odd(Random r) {
    return switch (r.nextInt(10)) {
      case 0 -> -1;
      case 1 -> 0;
      case 2 -> 160 * 1024 - r.nextLong(40);
      case 3 -> Long.MAX_VALUE - r.nextInt(16);
      case 4 -> Long.MIN_VALUE + r.nextInt(16);
      case 5 -> 1L << r.nextInt(63);
      case 6 -> Integer.MAX_VALUE;
      case 7 -> r.nextLong(160 * 1024);
      case 8 -> r.nextInt(256);
      default -> r.nextLong();
    };
  }
}
