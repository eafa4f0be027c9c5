// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.posix.Linux;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.channels.ClosedChannelException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class TcpListenerTest {
  private static void comesFrom(TcpListener listener, InetAddress to, boolean others)
      throws Exception {
    try (Socket s = new Socket(to, listener.address().getPort())) {
      TcpListener.Accepted accepted = listener.accept();
      assertThat(accepted.from().getAddress()).isEqualTo(to);
      assertThat(accepted.from().getPort()).isEqualTo(s.getLocalPort());
      assertThat(Linux.close(accepted.fd())).isZero();
      assertThat(s.getInputStream().read()).isEqualTo(-1);
    } catch (SocketException e) {
      if (!others) {
        throw e;
      }
    }
  }

  /** Also those of IPv4 are told by their own addresses. */
  @Test
  void aWildcardStandsForBothFamilies() throws Exception {
    for (InetSocketAddress all :
        new InetSocketAddress[] {
          new InetSocketAddress(0), new InetSocketAddress(InetAddress.ofLiteral("0.0.0.0"), 0)
        }) {
      try (TcpListener listener = TcpListener.open(all, 5)) {
        assertThat(listener.address().getAddress().isAnyLocalAddress()).isTrue();
        comesFrom(listener, InetAddress.ofLiteral("127.0.0.1"), false);
        comesFrom(listener, InetAddress.ofLiteral("::1"), true); // where there is IPv6
      }
    }
  }

  @Test
  void anAddressIsThatAlone() throws Exception {
    InetAddress one = InetAddress.ofLiteral("127.0.0.1");
    try (TcpListener listener = TcpListener.open(new InetSocketAddress(one, 0), 5)) {
      comesFrom(listener, one, false);
      InetSocketAddress same = listener.address();
      assertThatThrownBy(
              () -> new Socket(InetAddress.ofLiteral("127.0.0.2"), same.getPort()).close())
          .isInstanceOf(IOException.class);
      assertThatThrownBy(() -> TcpListener.open(same, 5).close()).hasMessage("EADDRINUSE");
    }
    assertThatThrownBy(() ->
            TcpListener.open(InetSocketAddress.createUnresolved("no.such.invalid", 1), 5).close())
        .hasMessageContaining("no machine called no.such.invalid");
  }

  @Test
  void whoAcceptsComesBackWhenItIsClosed() throws Exception {
    TcpListener listener =
        TcpListener.open(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 5);
    BlockingQueue<Exception> ends = new LinkedBlockingQueue<>();
    Thread accepts =
        Thread.ofPlatform()
            .start(() -> {
              try {
                listener.accept();
              } catch (IOException e) {
                ends.add(e);
              }
            });
    assertThat(ends.poll(100, TimeUnit.MILLISECONDS)).isNull();
    listener.close();
    assertThat(ends.poll(10, TimeUnit.SECONDS)).isInstanceOf(ClosedChannelException.class);
    accepts.join();
    assertThatThrownBy(listener::accept).isInstanceOf(ClosedChannelException.class);
    listener.close();
  }
}
