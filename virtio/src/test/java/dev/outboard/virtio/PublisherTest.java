// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The relay, with services on loopback in the device's place. */
@Timeout(value = 30, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class PublisherTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  /** Not the common pool: these block, and it may have one thread. */
  private static final Executor THREADS = task -> Thread.ofVirtual().start(task);

  private static int freePort() throws IOException {
    try (ServerSocket s = new ServerSocket(0, 1, LOOPBACK)) {
      return s.getLocalPort();
    }
  }

  private static List<PortMapping> mapping(int outer, int inner, boolean udp) {
    return List.of(new PortMapping(LOOPBACK, outer, inner, udp));
  }

  @Test
  void relaysBothWaysAndPassesTheEndOn() throws Exception {
    int outer = freePort();
    try (ServerSocket service = new ServerSocket(0, 5, LOOPBACK);
        Publisher publisher =
            Publisher.start(mapping(outer, service.getLocalPort(), false), LOOPBACK)) {
      assertThat(publisher).isNotNull();
      byte[] data = new byte[3 << 20];
      new java.util.Random(1).nextBytes(data);
      CompletableFuture<byte[]> received =
          CompletableFuture.supplyAsync(
              () -> {
                try (Socket s = service.accept()) {
                  byte[] all = s.getInputStream().readAllBytes();
                  s.getOutputStream().write(all);
                  return all;
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              },
              THREADS);
      try (Socket client = new Socket(LOOPBACK, outer)) {
        CompletableFuture<Void> sending =
            CompletableFuture.runAsync(
                () -> {
                  try {
                    OutputStream out = client.getOutputStream();
                    out.write(data);
                    client.shutdownOutput();
                  } catch (IOException e) {
                    throw new AssertionError(e);
                  }
                },
                THREADS);
        InputStream in = client.getInputStream();
        assertThat(in.readAllBytes()).isEqualTo(data);
        sending.join();
      }
      assertThat(received.join()).isEqualTo(data);
    }
  }

  @Test
  void passesAResetOn() throws Exception {
    int outer = freePort();
    try (ServerSocket service = new ServerSocket(0, 5, LOOPBACK);
        Publisher publisher =
            Publisher.start(mapping(outer, service.getLocalPort(), false), LOOPBACK);
        Socket client = new Socket(LOOPBACK, outer)) {
      assertThat(publisher).isNotNull();
      try (Socket s = service.accept()) {
        s.setSoLinger(true, 0);
      }
      assertThatThrownBy(() -> client.getInputStream().readAllBytes())
          .isInstanceOf(SocketException.class)
          .hasMessageContaining("reset");
    }
  }

  @Test
  void endsAConnectionThatNobodyTakes() throws Exception {
    int outer = freePort();
    try (Publisher publisher = Publisher.start(mapping(outer, freePort(), false), LOOPBACK);
        Socket client = new Socket(LOOPBACK, outer)) {
      assertThat(publisher).isNotNull();
      assertThatThrownBy(() -> client.getInputStream().readAllBytes())
          .isInstanceOf(SocketException.class);
    }
  }

  @Test
  void relaysDatagramsOfSeveralClients() throws Exception {
    int outer = freePort();
    try (DatagramSocket service = new DatagramSocket(new InetSocketAddress(LOOPBACK, 0));
        Publisher publisher =
            Publisher.start(mapping(outer, service.getLocalPort(), true), LOOPBACK)) {
      assertThat(publisher).isNotNull();
      Thread.ofVirtual()
          .start(() -> {
            DatagramPacket p = new DatagramPacket(new byte[65536], 65536);
            try {
              while (true) {
                p.setLength(65536);
                service.receive(p);
                service.send(p);
              }
            } catch (IOException e) {
              // The test is over.
              return;
            }
          });
      DatagramSocket[] clients = new DatagramSocket[3];
      for (int i = 0; i < clients.length; i++) {
        clients[i] = new DatagramSocket(new InetSocketAddress(LOOPBACK, 0));
        clients[i].setSoTimeout(5000);
      }
      for (int round = 0; round < 20; round++) {
        for (int i = 0; i < clients.length; i++) {
          byte[] text = ("client " + i + " round " + round).getBytes(StandardCharsets.UTF_8);
          clients[i].send(
              new DatagramPacket(text, text.length, new InetSocketAddress(LOOPBACK, outer)));
        }
        for (int i = 0; i < clients.length; i++) {
          DatagramPacket p = new DatagramPacket(new byte[100], 100);
          clients[i].receive(p);
          assertThat(new String(p.getData(), 0, p.getLength(), StandardCharsets.UTF_8))
              .isEqualTo("client " + i + " round " + round);
        }
      }
      for (DatagramSocket c : clients) {
        c.close();
      }
    }
  }

  @Test
  void saysWhichPortIsTaken() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, LOOPBACK)) {
      int port = taken.getLocalPort();
      assertThatThrownBy(() -> Publisher.start(mapping(port, 80, false), LOOPBACK))
          .isInstanceOf(NetException.class)
          .hasMessage("cannot publish 127.0.0.1:" + port + ":80: Address already in use");
    }
  }

  @Test
  void closesEverything() throws Exception {
    int outer = freePort();
    try (ServerSocket service = new ServerSocket(0, 5, LOOPBACK)) {
      Publisher publisher =
          Publisher.start(mapping(outer, service.getLocalPort(), false), LOOPBACK);
      try (Socket client = new Socket(LOOPBACK, outer);
          Socket inside = service.accept()) {
        publisher.close();
        // Its end if it was closed first, else a reset, as the other one has broken.
        try {
          assertThat(inside.getInputStream().read()).isEqualTo(-1);
        } catch (SocketException e) {
          assertThat(e).hasMessageContaining("reset");
        }
        assertThat(client.isConnected()).isTrue();
      }
      assertThatThrownBy(() -> new Socket(LOOPBACK, outer)).isInstanceOf(IOException.class);
    }
  }
}
