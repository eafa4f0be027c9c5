// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.function.IntConsumer;

/** One that is a descriptor, which another process can be given. */
final class DescriptorTransport implements Transport {
  private static final int POLLFD_BYTES = 8;

  private final SocketDescriptor socket;
  private final MemorySegment writerPoll = Arena.ofAuto().allocate(POLLFD_BYTES, 4);
  private volatile boolean inputOver;

  /**
   * @param fd a connected TCP socket, blocking; owned by this object from here on
   */
  DescriptorTransport(int fd) {
    this.socket = new SocketDescriptor(fd);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment one = arena.allocateFrom(ValueLayout.JAVA_INT, 1);
      Linux.setsockopt(fd, Socket.IPPROTO_TCP, Socket.TCP_NODELAY, one.address(), Integer.BYTES);
    }
  }

  @Override
  public int read(ByteBuffer into) throws IOException {
    long address = MemorySegment.ofBuffer(into).address();
    long n;
    int fd = socket.enter();
    try {
      do {
        n = Linux.recv(fd, address, into.remaining(), 0);
      } while (n == -Errno.EINTR);
    } finally {
      socket.leave();
    }
    if (n < 0) {
      throw failure(n);
    }
    if (inputOver) {
      return -1; // TCP takes what comes behind that all the same
    }
    into.position(into.position() + (int) n);
    return n == 0 ? -1 : (int) n;
  }

  @Override
  public void write(ByteBuffer from) throws IOException {
    long address = MemorySegment.ofBuffer(from).address();
    int all = from.remaining();
    int done = 0;
    int fd = socket.enter();
    try {
      while (done < all) {
        long n = Linux.send(fd, address + done, all - done, Socket.MSG_NOSIGNAL);
        if (n >= 0) {
          done += (int) n;
        } else if (n != -Errno.EINTR) {
          throw failure(n);
        }
      }
    } finally {
      socket.leave();
    }
    from.position(from.limit());
  }

  /** Linux says that there is room when a third of the buffer is free: tcp(7), tcp_poll(). */
  @Override
  public boolean hasRoom() {
    try {
      int fd = socket.enter();
      try {
        writerPoll.set(ValueLayout.JAVA_INT, 0, fd);
        writerPoll.set(ValueLayout.JAVA_INT, Integer.BYTES, Poll.POLLOUT); // and no revents
        return Linux.poll(writerPoll.address(), 1, 0) == 1;
      } finally {
        socket.leave();
      }
    } catch (IOException e) {
      return false;
    }
  }

  private static IOException failure(long negative) {
    return new IOException(Errno.name((int) -negative));
  }

  @Override
  public void shutdownInput() throws IOException {
    inputOver = true;
    shutdown(Socket.SHUT_RD);
  }

  @Override
  public void shutdownOutput() throws IOException {
    shutdown(Socket.SHUT_WR);
  }

  private void shutdown(int how) throws IOException {
    int fd = socket.enter();
    try {
      Linux.shutdown(fd, how);
    } finally {
      socket.leave();
    }
  }

  /**
   * Has another process go on with the socket; this end does not any more.
   *
   * @param to sends it a descriptor, while the number that it is given is valid
   * @throws IOException if it is closed
   */
  void handOn(IntConsumer to) throws IOException {
    int fd = socket.enter();
    try {
      to.accept(fd);
    } finally {
      socket.forget();
      socket.leave();
    }
  }

  @Override
  public void close() {
    socket.close();
  }
}
