// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class UnixListenerTest {
  private static SocketChannel connect(Path socket) throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(socket));
    return channel;
  }

  @Test
  void listensOnASocketOfThisUserOnlyAndTakesItAway(@TempDir Path dir) throws Exception {
    Path socket = dir.resolve("device");
    BlockingQueue<Integer> arrived = new LinkedBlockingQueue<>();
    try (UnixListener listener = UnixListener.open(socket)) {
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
          .isEqualTo("rw-------");
      Thread acceptor = Thread.ofPlatform().start(() -> listener.accept(arrived::add, line -> {}));
      connect(socket).close();
      assertThat(Linux.close(arrived.take())).isZero();
      assertThatThrownBy(() -> UnixListener.open(socket))
          .isInstanceOf(LinkException.class)
          .hasMessageContaining("A device listens at");
      // Whoever asked whether somebody listens was a visitor, too.
      assertThat(Linux.close(arrived.take())).isZero();
      listener.stop();
      acceptor.join();
    }
    assertThat(socket).doesNotExist();
  }

  /** As systemd's is, which listens on when a service has ended, and starts the next. */
  @Test
  void leavesAnInheritedSocketListening(@TempDir Path dir) throws Exception {
    Path socket = dir.resolve("device");
    int given = listening(socket);
    for (int round = 0; round < 2; round++) {
      BlockingQueue<Integer> arrived = new LinkedBlockingQueue<>();
      try (UnixListener listener =
          UnixListener.inherited((int) Linux.fcntl(given, Fcntl.F_DUPFD_CLOEXEC, 0))) {
        Thread acceptor =
            Thread.ofPlatform().start(() -> listener.accept(arrived::add, line -> {}));
        connect(socket).close();
        assertThat(Linux.close(arrived.take())).isZero();
        listener.stop();
        acceptor.join();
      }
      assertThat(socket).exists();
      // Whoever comes meanwhile waits for the next.
      try (SocketChannel early = connect(socket)) {
        assertThat(early.isConnected()).isTrue();
        assertThat(Linux.close((int) Linux.accept4(given, Socket.SOCK_CLOEXEC))).isZero();
      }
    }
    assertThat(Linux.close(given)).isZero();
  }

  /** A descriptor that listens there, as another process would pass it on. */
  private static int listening(Path path) {
    int fd = (int) Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = arena.allocate(110, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_UNIX);
      address.setString(2, path.toString());
      assertThat(Linux.bind(fd, address.address(), 110)).isZero();
      assertThat(Linux.listen(fd, 5)).isZero();
    }
    return fd;
  }

  @Test
  void replacesAStaleSocketAndNothingElse(@TempDir Path dir) throws Exception {
    Path socket = dir.resolve("device");
    // What a killed device leaves behind.
    Process dead =
        new ProcessBuilder(
                "python3",
                "-c",
                "import socket,sys;s=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1])",
                socket.toString())
            .start();
    assertThat(dead.waitFor()).isZero();
    assertThat(socket).exists();
    Path file = Files.writeString(dir.resolve("file"), "precious");
    assertThatThrownBy(() -> UnixListener.open(file))
        .isInstanceOf(LinkException.class)
        .hasMessageContaining("is not a socket");
    assertThat(file).hasContent("precious");
    UnixListener.open(socket).close();
    assertThat(socket).doesNotExist();
  }

  /** What a service takes off the socket, and what it leaves there for a kernel. */
  @Test
  void takesTheFirstFrameAndNothingElse(@TempDir Path dir) throws Exception {
    Path socket = dir.resolve("device");
    BlockingQueue<Integer> arrived = new LinkedBlockingQueue<>();
    try (UnixListener listener = UnixListener.open(socket)) {
      Thread acceptor = Thread.ofPlatform().start(() -> listener.accept(arrived::add, line -> {}));
      Frame hello = new Frame.Hello(3, 3, 1, "test");
      for (Frame first : new Frame[] {new ServiceFrame.Join("web"), hello}) {
        try (SocketChannel channel = connect(socket)) {
          channel.write(bytes(first));
          channel.write(bytes(new Frame.Ping(7)));
          int fd = arrived.take();
          Decoded decoded = FirstFrame.look(fd, 5000);
          FrameStream stream = new FrameStream(fd);
          if (first instanceof Frame.Hello) {
            assertThat(decoded).isEqualTo(new Decoded.Received(new Frame.Unknown(1, 0)));
            assertThat(stream.receive(5000)).isEqualTo(new Decoded.Received(hello));
          } else {
            assertThat(decoded).isEqualTo(new Decoded.Received(first));
          }
          assertThat(stream.receive(5000)).isEqualTo(new Decoded.Received(new Frame.Ping(7)));
          stream.close();
        }
      }
      ByteBuffer tooLong = bytes(new ServiceFrame.Join("web"));
      tooLong.putInt(0, 2000);
      for (ByteBuffer wrong :
          new ByteBuffer[] {
            tooLong, ByteBuffer.allocate(3), bytes(new ServiceFrame.Join("web")).limit(9)
          }) {
        try (SocketChannel channel = connect(socket)) {
          channel.write(wrong);
          int fd = arrived.take();
          long start = System.nanoTime();
          assertThat(FirstFrame.look(fd, 300)).isNotInstanceOf(Decoded.Received.class);
          assertThat(System.nanoTime() - start).isLessThan(TimeUnit.SECONDS.toNanos(5));
          Linux.close(fd);
        }
      }
      listener.stop();
      acceptor.join();
    }
  }

  private static ByteBuffer bytes(Frame frame) {
    ByteBuffer b = FrameCodec.newBuffer();
    FrameCodec.encode(frame, b);
    return b;
  }
}
