// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Serves calls that move bytes between two descriptors, or many messages at once.
 *
 * <p><b>sendfile</b> to a device socket from a file of the host: the hook reads the file, through a
 * copy of the program's own descriptor, straight into the call slot, and sends from there. As
 * {@code do_sendfile()} has it: the position (the file's, or the caller's variable) moves by what
 * was sent, an error counts only if nothing was sent, the end of the file ends the call. Everything
 * that the host's kernel refuses by itself is left to it: a device socket as source is a socket,
 * which cannot be sought in. From a file of the device to a socket or file of the device it is one
 * call there, and no byte crosses; to a regular file of the host the hook reads and writes; to
 * anything else of the host it is EINVAL, and programs read and write.
 *
 * <p><b>splice</b> with a device socket is refused with EINVAL, which programs take as "not here"
 * and then read and write: a pipe's pages cannot cross. (tee and vmsplice are not trapped: the
 * host's kernel refuses a placeholder as it refuses any socket.)
 *
 * <p><b>sendmmsg, recvmmsg</b> are loops over the single calls, as in {@code net/socket.c}: an
 * error counts only if no message was moved, a short send ends the loop, the timeout is looked at
 * after each message received, and MSG_WAITFORONE makes all but the first not wait.
 *
 * <p>Called on notifier threads.
 */
final class Transfers {
  /** {@code MAX_RW_COUNT}: what one call moves at most. */
  private static final long MAX_BYTES = 0x7ffff000L;

  private static final int MSG_MORE = 0x8000;
  private static final int MSG_WAITFORONE = 0x10000;
  private static final int MSG_CMSG_COMPAT = 0x80000000;
  private static final int UIO_MAXIOV = 1024;

  // struct mmsghdr: a msghdr of 56 bytes, an unsigned int, 4 bytes of padding.
  private static final int MMSGHDR_BYTES = 64;
  private static final int MMSGHDR_LENGTH = 56;
  private static final int MSGHDR_IOV = 16;
  private static final int MSGHDR_IOV_COUNT = 24;
  private static final int MSGHDR_FLAGS = 48;

  private static final int STAT_SIZE = 48;

  private static final long NANOS = 1_000_000_000;

  /** What one sendfile on the device moves at most. */
  private static final long SENDFILE_BYTES = 16 << 20;

  private static final Row READ = row("read");
  private static final Row PREAD = row("pread64");
  private static final Row LSEEK = row("lseek");
  private static final Row SENDTO = row("sendto");
  private static final Row SENDMSG = row("sendmsg");
  private static final Row RECVMSG = row("recvmsg");
  private static final Row GETSOCKOPT = row("getsockopt");

  private final Hook.Services hook;
  private final FileCalls files;

  Transfers(Hook.Services hook, FileCalls files) {
    this.hook = hook;
    this.files = files;
  }

  void register(Handlers handlers) {
    handlers.register(this::sendfile, "sendfile");
    handlers.register(this::copyRange, "copy_file_range");
    handlers.register(this::splice, "splice");
    handlers.register(this::sendMessages, "sendmmsg");
    handlers.register(this::receiveMessages, "recvmmsg");
  }

  private static Row row(String name) {
    return Objects.requireNonNull(SyscallTable.byName(name), name);
  }

  private void splice(Notification n) {
    if (hook.lookup(n, 0) != null || hook.lookup(n, 2) != null) {
      n.answerErrno(Errno.EINVAL);
    } else {
      hook.onHost(n);
    }
  }

  private void sendfile(Notification n) {
    Placeholder out = hook.lookup(n, 0);
    Placeholder source = hook.lookup(n, 1);
    if (source != null && out != null) {
      hook.answer(n, withinDevice(n, out, source));
      return;
    }
    if (source != null) {
      toHost(n, source);
      return;
    }
    if (out == null) {
      hook.onHost(n);
      return;
    }
    long offsetAddress = n.args()[2];
    MemorySegment scratch = n.statScratch();
    long position = -1;
    if (offsetAddress != 0) {
      long r = n.memory().read(offsetAddress, scratch, 0, 8);
      if (r < 0) {
        hook.answer(n, hook.calls().memoryError(n, r));
        return;
      }
      position = scratch.get(ValueLayout.JAVA_LONG, 0);
    }
    int in = Descriptors.borrow(n, n.intArg(1));
    if (in < 0) {
      n.answer(in);
      return;
    }
    long r;
    try {
      r = sendfile(n, out, in, position, offsetAddress);
    } finally {
      Linux.close(in);
    }
    hook.answer(n, r);
  }

  /** Both files are the device's: the bytes do not cross, however many they are. */
  private long withinDevice(Notification n, Placeholder out, Placeholder in) {
    OpenFile to = hook.files().get(out.handle());
    OpenFile from = hook.files().get(in.handle());
    if (to == null || from == null) {
      return -Errno.EBADF;
    }
    long[] args = n.args().clone();
    args[0] = out.handle();
    args[1] = in.handle();
    long count = n.args()[3];
    long moved = 0;
    // In pieces, so that a signal does not wait for the whole: at each the kernel looks for one.
    for (; ; ) {
      args[3] = count < 0 ? count : Math.min(count - moved, SENDFILE_BYTES);
      long r = hook.calls().runAt(n, n.row(), args, to, from, out);
      if (r <= 0) {
        if (r == -Errno.EPIPE && moved == 0 && to.kind() == OpenFile.Kind.SOCKET && to.stream()) {
          FileCalls.raiseSigPipe(n);
        }
        return moved > 0 ? moved : r;
      }
      moved += r;
      if (r < args[3] || moved >= count || moved >= MAX_BYTES) {
        return moved;
      }
    }
  }

  /** From a file of the device to one of the host, which never makes the hook wait. */
  private void toHost(Notification n, Placeholder source) {
    OpenFile file = hook.files().get(source.handle());
    if (file == null || file.kind() == OpenFile.Kind.SOCKET) {
      hook.onHost(n);
      return;
    }
    int out = Descriptors.borrow(n, n.intArg(0));
    if (out < 0) {
      n.answer(out);
      return;
    }
    long r;
    try {
      r = toHost(n, file, out);
    } finally {
      Linux.close(out);
    }
    hook.answer(n, r);
  }

  private long toHost(Notification n, OpenFile file, int out) {
    MemorySegment scratch = n.statScratch();
    long r = Linux.fstat(out, scratch.address());
    if (r < 0) {
      return r;
    }
    long flags = Linux.fcntl(out, Fcntl.F_GETFL, 0);
    if ((flags & Fcntl.O_PATH) != 0 || (flags & Fcntl.O_ACCMODE) == Fcntl.O_RDONLY) {
      return -Errno.EBADF;
    }
    boolean regular =
        (scratch.get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT) == Stat.S_IFREG;
    // A pipe or a socket may block for ever: programs read and write then.
    if (!regular || (flags & Fcntl.O_APPEND) != 0 || n.args()[3] < 0) {
      return -Errno.EINVAL;
    }
    long offsetAddress = n.args()[2];
    long position = -1;
    if (offsetAddress != 0) {
      r = n.memory().read(offsetAddress, scratch, 0, 8);
      if (r < 0) {
        return hook.calls().memoryError(n, r);
      }
      position = scratch.get(ValueLayout.JAVA_LONG, 0);
      if (position < 0) {
        return -Errno.EINVAL;
      }
    }
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      r = hook.calls().begin(n);
      if (r < 0) {
        return r;
      }
      try {
        r = toHost(n, file, out, position, Math.min(n.args()[3], MAX_BYTES));
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
    if (offsetAddress != 0) {
      scratch.set(ValueLayout.JAVA_LONG, 0, position + Math.max(r, 0));
      long w = n.memory().write(offsetAddress, scratch, 0, 8);
      return w < 0 ? w : r;
    }
    return r;
  }

  /**
   * @param from where to start, -1 for the file's own position, which moves then
   */
  private long toHost(Notification n, OpenFile file, int out, long from, long count) {
    Call c = n.slot().call();
    Row row = from < 0 ? READ : PREAD;
    long moved = 0;
    while (moved < count) {
      long want = Math.min(count - moved, Call.PIECE_BYTES);
      long have = hook.calls().transfer(n, row, file.handle(), want, from + moved);
      if (have == DeviceCalls.AGAIN) {
        continue;
      }
      if (have <= 0) {
        return moved > 0 ? moved : have;
      }
      have = Math.min(have, want);
      long r = Linux.write(out, c.data.address(), have);
      moved += Math.max(r, 0);
      if (r < have) {
        if (from < 0) {
          hook.calls()
              .service(
                  LSEEK.canonical(), file.handle(), Math.max(r, 0) - have, File.SEEK_CUR, NANOS);
        }
        return moved > 0 ? moved : r;
      }
    }
    return moved;
  }

  /** Within one kernel; between the two programs read and write, as between file systems. */
  private void copyRange(Notification n) {
    Placeholder in = hook.lookup(n, 0);
    Placeholder out = hook.lookup(n, 2);
    if (in == null && out == null) {
      hook.onHost(n);
      return;
    }
    OpenFile from = in == null ? null : hook.files().get(in.handle());
    OpenFile to = out == null ? null : hook.files().get(out.handle());
    if (from == null || to == null) {
      n.answerErrno(Errno.EXDEV);
      return;
    }
    long[] args = n.args().clone();
    args[0] = from.handle();
    args[2] = to.handle();
    hook.answer(n, hook.calls().runAt(n, n.row(), args, from, to));
  }

  private long sendfile(Notification n, Placeholder out, int in, long given, long offsetAddress) {
    long r = checkSource(n, in, given, offsetAddress != 0);
    if (r < 0) {
      return r;
    }
    MemorySegment scratch = n.statScratch();
    long size =
        (scratch.get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT) == Stat.S_IFREG
            ? scratch.get(ValueLayout.JAVA_LONG, STAT_SIZE)
            : 0;
    long position = offsetAddress != 0 ? given : r;
    long count = Math.min(n.args()[3], MAX_BYTES);
    long sent = count == 0 ? 0 : send(n, out, in, position, count, size);
    long moved = Math.max(sent, 0);
    if (offsetAddress != 0) {
      scratch.set(ValueLayout.JAVA_LONG, 0, position + moved);
      // Written even if nothing moved: sendfile64().
      long w = n.memory().write(offsetAddress, scratch, 0, 8);
      return w < 0 ? w : sent;
    }
    if (moved > 0) {
      Linux.lseek(in, position + moved, File.SEEK_SET);
    }
    return sent;
  }

  /**
   * What {@code do_sendfile()} checks of its source, in its order; leaves the file's stat in the
   * notification's scratch.
   *
   * @return the file's position, or {@code -errno}
   */
  private static long checkSource(Notification n, int in, long given, boolean hasOffset) {
    long flags = Linux.fcntl(in, Fcntl.F_GETFL, 0);
    if ((flags & Fcntl.O_PATH) != 0 || (flags & Fcntl.O_ACCMODE) == Fcntl.O_WRONLY) {
      return -Errno.EBADF;
    }
    long position = Linux.lseek(in, 0, File.SEEK_CUR);
    if (position < 0) {
      return hasOffset ? -Errno.ESPIPE : -Errno.EINVAL;
    }
    if ((hasOffset ? given : position) < 0 || n.args()[3] < 0) {
      return -Errno.EINVAL;
    }
    long r = Linux.fstat(in, n.statScratch().address());
    if (r < 0) {
      return r;
    }
    boolean directory =
        (n.statScratch().get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT)
            == Stat.S_IFDIR;
    return directory ? -Errno.EINVAL : position;
  }

  private long send(Notification n, Placeholder out, int in, long from, long count, long size) {
    OpenFile file = hook.files().get(out.handle());
    if (file == null || !file.use()) {
      return -Errno.EBADF;
    }
    long r;
    try {
      int put = file.takeDeferredError();
      if (put != 0) {
        return -put;
      }
      r = hook.calls().begin(n);
      if (r < 0) {
        return r;
      }
      try {
        r = send(n, out, file, in, from, count, size);
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
    if (r == -Errno.EPIPE && file.stream()) {
      FileCalls.raiseSigPipe(n);
    }
    return r;
  }

  private long send(
      Notification n, Placeholder out, OpenFile file, int in, long from, long count, long size) {
    Call c = n.slot().call();
    long moved = 0;
    while (moved < count) {
      long want = Math.min(count - moved, Call.PIECE_BYTES);
      long have =
          Linux.syscall(SyscallNumbers.PREAD64, in, c.data.address(), want, from + moved, 0, 0);
      if (have <= 0) {
        return moved > 0 ? moved : have;
      }
      boolean more = have == want && moved + have < count && from + moved + have < size;
      long r;
      do {
        c.start(SENDTO.canonical());
        c.toDevice = have;
        c.args[0] = out.handle();
        c.args[2] = have;
        c.args[3] = more ? MSG_MORE : 0;
        c.args[4] = Call.NULL;
        r = hook.calls().execute(n, n.slot());
      } while (r == DeviceCalls.AGAIN);
      hook.calls().sampled(n, out, n.slot());
      if (r < 0) {
        if (moved == 0) {
          return r;
        }
        if (r != -Errno.EAGAIN && r != -Errno.EINTR && r != -Errno.ERESTARTSYS) {
          file.deferError((int) -r);
        }
        return moved;
      }
      moved += r;
      if (r < have) {
        return moved;
      }
    }
    return moved;
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
    int put = file.takeDeferredError();
    if (put != 0) {
      return -put;
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
          file.deferError((int) -r);
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
