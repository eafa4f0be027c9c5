// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SocketPair;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;

/**
 * A wire of two descriptors, or of one socket: what a process finds at its standard input and
 * output when another started it.
 *
 * <p>Owns the descriptors.
 */
public final class DescriptorWire implements Wire {
  private static final int POLLFD_BYTES = 8;
  private static final int PIPE_BYTES = 4096;

  private final int in;
  private final int out;
  // A pipe cannot be shut down: who reads one looks at this as well. Its other end is closed by
  // stop().
  private final int stopSeen;
  private int stopSent;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment polls = arena.allocate(2L * POLLFD_BYTES, 4);
  private final MemorySegment writerPolls = arena.allocate(2L * POLLFD_BYTES, 4);

  /** Nobody can make who writes to it come back, so nothing is written for which it might wait. */
  private final boolean toPipe;

  private volatile boolean stopped;
  private boolean closed;

  private DescriptorWire(int in, int out, int stopSeen, int stopSent) {
    this.in = in;
    this.out = out;
    this.stopSeen = stopSeen;
    this.stopSent = stopSent;
    this.toPipe = isNoSocket(out);
  }

  private static boolean isNoSocket(int fd) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment type = arena.allocate(2L * Integer.BYTES, 4);
      type.set(ValueLayout.JAVA_INT, Integer.BYTES, Integer.BYTES);
      long r =
          Linux.getsockopt(
              fd,
              Socket.SOL_SOCKET,
              Socket.SO_TYPE,
              type.address(),
              type.address() + Integer.BYTES);
      return r == -Errno.ENOTSOCK;
    }
  }

  /**
   * A wire that reads from one descriptor and writes to another, blocking both; they may be equal.
   *
   * @throws IOException if there are no descriptors left
   */
  public static DescriptorWire of(int in, int out) throws IOException {
    SocketPair stop = SocketPair.open();
    if (stop.error() < 0) {
      throw failure(stop.error());
    }
    return new DescriptorWire(in, out, stop.one(), stop.other());
  }

  @Override
  public int read(ByteBuffer into) throws IOException {
    MemorySegment memory = MemorySegment.ofBuffer(into);
    for (; ; ) {
      expect(polls, 0, in, Poll.POLLIN);
      expect(polls, 1, stopSeen, Poll.POLLIN);
      long ready = Linux.poll(polls.address(), 2, -1);
      if (stopped) {
        throw new IOException("closed on this side");
      }
      if (ready == -Errno.EINTR) {
        continue;
      }
      long n = ready < 0 ? ready : Linux.read(in, memory.address(), memory.byteSize());
      if (n > 0) {
        into.position(into.position() + (int) n);
        return (int) n;
      }
      if (n == 0) {
        return -1;
      }
      if (n != -Errno.EINTR) {
        throw failure(n);
      }
    }
  }

  @Override
  public void write(ByteBuffer from) throws IOException {
    MemorySegment memory = MemorySegment.ofBuffer(from);
    long done = 0;
    while (done < memory.byteSize()) {
      if (stopped) {
        throw new IOException("closed on this side");
      }
      long most = memory.byteSize() - done;
      if (toPipe) {
        // So many bytes a pipe takes at once if it takes any: pipe(7).
        most = Math.min(most, PIPE_BYTES);
        expect(writerPolls, 0, out, Poll.POLLOUT);
        expect(writerPolls, 1, stopSeen, Poll.POLLIN);
        Linux.poll(writerPolls.address(), 2, -1);
        if (stopped) {
          continue;
        }
      }
      long n = Linux.write(out, memory.address() + done, most);
      if (n > 0) {
        done += n;
      } else if (n != -Errno.EINTR) {
        throw failure(n);
      }
    }
    from.position(from.limit());
  }

  @Override
  public synchronized void writingFailed() {
    if (!stopped) {
      // The other end, if it is there after all, sees an end, and ends as well.
      Linux.shutdown(out, Socket.SHUT_WR); // -ENOTSOCK for a pipe
    }
  }

  @Override
  public synchronized void stop() {
    if (!stopped) {
      stopped = true;
      Linux.shutdown(in, Socket.SHUT_RDWR); // -ENOTSOCK for a pipe
      Linux.shutdown(out, Socket.SHUT_RDWR);
      Linux.close(stopSent);
      stopSent = -1;
    }
  }

  @Override
  public void close() {
    stop();
    synchronized (this) {
      if (!closed) {
        closed = true;
        Linux.close(stopSeen);
        Linux.close(in);
        if (out != in) {
          Linux.close(out);
        }
      }
    }
  }

  private static void expect(MemorySegment polls, int index, int fd, int events) {
    polls.set(ValueLayout.JAVA_INT, (long) index * POLLFD_BYTES, fd);
    polls.set(ValueLayout.JAVA_SHORT, (long) index * POLLFD_BYTES + 4, (short) events);
    polls.set(ValueLayout.JAVA_SHORT, (long) index * POLLFD_BYTES + 6, (short) 0);
  }

  private static IOException failure(long negative) {
    return new IOException(Errno.name((int) -negative));
  }
}
