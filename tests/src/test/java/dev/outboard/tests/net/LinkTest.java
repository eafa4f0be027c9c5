// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.NetCounts;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.parallel.ResourceLock;

/**
 * A library kernel and this machine's kernel, and a link between them: what is the same whatever
 * the link is made of.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
@ResourceLock(LinkTest.KERNEL)
abstract class LinkTest {
  /** One kernel at a time is enough for this process. */
  static final String KERNEL = "a kernel in this process";

  static final long PID = ProcessHandle.current().pid();
  static final Executor THREADS = task -> Thread.ofPlatform().daemon().start(task);
  private static final long BULK_BYTES = Long.getLong("tests.net.bytes", 64L << 20);
  private static final int IFF_RUNNING = 0x40;
  private static final AtomicInteger LINKS = new AtomicInteger();

  /** Distinct for each class of one run and for runs at one time. */
  private final int number = LINKS.incrementAndGet();

  /** Names of the machine's interfaces begin with it; at most 13 characters. */
  final String stem = "ob" + PID % 1_000_000 + (char) ('a' + number);

  final String prefix = "10." + (100 + (PID / 250 + number) % 100) + "." + PID % 250 + ".";

  private final String prefix6 = "fd6f:62:" + Long.toHexString(PID & 0xffff) + ":" + number + "::";

  private final Queue<String> notices = new ConcurrentLinkedQueue<>();
  private @Nullable LibraryKernel kernel;
  private @Nullable Network network;

  private final long seed = Long.getLong("tests.seed", System.nanoTime());

  /** Makes what the machine has of the link; the value of {@code --net}. */
  abstract String plug() throws Exception;

  /** Removes what {@link #plug} made. */
  abstract void unplug() throws Exception;

  /** The machine's interface, which has its address. */
  abstract String hostInterface();

  /** The interface without which the device has no network. */
  abstract String deviceInterface();

  /** What is said when that one was removed. */
  abstract String epitaph();

  /** Whether segments above the MTU go from the device to the machine's interface. */
  abstract boolean unsplitOut();

  /** Whether they go the other way, as far as the machine's interface. */
  abstract boolean unsplitIn();

  List<PortMapping> published() throws IOException {
    return List.of();
  }

  @BeforeAll
  void start() throws Exception {
    assumeTrue(
        Files.isWritable(Path.of("/dev/net/tun")) && "root".equals(System.getProperty("user.name")),
        "a link needs root");
    NetSpec spec = NetSpec.parse(plug() + ",addr6=" + prefix6 + "2/64");
    Network n = Network.open(spec, published());
    network = n;
    // By then it is there in any case; the device's own goes through its detection meanwhile.
    command("ip", "addr", "replace", prefix6 + "1/64", "dev", hostInterface(), "nodad");
    LibraryKernel k = new LibraryKernel();
    kernel = k;
    n.attach(k.guest(), LibraryKernel.LINE, notices::add);
    GuestSocket.configure(k, "eth0", n.config().orElseThrow());
  }

  @AfterAll
  void end() throws Exception {
    Network n = network;
    LibraryKernel k = kernel;
    try {
      if (n != null) {
        n.detach();
      }
      if (k != null) {
        k.close();
      }
      if (n != null) {
        n.close();
      }
      assertThat(notices).isEmpty();
    } finally {
      unplug();
    }
  }

  /** Runs a command of this machine that has to succeed. */
  static String command(String... words) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(words).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(String.join(" ", words) + ": " + output).isZero();
    return output;
  }

  /** A veth pair: {@code near} has the machine's address, {@code far} none. */
  void veth(String near, String far) throws IOException, InterruptedException {
    command("ip", "link", "add", near, "type", "veth", "peer", "name", far);
    command("ip", "addr", "add", prefix + "1/24", "dev", near);
    command("ip", "link", "set", near, "up");
    command("ip", "link", "set", far, "up");
  }

  LibraryKernel kernel() {
    LibraryKernel k = kernel;
    if (k == null) {
      throw new AssertionError("no kernel");
    }
    return k;
  }

  NetCounts counts() {
    Network n = network;
    return n == null ? new NetCounts(0, 0, 0, 0, 0, 0, 0) : n.counts().orElseThrow();
  }

  InetAddress device() {
    return InetAddress.ofLiteral(prefix + "2");
  }

  InetAddress host() {
    return InetAddress.ofLiteral(prefix + "1");
  }

  InetAddress device6() {
    return InetAddress.ofLiteral(prefix6 + "2");
  }

  InetAddress host6() {
    return InetAddress.ofLiteral(prefix6 + "1");
  }

  /** Tests of one instance share the thread that is the kernel's first task. */
  interface Work {
    void run() throws Exception;
  }

  void asTask(Work work) throws Exception {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread t =
        kernel()
            .task(
                "test",
                () -> {
                  try {
                    work.run();
                    done.complete(null);
                  } catch (Throwable e) {
                    done.completeExceptionally(e);
                  }
                });
    t.join();
    done.get();
  }

  @Test
  @Order(1)
  void answersToPing() throws Exception {
    assertThat(command("ping", "-c3", "-i0.2", "-w10", device().getHostAddress()))
        .contains("3 received");
  }

  @Test
  @Order(2)
  void pingsItself() throws Exception {
    // The ping of the device's kernel to the machine, by an ICMP socket.
    asTask(() -> {
      try (GuestSocket s = GuestSocket.open(kernel(), Socket.AF_INET, Socket.SOCK_RAW, 1)) {
        MemorySegment echo = kernel().allocate(64);
        echo.set(ValueLayout.JAVA_BYTE, 0, (byte) 8);
        echo.set(ValueLayout.JAVA_SHORT, 4, (short) 0x6f62);
        echo.set(ValueLayout.JAVA_SHORT, 2, checksum(echo));
        s.sendTo(echo, host(), 0);
        MemorySegment answer = kernel().allocate(256);
        long n = s.receive(answer);
        // IPv4 header, then type 0: an echo reply with our identifier.
        assertThat(n).isEqualTo(20 + 64);
        assertThat(answer.get(ValueLayout.JAVA_BYTE, 20)).isZero();
        assertThat(answer.get(ValueLayout.JAVA_SHORT, 24)).isEqualTo((short) 0x6f62);
      }
    });
  }

  private static short checksum(MemorySegment data) {
    int sum = 0;
    for (int i = 0; i < data.byteSize(); i += 2) {
      sum += Short.toUnsignedInt(data.get(ValueLayout.JAVA_SHORT, i));
    }
    sum = (sum & 0xffff) + (sum >>> 16);
    return (short) ~(sum + (sum >>> 16));
  }

  /** The device sends: every byte arrives, in segments above the MTU or not, as it is said. */
  @Test
  @Order(3)
  void carriesBulkOut() throws Exception {
    System.out.println("seed " + seed);
    try (FrameSizes sizes = FrameSizes.capture(hostInterface())) {
      sendsOut(device(), host());
      System.out.println("out: " + sizes + ", " + counts());
      check(sizes.largestFrom(device()), unsplitOut());
    }
    assertThat(counts().dropped()).isZero();
  }

  /** BIG TCP: segments above 64 KiB, of IPv4 and IPv6, each way as far as the link takes them. */
  @Test
  @Order(50)
  void carriesSegmentsAbove64KiB() throws Exception {
    int bytes = Math.max(bigSegmentOut(), bigSegmentIn());
    assumeTrue(bytes > 0, "not on such a link");
    // A veth splits what is larger than its own limit; a TAP's receiving side has none.
    for (String name : new String[] {hostInterface(), deviceInterface(), lowerInterface()}) {
      for (int attribute : GuestSocket.SEGMENT_LIMITS) {
        setHostLink(name, attribute, bytes);
      }
    }
    asTask(() -> {
      try (GuestSocket any = GuestSocket.tcp(kernel())) {
        int index = any.index("eth0");
        for (int attribute : GuestSocket.SEGMENT_LIMITS) {
          GuestSocket.setLink(kernel(), index, attribute, bytes);
        }
      }
    });
    awaitAddress6();
    System.out.println("seed " + seed);
    for (boolean v6 : new boolean[] {false, true}) {
      InetAddress device = v6 ? device6() : device();
      InetAddress host = v6 ? host6() : host();
      try (FrameSizes sizes = FrameSizes.capture(hostInterface())) {
        long dropped = counts().dropped();
        sendsOut(device, host);
        if (v6 && bigSegmentOut6() == 0) {
          assertThat(counts().dropped()).as("pieces that the link refused").isEqualTo(dropped);
        }
        sendsIn(device);
        System.out.println("big: " + sizes + ", " + counts());
        checkBig(sizes.largestFrom(device), v6 ? bigSegmentOut6() : bigSegmentOut());
        checkBig(sizes.largestFrom(host), bigSegmentIn());
      }
    }
  }

  /** Until then somebody else may have it ({@code tentative}, RFC 4862). */
  private void awaitAddress6() throws Exception {
    asTask(() -> {
      long deadline = System.nanoTime() + 10_000_000_000L;
      try (GuestSocket s = GuestSocket.tcp(kernel(), device6())) {
        while (s.tryBind(device6(), 0) == -Errno.EADDRNOTAVAIL && System.nanoTime() < deadline) {
          Thread.sleep(20);
        }
      }
    });
  }

  private static void checkBig(int largest, int limit) {
    if (limit == 0) {
      assertThat(largest).isBetween(10 * 1500, 65535 + 14);
    } else {
      assertThat(largest).isBetween(limit / 2, limit);
    }
  }

  /** Bytes of the largest segment that the link takes from the device; 0 if it is 64 KiB. */
  int bigSegmentOut() {
    return 0;
  }

  /** The same for IPv6. */
  int bigSegmentOut6() {
    return bigSegmentOut();
  }

  /** Bytes of the largest segment that the link gives to the device; 0 if it is 64 KiB. */
  int bigSegmentIn() {
    return 0;
  }

  /** The machine's interface through which the device's segments leave. */
  String lowerInterface() {
    return deviceInterface();
  }

  /** As {@link GuestSocket#setLink}, of this machine; a driver may refuse it. */
  static void setHostLink(String name, int attribute, int value) throws IOException {
    long fd = Linux.socket(Socket.AF_NETLINK, Socket.SOCK_RAW, Socket.NETLINK_ROUTE);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment message = arena.allocate(GuestSocket.SET_LINK_BYTES, 8);
      int index = NetworkInterface.getByName(name).getIndex();
      GuestSocket.putSetLink(message, index, attribute, value);
      assertThat(Linux.write((int) fd, message.address(), message.byteSize())).isPositive();
      MemorySegment answer = arena.allocate(256);
      assertThat(Linux.read((int) fd, answer.address(), 256)).isPositive();
    } finally {
      Linux.close((int) fd);
    }
  }

  /** The device sends a pattern to the machine, and all of it arrives. */
  private void sendsOut(InetAddress device, InetAddress host) throws Exception {
    try (ServerSocket service = new ServerSocket(0, 5, host)) {
      CompletableFuture<Long> received =
          CompletableFuture.supplyAsync(() -> sumOf(service), THREADS);
      long sum = sendPattern(device, host, service.getLocalPort());
      assertThat(received.get()).isEqualTo(sum);
    }
  }

  /** Sends a pattern from the device to the machine; its checksum. */
  private long sendPattern(InetAddress device, InetAddress host, int port) throws Exception {
    Pattern pattern = new Pattern(seed, BULK_BYTES);
    asTask(() -> {
      try (GuestSocket s = GuestSocket.tcp(kernel(), host)) {
        s.bind(device, 0);
        s.connect(host, port);
        MemorySegment block = kernel().allocate(Pattern.blockBytes());
        for (byte[] next = pattern.next(); next != null; next = pattern.next()) {
          MemorySegment.copy(next, 0, block, ValueLayout.JAVA_BYTE, 0, next.length);
          s.send(block);
        }
        s.shutdownOutput();
      }
    });
    return pattern.sum();
  }

  private static void check(int largest, boolean unsplit) {
    if (unsplit) {
      assertThat(largest).as("the largest frame, the MTU is 1500").isGreaterThan(10 * 1500);
    } else {
      assertThat(largest).as("the largest frame, the MTU is 1500").isBetween(1000, 1500 + 14);
    }
  }

  private static long sumOf(ServerSocket service) {
    try (java.net.Socket s = service.accept()) {
      CRC32C sum = new CRC32C();
      byte[] buffer = new byte[256 << 10];
      InputStream in = s.getInputStream();
      for (int n = in.read(buffer); n > 0; n = in.read(buffer)) {
        sum.update(buffer, 0, n);
      }
      return sum.getValue();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** The machine sends. */
  @Test
  @Order(4)
  void carriesBulkIn() throws Exception {
    System.out.println("seed " + seed);
    try (FrameSizes sizes = FrameSizes.capture(hostInterface())) {
      sendsIn(device());
      System.out.println("in: " + sizes + ", " + counts());
      check(sizes.largestFrom(host()), unsplitIn());
    }
  }

  /** The machine sends a pattern to the device, and all of it arrives. */
  private void sendsIn(InetAddress device) throws Exception {
    Pattern pattern = new Pattern(seed, BULK_BYTES);
    CRC32C sum = new CRC32C();
    asTask(() -> {
      try (GuestSocket listener = GuestSocket.tcp(kernel(), device)) {
        listener.bind(device, 0);
        listener.listen();
        int port = listener.localPort();
        CompletableFuture<Void> sent =
            CompletableFuture.runAsync(() -> send(pattern, device, port), THREADS);
        try (GuestSocket s = listener.accept()) {
          MemorySegment buffer = kernel().allocate(256 << 10);
          for (long n = s.receive(buffer); n > 0; n = s.receive(buffer)) {
            sum.update(buffer.asSlice(0, n).asByteBuffer());
          }
        }
        sent.get();
      }
    });
    assertThat(sum.getValue()).isEqualTo(pattern.sum());
  }

  private static void send(Pattern pattern, InetAddress device, int port) {
    try (java.net.Socket s = new java.net.Socket(device, port)) {
      OutputStream out = s.getOutputStream();
      for (byte[] next = pattern.next(); next != null; next = pattern.next()) {
        out.write(next);
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** UDP both ways, of all sizes up to what fragments. */
  @Test
  @Order(5)
  void carriesDatagrams() throws Exception {
    asTask(() -> {
      try (GuestSocket s = GuestSocket.open(kernel(), Socket.AF_INET, Socket.SOCK_DGRAM, 0);
          java.net.DatagramSocket peer =
              new java.net.DatagramSocket(new InetSocketAddress(host(), 0))) {
        s.bind(device(), 0);
        peer.setSoTimeout(5000);
        MemorySegment data = kernel().allocate(65536);
        for (int i = 0; i < 65536; i++) {
          data.set(ValueLayout.JAVA_BYTE, i, (byte) (i * 7));
        }
        for (int size : new int[] {1, 100, 1472, 1473, 9000, 65507}) {
          s.sendTo(data.asSlice(0, size), host(), peer.getLocalPort());
          java.net.DatagramPacket p = new java.net.DatagramPacket(new byte[65536], 65536);
          peer.receive(p);
          assertThat(p.getLength()).isEqualTo(size);
          peer.send(
              new java.net.DatagramPacket(
                  p.getData(), size, new InetSocketAddress(device(), s.localPort())));
          MemorySegment back = kernel().allocate(65536);
          assertThat(s.receive(back)).isEqualTo(size);
          assertThat(back.asSlice(0, size).mismatch(data.asSlice(0, size))).isEqualTo(-1);
        }
      }
    });
  }

  /** What nobody listens to is refused by the machine's kernel, at once. */
  @Test
  @Order(7)
  void refusesAsAKernelDoes() throws Exception {
    asTask(() -> {
      try (GuestSocket s = GuestSocket.tcp(kernel())) {
        assertThat(s.tryConnect(host(), 1)).isEqualTo(-Errno.ECONNREFUSED);
      }
    });
  }

  /** Taken away under the device: its link goes down, and it says so once. */
  @Test
  @Order(100)
  void noticesThatTheLinkIsRemoved() throws Exception {
    command("ip", "link", "del", deviceInterface());
    long deadline = System.nanoTime() + 5_000_000_000L;
    while (notices.isEmpty() && System.nanoTime() < deadline) {
      Thread.sleep(10);
    }
    assertThat(notices).containsExactly(epitaph() + "; the device has no network any more");
    notices.clear();
    asTask(() -> {
      try (GuestSocket s = GuestSocket.tcp(kernel())) {
        // The card tells its driver after it has told us; with the carrier goes the route.
        long later = System.nanoTime() + 10_000_000_000L;
        while ((s.flags("eth0") & IFF_RUNNING) != 0 && System.nanoTime() < later) {
          Thread.sleep(10);
        }
        assertThat(s.tryConnect(host(), 1))
            .isIn((long) -Errno.ENETUNREACH, (long) -Errno.EHOSTUNREACH, (long) -Errno.ENETDOWN);
      }
    });
  }
}
