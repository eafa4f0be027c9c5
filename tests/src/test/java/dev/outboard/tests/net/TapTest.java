// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.kernel.KernelException;
import dev.outboard.virtio.NetCounts;
import dev.outboard.virtio.NetException;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/** A library kernel and this machine's kernel, and a TAP between them. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class TapTest {
  private static final long BULK_BYTES = Long.getLong("tests.net.bytes", 128L << 20);
  private static final long PID = ProcessHandle.current().pid();
  private static final String NAME = "obt" + PID % 1_000_000;
  private static final String PREFIX = "10." + (100 + PID / 250 % 100) + "." + PID % 250 + ".";
  private static final Path SYSFS = Path.of("/sys/class/net", NAME);
  private static final Executor THREADS = task -> Thread.ofPlatform().daemon().start(task);

  private static final Queue<String> NOTICES = new ConcurrentLinkedQueue<>();
  private static @Nullable LibraryKernel kernel;
  private static @Nullable Network network;
  private static int publishedPort;

  private final long seed = Long.getLong("tests.seed", System.nanoTime());

  @BeforeAll
  static void plug() throws NetException, KernelException, IOException {
    assumeTrue(
        Files.isWritable(Path.of("/dev/net/tun")) && "root".equals(System.getProperty("user.name")),
        "a TAP needs root");
    try (ServerSocket s = new ServerSocket(0)) {
      publishedPort = s.getLocalPort();
    }
    Network n =
        Network.open(
            NetSpec.parse("tap:name=" + NAME + ",addr=" + PREFIX + "2/24"),
            List.of(PortMapping.parse("127.0.0.1:" + publishedPort + ":7007")));
    network = n;
    LibraryKernel k = new LibraryKernel();
    kernel = k;
    n.attach(k, LibraryKernel.LINE, NOTICES::add);
    GuestSocket.configure(k, "eth0", n.config().orElseThrow());
  }

  @AfterAll
  static void unplug() {
    Network n = network;
    LibraryKernel k = kernel;
    if (n != null) {
      n.detach();
    }
    if (k != null) {
      k.close();
    }
    if (n != null) {
      n.close();
      assertThat(SYSFS).as("the TAP at the end").doesNotExist();
    }
    assertThat(NOTICES).isEmpty();
  }

  private static LibraryKernel kernel() {
    LibraryKernel k = kernel;
    if (k == null) {
      throw new AssertionError("no kernel");
    }
    return k;
  }

  private static NetCounts counts() {
    Network n = network;
    return n == null ? new NetCounts(0, 0, 0, 0, 0, 0, 0) : n.counts().orElseThrow();
  }

  private static InetAddress device() {
    return InetAddress.ofLiteral(PREFIX + "2");
  }

  private static InetAddress host() {
    return InetAddress.ofLiteral(PREFIX + "1");
  }

  private static long statistic(String name) throws IOException {
    return Long.parseLong(Files.readString(SYSFS.resolve("statistics/" + name)).strip());
  }

  /** Tests of one instance share the thread that is the kernel's first task. */
  private interface Work {
    void run() throws Exception;
  }

  private static void asTask(Work work) throws Exception {
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
    Process ping =
        new ProcessBuilder("ping", "-c3", "-i0.2", "-W2", device().getHostAddress())
            .redirectErrorStream(true)
            .start();
    String output = new String(ping.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(ping.waitFor()).as(output).isZero();
    assertThat(output).contains("3 received");
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

  /** The device sends: segments larger than the MTU cross, and every byte arrives. */
  @Test
  @Order(3)
  void carriesBulkOut() throws Exception {
    System.out.println("seed " + seed);
    long packets = statistic("rx_packets");
    long bytes = statistic("rx_bytes");
    try (ServerSocket service = new ServerSocket(0, 5, host())) {
      CompletableFuture<Long> received =
          CompletableFuture.supplyAsync(() -> sumOf(service), THREADS);
      Pattern pattern = new Pattern(seed, BULK_BYTES);
      asTask(() -> {
        try (GuestSocket s = GuestSocket.tcp(kernel())) {
          s.connect(host(), service.getLocalPort());
          MemorySegment block = kernel().allocate(Pattern.blockBytes());
          for (byte[] next = pattern.next(); next != null; next = pattern.next()) {
            MemorySegment.copy(next, 0, block, ValueLayout.JAVA_BYTE, 0, next.length);
            s.send(block);
          }
          s.shutdownOutput();
        }
      });
      assertThat(received.get()).isEqualTo(pattern.sum());
    }
    double mean = (double) (statistic("rx_bytes") - bytes) / (statistic("rx_packets") - packets);
    System.out.printf("out: mean packet on the TAP %.0f bytes, %s%n", mean, counts());
    assertThat(mean).as("mean bytes of a packet, the MTU is 1500").isGreaterThan(4 * 1500);
    assertThat(counts().dropped()).isZero();
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
    long packets = statistic("tx_packets");
    long bytes = statistic("tx_bytes");
    Pattern pattern = new Pattern(seed, BULK_BYTES);
    CRC32C sum = new CRC32C();
    asTask(() -> {
      try (GuestSocket listener = GuestSocket.tcp(kernel())) {
        listener.bind(device(), 0);
        listener.listen();
        int port = listener.localPort();
        CompletableFuture<Void> sent =
            CompletableFuture.runAsync(() -> send(pattern, port), THREADS);
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
    double mean = (double) (statistic("tx_bytes") - bytes) / (statistic("tx_packets") - packets);
    System.out.printf("in: mean packet on the TAP %.0f bytes, %s%n", mean, counts());
    assertThat(mean).as("mean bytes of a packet, the MTU is 1500").isGreaterThan(4 * 1500);
    assertThat(statistic("tx_dropped")).isZero();
  }

  private static void send(Pattern pattern, int port) {
    try (java.net.Socket s = new java.net.Socket(device(), port)) {
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

  @Test
  @Order(6)
  void publishesAPort() throws Exception {
    asTask(() -> {
      try (GuestSocket listener = GuestSocket.tcp(kernel())) {
        listener.bind(device(), 7007);
        listener.listen();
        CompletableFuture<byte[]> answer =
            CompletableFuture.supplyAsync(TapTest::askPublished, THREADS);
        try (GuestSocket s = listener.accept()) {
          MemorySegment buffer = kernel().allocate(64);
          assertThat(s.receive(buffer)).isEqualTo(5);
          s.send(buffer.asSlice(0, 5));
        }
        assertThat(answer.get()).isEqualTo("hello".getBytes(StandardCharsets.UTF_8));
      }
    });
  }

  private static byte[] askPublished() {
    try (java.net.Socket s = new java.net.Socket(InetAddress.getLoopbackAddress(), publishedPort)) {
      s.getOutputStream().write("hello".getBytes(StandardCharsets.UTF_8));
      s.shutdownOutput();
      return s.getInputStream().readAllBytes();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
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

  @Test
  @Order(8)
  void saysThatTheTapIsTaken() {
    NetSpec spec = NetSpec.parse("tap:name=" + NAME + ",addr=" + PREFIX + "3/24");
    assertThatThrownBy(() -> Network.open(spec, List.of()))
        .isInstanceOf(NetException.class)
        .hasMessage("the TAP " + NAME + " is used by another process; choose another name");
    NetSpec lo = NetSpec.parse("tap:name=lo,addr=" + PREFIX + "3/24");
    assertThatThrownBy(() -> Network.open(lo, List.of()))
        .hasMessage("there is an interface lo that is not a TAP; choose another name");
  }

  /** The machine's end goes however the device ends: here by a kill. */
  @Test
  @Order(9)
  void leavesNothingBehindWhenKilled() throws Exception {
    String name = "obk" + PID % 1_000_000;
    Path sysfs = Path.of("/sys/class/net", name);
    Process holder =
        NetworkHolder.start("tap:name=" + name + ",addr=10.99." + PID % 250 + ".2/24").process();
    try {
      assertThat(sysfs).exists();
      holder.destroyForcibly().waitFor();
      long deadline = System.nanoTime() + 5_000_000_000L;
      while (Files.exists(sysfs) && System.nanoTime() < deadline) {
        Thread.sleep(10);
      }
      assertThat(sysfs).doesNotExist();
    } finally {
      holder.destroyForcibly();
    }
  }

  /** Taken away under the device: its link goes down, and it says so once. */
  @Test
  @Order(10)
  void noticesThatTheTapIsRemoved() throws Exception {
    assertThat(new ProcessBuilder("ip", "link", "del", NAME).start().waitFor()).isZero();
    long deadline = System.nanoTime() + 5_000_000_000L;
    while (NOTICES.isEmpty() && System.nanoTime() < deadline) {
      Thread.sleep(10);
    }
    assertThat(NOTICES).containsExactly("the TAP was removed; the device has no network any more");
    NOTICES.clear();
    asTask(() -> {
      try (GuestSocket s = GuestSocket.tcp(kernel())) {
        // The carrier is gone, and with it the route.
        assertThat(s.tryConnect(host(), 1))
            .isIn((long) -Errno.ENETUNREACH, (long) -Errno.EHOSTUNREACH, (long) -Errno.ENETDOWN);
      }
    });
  }
}
