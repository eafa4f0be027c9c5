// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.Decoded.Ended;
import dev.outboard.channel.Decoded.Malformed;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * Frames over a connected AF_UNIX stream socket, with at most one descriptor beside a frame.
 *
 * <p>Owns the socket. {@link #send} may be called by any thread and blocks while the other side
 * does not read; {@link #receive} belongs to one thread; {@link #stop} ends both, from any thread;
 * {@link #close} comes after the last user is out.
 */
public final class FrameStream implements AutoCloseable {
  private static final int MSGHDR_BYTES = 56;
  private static final int CMSG_BYTES = 24; // a header of 16, one int, padding

  /** Room for what a hostile sender could attach: SCM_MAX_FD is 253. */
  private static final int CONTROL_BYTES = 16 + 4 * 256;

  private final int fd;
  private final Arena arena = Arena.ofShared();
  private final Object sending = new Object();
  private final Traffic traffic = new Traffic();
  private final MemorySegment out;
  private final ByteBuffer outBuffer;
  private final MemorySegment outHeader;
  private final MemorySegment in;
  private final MemorySegment inHeader;
  private final ByteBuffer inBuffer;
  private int filled;
  private int consumed;
  private int received = -1;
  private volatile boolean stopped;
  private boolean closed;

  /**
   * @param fd a connected stream socket, blocking; owned by this object from here on
   */
  public FrameStream(int fd) {
    this.fd = fd;
    this.out = arena.allocate(FrameCodec.MAX_BYTES, 8);
    this.outBuffer = out.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    this.outHeader = arena.allocate(MSGHDR_BYTES + 16 + CMSG_BYTES, 8);
    this.in = arena.allocate(FrameCodec.MAX_BYTES, 8);
    this.inHeader = arena.allocate(MSGHDR_BYTES + 16 + CONTROL_BYTES, 8);
    this.inBuffer = in.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** What the host sent and received by this stream, if this is the host's end. */
  Traffic traffic() {
    return traffic;
  }

  /** Sends a frame; false if the link is gone. */
  public boolean send(Frame frame) {
    return send(frame, -1);
  }

  /**
   * Sends a frame and a descriptor, which stays the caller's; -1 for none.
   *
   * @return false if the link is gone
   */
  public boolean send(Frame frame, int descriptor) {
    return send(frame, descriptor, 0);
  }

  /** Sends a frame if that is possible without waiting: a farewell. */
  public void sendLast(Frame frame) {
    send(frame, -1, Socket.MSG_DONTWAIT);
  }

  /**
   * The same if it is possible without waiting, where nobody sends in another way.
   *
   * @return false if the link is gone, or the other side reads too slowly
   */
  public boolean offer(Frame frame, int descriptor) {
    return send(frame, descriptor, Socket.MSG_DONTWAIT);
  }

  private boolean send(Frame frame, int descriptor, int flags) {
    synchronized (sending) {
      if (closed) {
        return false;
      }
      FrameCodec.encode(frame, outBuffer);
      int length = outBuffer.limit();
      int sent = 0;
      while (sent < length) {
        int controlBytes = 0;
        if (sent == 0 && descriptor >= 0) {
          MemorySegment c = outHeader.asSlice(MSGHDR_BYTES + 16, CMSG_BYTES);
          c.set(ValueLayout.JAVA_LONG, 0, 20);
          c.set(ValueLayout.JAVA_INT, 8, Socket.SOL_SOCKET);
          c.set(ValueLayout.JAVA_INT, 12, Socket.SCM_RIGHTS);
          c.set(ValueLayout.JAVA_INT, 16, descriptor);
          controlBytes = CMSG_BYTES;
        }
        header(outHeader, out.address() + sent, length - sent, controlBytes);
        long n = Linux.sendmsg(fd, outHeader.address(), Socket.MSG_NOSIGNAL | flags);
        if (n == -Errno.EINTR) {
          continue;
        }
        if (n <= 0) {
          if (sent > 0) {
            stop(); // The other side would take whatever comes next for the rest.
          }
          return false;
        }
        sent += (int) n;
      }
      traffic.frameOut(length);
      return true;
    }
  }

  /**
   * Waits for the next frame.
   *
   * @param timeoutMillis how long the socket may be silent, or -1
   */
  public Decoded receive(int timeoutMillis) {
    for (; ; ) {
      int have = filled - consumed;
      if (have >= FrameCodec.HEADER_BYTES) {
        inBuffer.limit(filled).position(consumed);
        int length = FrameCodec.length(inBuffer);
        if (length < 0) {
          return new Malformed(
              "a frame header says " + inBuffer.getInt(consumed) + " bytes, which none has");
        }
        if (have >= length) {
          inBuffer.limit(consumed + length);
          consumed += length;
          return FrameCodec.decode(inBuffer);
        }
      }
      if (stopped) {
        return new Ended("the link was closed on this side");
      }
      if (consumed > 0) {
        MemorySegment.copy(in, consumed, in, 0, have);
        filled = have;
        consumed = 0;
      }
      if (timeoutMillis >= 0 && !readable(timeoutMillis)) {
        return new Ended("nothing came for " + timeoutMillis + " ms");
      }
      header(inHeader, in.address() + filled, in.byteSize() - filled, CONTROL_BYTES);
      long n = Linux.recvmsg(fd, inHeader.address(), Socket.MSG_CMSG_CLOEXEC);
      if (n == -Errno.EINTR) {
        continue;
      }
      if (n > 0) {
        String wrong = takeDescriptors();
        if (wrong != null) {
          return new Malformed(wrong);
        }
        filled += (int) n;
        traffic.framesIn((int) n);
      } else if (n == 0) {
        return new Ended(
            filled > 0
                ? "the other side closed the link in the middle of a frame"
                : "the other side closed the link");
      } else {
        return new Ended("the link failed: " + Errno.name((int) -n));
      }
    }
  }

  /**
   * The descriptor that came with the frames so far, or -1; the caller owns it.
   *
   * <p>Only the thread that receives.
   */
  public int takeDescriptor() {
    int taken = received;
    received = -1;
    return taken;
  }

  /** Ends the link: a blocked send or receive returns, later ones fail. Any thread, repeatable. */
  public void stop() {
    synchronized (this) {
      if (!stopped) {
        stopped = true;
        Linux.shutdown(fd, Socket.SHUT_RDWR);
      }
    }
  }

  /** Sends no more; what the other side has to say still comes. Any thread, repeatable. */
  public void finish() {
    synchronized (sending) {
      if (!closed) {
        Linux.shutdown(fd, Socket.SHUT_WR);
      }
    }
  }

  /** Whether {@link #stop} was called. */
  public boolean stopped() {
    return stopped;
  }

  /** Closes the socket. The receiving thread must be out, or be the caller. */
  @Override
  public void close() {
    stop();
    synchronized (sending) {
      if (closed) {
        return;
      }
      closed = true;
      if (received >= 0) {
        Linux.close(received);
        received = -1;
      }
      Linux.close(fd);
      arena.close();
    }
  }

  private boolean readable(int timeoutMillis) {
    // The iovec's place is free between two calls and large enough for a pollfd.
    MemorySegment p = inHeader.asSlice(MSGHDR_BYTES, 8);
    long deadline = System.nanoTime() + timeoutMillis * 1_000_000L;
    for (; ; ) {
      p.set(ValueLayout.JAVA_INT, 0, fd);
      p.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
      p.set(ValueLayout.JAVA_SHORT, 6, (short) 0);
      long left = Math.max(0, deadline - System.nanoTime()) / 1_000_000L;
      long n = Linux.poll(p.address(), 1, (int) left);
      if (n != -Errno.EINTR) {
        return n != 0;
      }
    }
  }

  /**
   * Keeps one descriptor and closes all others; a sentence if the sender may not have sent them.
   */
  private @Nullable String takeDescriptors() {
    long controlBytes = inHeader.get(ValueLayout.JAVA_LONG, 40);
    int flags = inHeader.get(ValueLayout.JAVA_INT, 48);
    int count = 0;
    MemorySegment control = inHeader.asSlice(MSGHDR_BYTES + 16, CONTROL_BYTES);
    for (long at = 0; at + 16 <= controlBytes; ) {
      long length = control.get(ValueLayout.JAVA_LONG, at);
      if (length < 16 || at + length > controlBytes) {
        break;
      }
      if (control.get(ValueLayout.JAVA_INT, at + 8) == Socket.SOL_SOCKET
          && control.get(ValueLayout.JAVA_INT, at + 12) == Socket.SCM_RIGHTS) {
        for (long f = at + 16; f + 4 <= at + length; f += 4) {
          int descriptor = control.get(ValueLayout.JAVA_INT, f);
          count++;
          if (received < 0 && count == 1) {
            received = descriptor;
          } else {
            Linux.close(descriptor);
          }
        }
      }
      at += (length + 7) & ~7L;
    }
    if (count > 1 || (flags & Socket.MSG_CTRUNC) != 0) {
      return "more than one descriptor came with a frame";
    }
    return null;
  }

  /** Lays out a msghdr, its one iovec behind it, and the control bytes behind that. */
  private static void header(MemorySegment m, long data, long bytes, long controlBytes) {
    m.set(ValueLayout.JAVA_LONG, 0, 0);
    m.set(ValueLayout.JAVA_LONG, 8, 0);
    m.set(ValueLayout.JAVA_LONG, 16, m.address() + MSGHDR_BYTES);
    m.set(ValueLayout.JAVA_LONG, 24, 1);
    m.set(ValueLayout.JAVA_LONG, 32, controlBytes == 0 ? 0 : m.address() + MSGHDR_BYTES + 16);
    m.set(ValueLayout.JAVA_LONG, 40, controlBytes);
    m.set(ValueLayout.JAVA_LONG, 48, 0);
    m.set(ValueLayout.JAVA_LONG, MSGHDR_BYTES, data);
    m.set(ValueLayout.JAVA_LONG, MSGHDR_BYTES + 8, bytes);
  }
}
