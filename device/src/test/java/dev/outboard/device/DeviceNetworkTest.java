// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkOptions;
import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.PortMapping;
import java.io.DataInputStream;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Devices with a network card: what is configured works, both ways, and goes when they end. */
@Timeout(120)
class DeviceNetworkTest {
  private static DeviceOptions.Builder options() {
    return DeviceOptions.builder().memoryBytes(64L << 20).limits(new Limits(1, 16, 32, 1024));
  }

  private static final int PORT = 7077;

  private final byte[] bytes = new byte[3_000_000];

  /** A program on a device with this network. */
  private interface Work {
    void run(Device device, TestProgram program) throws Exception;
  }

  private void with(DeviceOptions options, Work work) throws Exception {
    new Random(5).nextBytes(bytes);
    int[] pair = TestDevice.socketPair();
    try (Device device = Device.start(options)) {
      System.out.println("boot of a device with a card: " + device.bootTime().toMillis() + " ms");
      Thread server =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  device.serve(pair[1]);
                } catch (DeviceException e) {
                  throw new IllegalStateException(e);
                }
              });
      try (DeviceLink link =
              DeviceLink.overDescriptor(pair[0], new TestDevice.Ear(), LinkOptions.of("test"));
          TestProgram program = new TestProgram(link)) {
        work.run(device, program);
      }
      server.join();
    }
  }

  @Test
  void aTapLeadsBothWaysAndGoes() throws Exception {
    long id = ProcessHandle.current().pid() % 10_000;
    String name = "obd" + id;
    String prefix = "10." + (100 + id % 100) + "." + id / 100 + ".";
    NetSpec spec = NetSpec.parse("tap:name=" + name + ",addr=" + prefix + "2/24");
    int published;
    try (ServerSocket probe = new ServerSocket(0)) {
      published = probe.getLocalPort();
    }
    List<PortMapping> publish = List.of(PortMapping.parse("127.0.0.1:" + published + ":" + PORT));
    with(
        options().net(spec).publish(publish).build(),
        (device, p) -> {
          assertThat(NetworkInterface.getByName(name)).isNotNull();
          // In: the machine connects to the device's address, and to the published port.
          int listener = p.socket(Socket.SOCK_STREAM);
          p.address(PORT);
          p.data().set(ValueLayout.JAVA_INT, 4, 0);
          p.expect(Canonical.BIND, listener, 0, 16);
          p.expect(Canonical.LISTEN, listener, 5);
          fetch(p, listener, InetAddress.getByName(prefix + "2"), PORT);
          fetch(p, listener, InetAddress.getLoopbackAddress(), published);
          // Out: the program connects to the host's end.
          try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getByName(prefix + "1"))) {
            reach(p, server);
          }
          assertThat(device.networkCounts()).isPresent();
        });
    assertThat(NetworkInterface.getByName(name)).as("the TAP is gone").isNull();
  }

  @Test
  void passtReachesTheMachineWithoutPrivileges() throws Exception {
    NetSpec.Passt passt = NetSpec.defaultPasst();
    with(
        options().net(passt).build(),
        (device, p) -> {
          // The gateway stands for the machine, its loopback included.
          try (ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
            reach(p, server, passt.gateway());
          }
        });
  }

  /** The machine reads all bytes from the program's listener. */
  private void fetch(TestProgram p, int listener, InetAddress address, int port) throws Exception {
    byte[] got = new byte[bytes.length];
    Thread reader =
        Thread.ofPlatform()
            .start(() -> {
              try (java.net.Socket s = new java.net.Socket(address, port)) {
                new DataInputStream(s.getInputStream()).readFully(got);
              } catch (IOException e) {
                throw new IllegalStateException(e);
              }
            });
    int fd = p.accept(listener);
    for (int at = 0; at < bytes.length; at += 100_000) {
      byte[] piece = Arrays.copyOfRange(bytes, at, at + 100_000);
      for (int sent = 0; sent < piece.length; ) {
        long n = p.send(fd, Arrays.copyOfRange(piece, sent, piece.length));
        assertThat(n).isPositive();
        sent += (int) n;
      }
    }
    reader.join();
    p.close(fd);
    assertThat(Arrays.equals(got, bytes)).as("what arrived is what was sent").isTrue();
  }

  private void reach(TestProgram p, ServerSocket server) throws Exception {
    reach(p, server, server.getInetAddress());
  }

  /** The program connects and reads all bytes from the machine. */
  private void reach(TestProgram p, ServerSocket server, InetAddress address) throws Exception {
    Thread writer =
        Thread.ofPlatform()
            .start(() -> {
              try (java.net.Socket s = server.accept()) {
                s.getOutputStream().write(bytes);
              } catch (IOException e) {
                throw new IllegalStateException(e);
              }
            });
    int fd = p.socket(Socket.SOCK_STREAM);
    p.address(server.getLocalPort());
    byte[] a = address.getAddress();
    for (int i = 0; i < 4; i++) {
      p.data().set(ValueLayout.JAVA_BYTE, 4 + i, a[i]);
    }
    assertThat(p.call(Canonical.CONNECT, fd, 0, 16)).isZero();
    for (int at = 0; at < bytes.length; at += 100_000) {
      assertThat(p.receive(fd, 100_000, Socket.MSG_WAITALL)).isEqualTo(100_000);
      assertThat(Arrays.equals(p.received(100_000), Arrays.copyOfRange(bytes, at, at + 100_000)))
          .as("bytes from %d", at)
          .isTrue();
    }
    writer.join();
    p.close(fd);
  }
}
