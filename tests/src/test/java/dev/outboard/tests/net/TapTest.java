// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.virtio.NetException;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.net.ServerSocket;
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
