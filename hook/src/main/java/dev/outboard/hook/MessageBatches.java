// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Serves sendmmsg and recvmmsg: loops over the single calls, as in {@code net/socket.c}. An error
 * counts only if no message was moved, a short send ends the loop, the timeout is looked at after
 * each message received, and MSG_WAITFORONE makes all but the first not wait.
 *
 * <p>Called on notifier threads.
 */
final class MessageBatches {
  private static final int MSG_WAITFORONE = 0x10000;
  private static final int MSG_CMSG_COMPAT = 0x80000000;
  private static final int UIO_MAXIOV = 1024;

  // struct mmsghdr: a msghdr of 56 bytes, an unsigned int, 4 bytes of padding.
  private static final int MMSGHDR_BYTES = 64;
  private static final int MMSGHDR_LENGTH = 56;
  private static final int MSGHDR_IOV = 16;
  private static final int MSGHDR_IOV_COUNT = 24;
  private static final int MSGHDR_FLAGS = 48;

  private static final long NANOS = 1_000_000_000;

  private static final Row SENDMSG = SyscallTable.row("sendmsg");
  private static final Row RECVMSG = SyscallTable.row("recvmsg");
  private static final Row GETSOCKOPT = SyscallTable.row("getsockopt");

  private final Hook.Services hook;
  private final FileCalls files;

  MessageBatches(Hook.Services hook, FileCalls files) {
    this.hook = hook;
    this.files = files;
  }

  void register(Handlers handlers) {
    handlers.register(this::sendMessages, "sendmmsg");
    handlers.register(this::receiveMessages, "recvmmsg");
  }

  private void sendMessages(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    int flags = n.intArg(3);
    if ((flags & MSG_CMSG_COMPAT) != 0) {
      n.answerErrno(Errno.EINVAL);
      return;
    }
    OpenFile file = hook.files().get(p.handle());
    if (file != null && file.isNoSocketFor(n.row())) {
      n.answerErrno(Errno.ENOTSOCK);
      return;
    }
    long entry = n.args()[1];
    long count = Math.min(n.args()[2] & 0xffff_ffffL, UIO_MAXIOV);
    long[] args = {n.args()[0], 0, flags, 0, 0, 0};
    long done = 0;
    long r = 0;
    while (done < count) {
      args[1] = entry;
      r = files.move(n, SENDMSG, args, p);
      if (r < 0) {
        break;
      }
      long sent = r;
      r = putLength(n, entry, sent);
      if (r < 0) {
        break;
      }
      done++;
      if (sent < messageBytes(n, entry)) {
        break;
      }
      entry += MMSGHDR_BYTES;
    }
    hook.answer(n, done > 0 ? done : r);
  }

  private void receiveMessages(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      if (!n.unreadable()) {
        hook.mayReceiveDescriptors(n.process());
      }
      hook.onHost(n);
      return;
    }
    int flags = n.intArg(3);
    if ((flags & MSG_CMSG_COMPAT) != 0) {
      n.answerErrno(Errno.EINVAL);
      return;
    }
    MemorySegment scratch = n.statScratch();
    long timeoutAddress = n.args()[4];
    long deadline = 0;
    if (timeoutAddress != 0) {
      long r = n.memory().read(timeoutAddress, scratch, 0, 16);
      if (r < 0) {
        hook.answer(n, hook.calls().memoryError(n, r));
        return;
      }
      long seconds = scratch.get(ValueLayout.JAVA_LONG, 0);
      long nanos = scratch.get(ValueLayout.JAVA_LONG, 8);
      if (seconds < 0 || nanos < 0 || nanos >= NANOS) {
        n.answerErrno(Errno.EINVAL);
        return;
      }
      // A century is for ever, and does not overflow.
      deadline = System.nanoTime() + Math.min(seconds, 3_000_000_000L) * NANOS + nanos;
    }
    long r = receiveMessages(n, p, flags, timeoutAddress != 0, deadline);
    if (r > 0 && timeoutAddress != 0) {
      long left = Math.max(0, deadline - System.nanoTime());
      scratch.set(ValueLayout.JAVA_LONG, 0, left / NANOS);
      scratch.set(ValueLayout.JAVA_LONG, 8, left % NANOS);
      long w = n.memory().write(timeoutAddress, scratch, 0, 16);
      r = w < 0 ? w : r;
    }
    hook.answer(n, r);
  }

  private long receiveMessages(
      Notification n, Placeholder p, int flags, boolean limited, long deadline) {
    OpenFile file = hook.files().get(p.handle());
    if (file == null) {
      return -Errno.EBADF;
    }
    long put = hook.calls().socketError(n, p, file);
    if (put < 0) {
      return put;
    }
    long entry = n.args()[1];
    long count = n.args()[2] & 0xffff_ffffL;
    // do_recvmmsg() begins with the socket's error. A receive of a datagram does so by itself, one
    // of a stream returns what came before the error first.
    if ((file.stream() || count == 0) && (flags & Socket.MSG_ERRQUEUE) == 0) {
      long r = pendingError(n, p);
      if (r < 0) {
        return r;
      }
    }
    long[] args = {n.args()[0], 0, flags & ~MSG_WAITFORONE, 0, 0, 0};
    long done = 0;
    while (done < count) {
      args[1] = entry;
      long r = files.move(n, RECVMSG, args, p);
      if (r >= 0) {
        r = putLength(n, entry, r);
      }
      if (r < 0) {
        if (done == 0) {
          return r;
        }
        // The socket keeps it for the next call, unless it says only that there is no more.
        if (r != -Errno.EAGAIN && r != -Errno.EINTR && r != -Errno.ERESTARTSYS) {
          hook.calls().putOff(p, file, (int) -r);
        }
        return done;
      }
      done++;
      if ((flags & MSG_WAITFORONE) != 0) {
        args[2] |= Socket.MSG_DONTWAIT;
      }
      if (limited && deadline - System.nanoTime() <= 0) {
        break;
      }
      if (n.memory().read(entry + MSGHDR_FLAGS, n.statScratch(), 0, 4) == 0
          && (n.statScratch().get(ValueLayout.JAVA_INT, 0) & Socket.MSG_OOB) != 0) {
        break;
      }
      entry += MMSGHDR_BYTES;
    }
    return done;
  }

  /** Takes the socket's error off it; 0 or {@code -errno}. */
  private long pendingError(Notification n, Placeholder p) {
    long r = hook.calls().begin(n);
    if (r < 0) {
      return r;
    }
    try {
      Call c = n.slot().call();
      do {
        c.start(GETSOCKOPT.canonical());
        c.toDevice = Integer.BYTES;
        c.fromDevice = Long.BYTES + Integer.BYTES;
        c.args[0] = p.handle();
        c.args[1] = Socket.SOL_SOCKET;
        c.args[2] = Socket.SO_ERROR;
        c.args[3] = Long.BYTES;
        c.data.set(ValueLayout.JAVA_INT, 0, Integer.BYTES);
        r = hook.calls().execute(n, n.slot());
      } while (r == DeviceCalls.AGAIN);
      hook.calls().sampled(n, p, n.slot());
      return r < 0 ? r : -(long) (c.data.get(ValueLayout.JAVA_INT, Long.BYTES) & 0xfff);
    } finally {
      hook.calls().end(n);
    }
  }

  /** Writes msg_len. */
  private static long putLength(Notification n, long entry, long bytes) {
    MemorySegment scratch = n.statScratch();
    scratch.set(ValueLayout.JAVA_INT, 0, (int) bytes);
    return n.memory().write(entry + MMSGHDR_LENGTH, scratch, 0, 4);
  }

  /** How long a message is that was just sent, so that a short send is known. */
  private static long messageBytes(Notification n, long entry) {
    MemorySegment scratch = n.statScratch();
    long r = n.memory().read(entry + MSGHDR_IOV, scratch, 0, 16);
    if (r < 0) {
      return 0;
    }
    return n.memory()
        .vectorLength(
            scratch.get(ValueLayout.JAVA_LONG, 0),
            (int) scratch.get(ValueLayout.JAVA_LONG, MSGHDR_IOV_COUNT - MSGHDR_IOV));
  }
}
