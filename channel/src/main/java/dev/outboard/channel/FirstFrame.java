// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;

/**
 * The first frame on a connected Unix socket, for somebody who hands the socket on to whom the
 * frame is meant for. One thread for each socket.
 */
public final class FirstFrame {
  /** Longer is none that is taken here. */
  private static final int MOST_BYTES = 1024;

  /** How long to wait for the rest of a header: poll does not. */
  private static final int REST_MILLIS = 5;

  private FirstFrame() {}

  /**
   * Waits for a frame. One of a service's visitor is taken off the socket, and nothing behind it;
   * any other stays where it is, as it is a session's.
   *
   * @return a {@link ServiceFrame}, an {@link Frame.Unknown} for one that has been left, or why
   *     there is none
   */
  public static Decoded look(int fd, int timeoutMillis) {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment header = arena.allocate(FrameCodec.HEADER_BYTES, 8);
      MemorySegment poll = arena.allocate(8, 8);
      while (true) {
        long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
        if (left <= 0) {
          return new Decoded.Ended("no greeting came within " + timeoutMillis / 1000 + " s");
        }
        poll.set(ValueLayout.JAVA_INT, 0, fd);
        poll.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
        if (Linux.poll(poll.address(), 1, (int) left) <= 0) {
          continue;
        }
        long n = Linux.recv(fd, header.address(), header.byteSize(), Socket.MSG_PEEK);
        if (n == header.byteSize()) {
          int kind = Short.toUnsignedInt(header.get(ValueLayout.JAVA_SHORT, 4));
          return ServiceCodec.opens(kind)
              ? take(fd, header.get(ValueLayout.JAVA_INT, 0), deadline, poll)
              : new Decoded.Received(new Frame.Unknown(kind, 0));
        }
        if (n <= 0) {
          return new Decoded.Ended(
              n == 0
                  ? "the other side closed the link"
                  : "the link failed: " + Errno.name((int) -n));
        }
        Thread.sleep(REST_MILLIS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return new Decoded.Ended("the service ends");
    }
  }

  /** Exactly one frame: what follows is somebody else's. */
  private static Decoded take(int fd, int length, long deadline, MemorySegment poll) {
    if (length < FrameCodec.HEADER_BYTES || length > MOST_BYTES) {
      return new Decoded.Malformed("a first frame of " + length + " bytes");
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment frame = arena.allocate(length, 8);
      for (long at = 0; at < length; ) {
        long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
        if (left <= 0 || Linux.poll(poll.address(), 1, (int) left) == 0) {
          return new Decoded.Ended("the greeting stops in the middle of a frame");
        }
        long n = Linux.recv(fd, frame.address() + at, length - at, 0);
        if (n <= 0 && n != -Errno.EINTR) {
          return new Decoded.Ended("the other side closed the link in the middle of a frame");
        }
        at += Math.max(n, 0);
      }
      return FrameCodec.decode(frame.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN));
    }
  }
}
