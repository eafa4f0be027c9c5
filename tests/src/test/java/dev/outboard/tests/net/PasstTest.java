// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.virtio.NetException;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.NetworkConfig;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.parallel.Isolated;

/** A library kernel whose network is passt. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
@Isolated("it looks for processes of passt, and takes ports")
class PasstTest {
  private static final long BULK_BYTES = 32L << 20;
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Executor THREADS = task -> Thread.ofPlatform().daemon().start(task);

  private final Queue<String> notices = new ConcurrentLinkedQueue<>();
  private final long seed = Long.getLong("tests.seed", System.nanoTime());

  @BeforeAll
  static void installed() throws IOException {
    assumeTrue(Network.passtInstalled(), "passt is not installed");
    assumeTrue(
        Files.readString(Path.of("/proc/net/route")).contains("\t00000000\t"), "no default route");
  }

  private static int freePort() throws IOException {
    try (ServerSocket s = new ServerSocket(0, 1, LOOPBACK)) {
      return s.getLocalPort();
    }
  }

  private static List<Long> children() {
    return ProcessHandle.current().children().map(ProcessHandle::pid).toList();
  }

  private interface Work {
    void run(LibraryKernel kernel, NetworkConfig config) throws Exception;
  }

  private void with(List<PortMapping> ports, Work work) throws Exception {
    List<Long> before = children();
    Network network = Network.open(NetSpec.defaultPasst(), ports);
    List<Long> passt = children().stream().filter(p -> !before.contains(p)).toList();
    assertThat(passt).as("the process of passt").hasSize(1);
    try {
      LibraryKernel kernel = new LibraryKernel();
      try {
        network.attach(kernel.guest(), LibraryKernel.LINE, notices::add);
        NetworkConfig config = network.config().orElseThrow();
        GuestSocket.configure(kernel, "eth0", config);
        work.run(kernel, config);
      } finally {
        network.detach();
        kernel.close();
      }
    } finally {
      network.close();
    }
    assertThat(children()).as("passt at the end").doesNotContainAnyElementsOf(passt);
  }

  /** The gateway stands for the machine's loopback. */
  @Test
  void reachesAServiceOfTheMachine() throws Exception {
    System.out.println("seed " + seed);
    with(
        List.of(),
        (kernel, config) -> {
          Pattern pattern = new Pattern(seed, BULK_BYTES);
          try (ServerSocket service = new ServerSocket(0, 5, LOOPBACK);
              GuestSocket s = GuestSocket.tcp(kernel)) {
            CompletableFuture<Long> received =
                CompletableFuture.supplyAsync(() -> echoSum(service), THREADS);
            s.connect(config.gateways().getFirst(), service.getLocalPort());
            MemorySegment block = kernel.allocate(Pattern.blockBytes());
            for (byte[] next = pattern.next(); next != null; next = pattern.next()) {
              MemorySegment.copy(next, 0, block, ValueLayout.JAVA_BYTE, 0, next.length);
              s.send(block);
            }
            // No half close: passt of Debian 12 then loses the service's end, or repeats its bytes.
            assertThat(received.get()).isEqualTo(pattern.sum());
            assertThat(s.receive(block)).isEqualTo(8);
            assertThat(block.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(pattern.sum());
            assertThat(s.receive(block)).as("the end").isZero();
          }
        });
    assertThat(notices).isEmpty();
  }

  private static long echoSum(ServerSocket service) {
    try (Socket s = service.accept()) {
      CRC32C sum = new CRC32C();
      byte[] buffer = new byte[256 << 10];
      for (long left = BULK_BYTES; left > 0; ) {
        int n = s.getInputStream().read(buffer);
        assertThat(n).as("bytes read, %d are to come", left).isPositive();
        sum.update(buffer, 0, n);
        left -= n;
      }
      byte[] answer = new byte[8];
      MemorySegment.ofArray(answer).set(ValueLayout.JAVA_LONG_UNALIGNED, 0, sum.getValue());
      s.getOutputStream().write(answer);
      return sum.getValue();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void publishesAPort() throws Exception {
    System.out.println("seed " + seed);
    int port = freePort();
    with(
        List.of(new PortMapping(LOOPBACK, port, 7007, false)),
        (kernel, config) -> {
          Pattern pattern = new Pattern(seed, BULK_BYTES);
          CRC32C sum = new CRC32C();
          try (GuestSocket listener = GuestSocket.tcp(kernel)) {
            listener.bind(config.addresses().getFirst().address(), 7007);
            listener.listen();
            CompletableFuture<Void> sent =
                CompletableFuture.runAsync(() -> send(pattern, port), THREADS);
            try (GuestSocket s = listener.accept()) {
              MemorySegment buffer = kernel.allocate(256 << 10);
              for (long n = s.receive(buffer); n > 0; n = s.receive(buffer)) {
                sum.update(buffer.asSlice(0, n).asByteBuffer());
              }
            }
            sent.get();
          }
          assertThat(sum.getValue()).isEqualTo(pattern.sum());
        });
  }

  private static void send(Pattern pattern, int port) {
    try (Socket s = new Socket(LOOPBACK, port)) {
      for (byte[] next = pattern.next(); next != null; next = pattern.next()) {
        s.getOutputStream().write(next);
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void saysWhichPortIsTaken() throws Exception {
    List<Long> before = children();
    try (ServerSocket taken = new ServerSocket(0, 1, LOOPBACK)) {
      int port = taken.getLocalPort();
      List<PortMapping> ports = List.of(new PortMapping(LOOPBACK, port, 80, false));
      assertThatThrownBy(() -> Network.open(NetSpec.defaultPasst(), ports))
          .isInstanceOf(NetException.class)
          .hasMessageContaining("passt ended")
          .hasMessageContaining("127.0.0.1/" + port + ":80");
    }
    assertThat(children()).containsExactlyInAnyOrderElementsOf(before);
  }

  /** Its end is a link that goes down and one sentence, not a hang. */
  @Test
  void noticesThatPasstIsKilled() throws Exception {
    List<Long> before = children();
    with(
        List.of(),
        (kernel, config) -> {
          for (long pid : children()) {
            if (!before.contains(pid)) {
              ProcessHandle.of(pid).orElseThrow().destroyForcibly();
            }
          }
          long deadline = System.nanoTime() + 5_000_000_000L;
          while (notices.isEmpty() && System.nanoTime() < deadline) {
            Thread.sleep(10);
          }
          assertThat(notices).containsExactly("passt ended; the device has no network any more");
        });
  }

  /** The machine's end goes however the device ends: here by a kill. */
  @Test
  void leavesNothingBehindWhenKilled() throws Exception {
    NetworkHolder.Started started = NetworkHolder.start("passt");
    Process holder = started.process();
    try {
      String pids = started.line();
      long pid = Long.parseLong(pids.substring(1, pids.length() - 1));
      assertThat(Path.of("/proc/" + pid)).exists();
      holder.destroyForcibly().waitFor();
      long deadline = System.nanoTime() + 5_000_000_000L;
      while (Files.exists(Path.of("/proc/" + pid)) && System.nanoTime() < deadline) {
        Thread.sleep(10);
      }
      assertThat(Path.of("/proc/" + pid)).doesNotExist();
    } finally {
      holder.destroyForcibly();
    }
  }
}
