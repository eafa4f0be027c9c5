// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.NetException;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;

/** A TAP between the kernels, which the device makes. */
class TapTest extends LinkTest {
  private int publishedPort;

  @Override
  String plug() {
    return "tap:name=" + stem + ",addr=" + prefix + "2/24";
  }

  @Override
  void unplug() {
    assertThat(Path.of("/sys/class/net", stem)).as("the TAP at the end").doesNotExist();
  }

  @Override
  String hostInterface() {
    return stem;
  }

  @Override
  String deviceInterface() {
    return stem;
  }

  @Override
  String epitaph() {
    return "the TAP was removed";
  }

  @Override
  int bigSegmentOut() {
    return 4 * 65535;
  }

  @Override
  boolean unsplitOut() {
    return true;
  }

  @Override
  boolean unsplitIn() {
    return true;
  }

  @Override
  List<PortMapping> published() throws IOException {
    try (ServerSocket s = new ServerSocket(0)) {
      publishedPort = s.getLocalPort();
    }
    return List.of(PortMapping.parse("127.0.0.1:" + publishedPort + ":7007"));
  }

  /** Nobody else can have it: there is no wait for those who could (RFC 4862). */
  @Test
  @Order(0)
  void theMachinesAddressIsGoodAtOnce() throws Exception {
    String name = "obd" + PID % 1_000_000;
    String prefix6 = "fd6f:63:" + Long.toHexString(PID & 0xffff) + "::";
    NetSpec spec =
        NetSpec.parse(
            "tap:name=" + name + ",addr=10.98." + PID % 250 + ".2/24,addr6=" + prefix6 + "2/64");
    Network network = Network.open(spec, List.of());
    try (ServerSocket s = new ServerSocket(0, 1, InetAddress.ofLiteral(prefix6 + "1"))) {
      assertThat(s.isBound()).isTrue();
    } finally {
      network.close();
    }
  }

  @Test
  @Order(6)
  void publishesAPort() throws Exception {
    asTask(() -> {
      try (GuestSocket listener = GuestSocket.tcp(kernel())) {
        listener.bind(device(), 7007);
        listener.listen();
        CompletableFuture<byte[]> answer =
            CompletableFuture.supplyAsync(this::askPublished, THREADS);
        try (GuestSocket s = listener.accept()) {
          MemorySegment buffer = kernel().allocate(64);
          assertThat(s.receive(buffer)).isEqualTo(5);
          s.send(buffer.asSlice(0, 5));
        }
        assertThat(answer.get()).isEqualTo("hello".getBytes(StandardCharsets.UTF_8));
      }
    });
  }

  private byte[] askPublished() {
    try (java.net.Socket s = new java.net.Socket(InetAddress.getLoopbackAddress(), publishedPort)) {
      s.getOutputStream().write("hello".getBytes(StandardCharsets.UTF_8));
      s.shutdownOutput();
      return s.getInputStream().readAllBytes();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static boolean comesNot(DatagramSocket far, DatagramPacket packet) throws IOException {
    far.setSoTimeout(5);
    try {
      far.receive(packet);
      return false;
    } catch (SocketTimeoutException e) {
      return true;
    } finally {
      far.setSoTimeout(10_000);
    }
  }

  /**
   * A frame that a thread hands over is its own to send, once it is out of the kernel; unless it
   * sleeps there. {@code obk_keep_kicks} of {@code outboard_kernel.h}.
   */
  @Test
  @Order(7)
  void threadsKeepKicks() throws Exception {
    asTask(() -> {
      MemorySegment struct = kernel().allocate(8);
      try (DatagramSocket far = new DatagramSocket(0, host());
          GuestSocket near = GuestSocket.open(kernel(), Socket.AF_INET, Socket.SOCK_DGRAM, 0)) {
        MemorySegment data = kernel().allocate(8);
        far.setSoTimeout(10_000);
        DatagramPacket packet = new DatagramPacket(new byte[16], 16);
        // It knows the machine's hardware address then.
        near.sendTo(data, host(), far.getLocalPort());
        far.receive(packet);
        kernel().guest().keepKicks(struct.address());
        int kept = 0;
        int stayed = 0;
        for (int i = 1; i <= 100; i++) {
          data.set(ValueLayout.JAVA_LONG, 0, i);
          struct.set(ValueLayout.JAVA_INT, 0, 1);
          near.sendTo(data, host(), far.getLocalPort());
          struct.set(ValueLayout.JAVA_INT, 0, 0);
          int kick = struct.get(ValueLayout.JAVA_INT, 4);
          if (kick != 0) {
            // Otherwise the transmit thread was up, for another frame, and takes this one.
            kept++;
            boolean stays = comesNot(far, packet);
            stayed += stays ? 1 : 0;
            struct.set(ValueLayout.JAVA_INT, 4, 0);
            signal(kick - 1);
            if (stays) {
              far.receive(packet);
            }
          } else {
            far.receive(packet);
          }
          assertThat(
                  MemorySegment.ofArray(packet.getData()).get(ValueLayout.JAVA_LONG_UNALIGNED, 0))
              .isEqualTo(i);
        }
        assertThat(kept).as("kicks kept of 100").isGreaterThan(0);
        // The kernel has frames of its own now and then, and their kick is for all that are there.
        assertThat(stayed).as("frames of %d that waited for theirs", kept).isGreaterThan(kept / 2);
      }
      // A connect sleeps until it is answered: its frame must not wait for the thread.
      try (ServerSocket service = new ServerSocket(0, 5, host());
          GuestSocket s = GuestSocket.tcp(kernel())) {
        struct.set(ValueLayout.JAVA_INT, 0, 1);
        s.connect(host(), service.getLocalPort());
        struct.set(ValueLayout.JAVA_INT, 0, 0);
        service.accept().close();
      } finally {
        kernel().guest().keepKicks(0);
      }
    });
  }

  private static void signal(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      assertThat(
              Linux.write(fd, arena.allocateFrom(ValueLayout.JAVA_LONG, 1L).address(), Long.BYTES))
          .isEqualTo(Long.BYTES);
    }
  }

  @Test
  @Order(8)
  void saysThatTheTapIsTaken() {
    NetSpec spec = NetSpec.parse("tap:name=" + stem + ",addr=" + prefix + "3/24");
    assertThatThrownBy(() -> Network.open(spec, List.of()))
        .isInstanceOf(NetException.class)
        .hasMessage("the TAP " + stem + " is used by another process; choose another name");
    NetSpec lo = NetSpec.parse("tap:name=lo,addr=" + prefix + "3/24");
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
}
