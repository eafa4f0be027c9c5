// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The calls that come by a slot which is lent to a process of the program: send and recv on sockets
 * whose birth it knows, and no others. The hook sees none of them, so what needs it ends with
 * {@link #TRAP}, and then nothing has happened.
 *
 * <p>Nothing here waits for longer than {@value #WAIT_NANOS} ns, as no interruption comes through
 * such a slot.
 *
 * <p>Owned by the slot's shadow thread.
 */
final class LentCalls {
  /** The result of a call that is to be made by way of the hook. */
  static final long TRAP = -Errno.ERESTARTSYS;

  /** How long a receive waits: an answer from nearby, for which a trap would be too dear. */
  static final long WAIT_NANOS = 1_000_000;

  /** Bytes of scratch memory that {@link #make} needs. */
  static final long SCRATCH_BYTES = 32;

  /** What a process that closes in one thread and calls in another can get wrong, by far. */
  private static final int MAX_WRONG = 256;

  private static final int FLAGS =
      Socket.MSG_PEEK | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | Socket.MSG_MORE;

  private static final int POLLFD = 0;
  private static final int TIMESPEC = 16;

  private final Kernel kernel;
  private final Handles handles;
  private final Readiness readiness;
  private int wrong;

  LentCalls(Kernel kernel, Handles handles, Readiness readiness) {
    this.kernel = kernel;
    this.handles = handles;
    this.readiness = readiness;
  }

  /**
   * Makes the call.
   *
   * @param birth what the slot says of the handle's
   * @param scratch memory of the thread's own, {@link #SCRATCH_BYTES} long
   * @return a result, {@code -errno}, or {@link #TRAP}
   */
  long make(Call call, int birth, MemorySegment scratch) {
    boolean sends = call.number == Canonical.SENDTO;
    long bytes = call.args[2];
    long flags = call.args[3];
    if ((!sends && call.number != Canonical.RECVFROM)
        || bytes < 0
        || bytes > Call.PIECE_BYTES
        || (flags & ~FLAGS) != 0
        || wrong > MAX_WRONG) {
      return TRAP;
    }
    long fd = call.args[0];
    Handles.Handle handle = fd == (int) fd ? handles.enter((int) fd) : null;
    if (handle == null) {
      wrong++;
      return TRAP;
    }
    try {
      if (handle.birth != birth) {
        wrong++;
        return TRAP;
      }
      long result =
          sends
              ? once(call, handle, flags | Socket.MSG_NOSIGNAL)
              : receive(call, handle, flags, scratch);
      readiness.touched(handle);
      boolean full = sends && result == -Errno.EAGAIN;
      return full || ShadowThread.isRestart(result) ? TRAP : result;
    } finally {
      readiness.closeIfLast(handle);
    }
  }

  private long once(Call call, Handles.Handle handle, long flags) {
    return kernel.syscall(
        call.number,
        handle.fd,
        call.data.address(),
        call.args[2],
        flags | Socket.MSG_DONTWAIT,
        0,
        0);
  }

  private long receive(Call call, Handles.Handle handle, long flags, MemorySegment scratch) {
    long result = once(call, handle, flags);
    if (result != -Errno.EAGAIN || (flags & Socket.MSG_DONTWAIT) != 0) {
      return result;
    }
    long status = kernel.syscall(Canonical.FCNTL, handle.fd, Fcntl.F_GETFL, 0, 0, 0, 0);
    if (status < 0 || (status & Fcntl.O_NONBLOCK) != 0) {
      return result;
    }
    scratch.set(ValueLayout.JAVA_INT, POLLFD, handle.fd);
    scratch.set(ValueLayout.JAVA_SHORT, POLLFD + 4, (short) (Poll.POLLIN | Poll.POLLRDHUP));
    scratch.set(ValueLayout.JAVA_SHORT, POLLFD + 6, (short) 0);
    scratch.set(ValueLayout.JAVA_LONG, TIMESPEC, 0);
    scratch.set(ValueLayout.JAVA_LONG, TIMESPEC + 8, WAIT_NANOS);
    long ready =
        kernel.syscall(
            Canonical.PPOLL, scratch.address() + POLLFD, 1, scratch.address() + TIMESPEC, 0, 0, 0);
    result = ready > 0 ? once(call, handle, flags) : TRAP;
    return result == -Errno.EAGAIN ? TRAP : result;
  }
}
