// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkOptions;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.PortMapping;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Whole devices, as the command starts them. */
@Timeout(120)
class DeviceTest {
  private static final Limits LIMITS = new Limits(2, 16, 32, 1024);

  private static DeviceOptions.Builder library() {
    return DeviceOptions.builder().net(new NetSpec.None()).memoryBytes(64L << 20).limits(LIMITS);
  }

  private static DeviceOptions.Builder host() {
    return DeviceOptions.builder().hostKernel(true).limits(LIMITS);
  }

  private final TestDevice.Ear ear = new TestDevice.Ear();

  @Test
  void bootsQuicklyAndSaysWhatItIs() throws Exception {
    try (Device device = Device.start(library().build())) {
      System.out.println(
          "boot of a device without a card: " + device.bootTime().toMillis() + " ms");
      assertThat(device.bootTime().toMillis()).isLessThan(5000);
      assertThat(device.kernelKind()).isEqualTo("library");
      assertThat(device.system()).startsWith("Linux").contains(device.release());
      assertThat(device.networkCounts()).isEmpty();
    }
  }

  @Test
  void hostLoopbackLeadsToThisMachineAndBack() throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    byte[] bytes = new byte[300_000];
    new Random(seed).nextBytes(bytes);
    int dead;
    try (ServerSocket gone = new ServerSocket(0)) {
      dead = gone.getLocalPort();
    }
    try (ServerSocket echo = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      Thread.ofPlatform().daemon(true).start(() -> echo(echo));
      int[] pair = TestDevice.socketPair();
      try (Device device =
          Device.start(library().hostLoopback(List.of(echo.getLocalPort(), dead)).build())) {
        Thread server =
            Thread.ofPlatform()
                .start(() -> {
                  try {
                    device.serve(pair[1]);
                  } catch (DeviceException e) {
                    throw new IllegalStateException(e);
                  }
                });
        try (DeviceLink link = DeviceLink.overDescriptor(pair[0], ear, LinkOptions.of("test"));
            TestProgram p = new TestProgram(link)) {
          for (int round = 0; round < 20; round++) {
            int fd = p.socket(Socket.SOCK_STREAM);
            assertThat(p.connect(fd, echo.getLocalPort())).isZero();
            for (int at = 0; at < bytes.length; at += 30_000) {
              byte[] piece = Arrays.copyOfRange(bytes, at, at + 30_000);
              assertThat(p.send(fd, piece)).isEqualTo(piece.length);
              assertThat(p.receive(fd, piece.length, Socket.MSG_WAITALL)).isEqualTo(piece.length);
              assertThat(p.received(piece.length)).isEqualTo(piece);
            }
            // Half closed: the end crosses, and comes back.
            p.expect(Canonical.SHUTDOWN, fd, Socket.SHUT_WR);
            assertThat(p.receive(fd, 10, 0)).isZero();
            p.close(fd);
          }
          int fd = p.socket(Socket.SOCK_STREAM);
          assertThat(p.connect(fd, dead)).isZero();
          assertThat(p.receive(fd, 10, 0)).isEqualTo(-Errno.ECONNRESET);
          p.close(fd);
          // One that is open when the device ends.
          fd = p.socket(Socket.SOCK_STREAM);
          assertThat(p.connect(fd, echo.getLocalPort())).isZero();
        }
        server.join();
      }
    }
  }

  private static void echo(ServerSocket listener) {
    while (true) {
      try {
        java.net.Socket s = listener.accept();
        s.setTcpNoDelay(true);
        Thread.ofPlatform()
            .daemon(true)
            .start(() -> {
              try (s) {
                s.getInputStream().transferTo(s.getOutputStream());
                s.shutdownOutput();
              } catch (IOException e) {
                // The other side went first.
              }
            });
      } catch (IOException e) {
        return;
      }
    }
  }

  @Test
  void whatTheHostKernelCannotDoIsRefused() {
    assertThatThrownBy(
            () -> Device.start(host().publish(List.of(PortMapping.parse("8080:80"))).build()))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining("the network is the machine's");
  }

  @Test
  void resolvConfNamesTheFirstThreeServers() throws Exception {
    List<InetAddress> four =
        List.of(
            InetAddress.ofLiteral("192.0.2.1"),
            InetAddress.ofLiteral("192.0.2.2"),
            InetAddress.ofLiteral("2001:db8::1"),
            InetAddress.ofLiteral("192.0.2.4"));
    String text = ResolvConf.of(four, List.of("example.org", "example.com"), List.of("ndots:2"));
    assertThat(text.getBytes(StandardCharsets.US_ASCII)).isNotEmpty();
    assertThat(text.lines().filter(l -> l.startsWith("nameserver")))
        .containsExactly(
            "nameserver 192.0.2.1", "nameserver 192.0.2.2", "nameserver 2001:db8:0:0:0:0:0:1");
    assertThat(text).endsWith("search example.org example.com\noptions ndots:2\n");
    assertThat(ResolvConf.of(List.of(), List.of("x"), List.of())).isEmpty();
  }
}
