// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Poll;
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
import org.jspecify.annotations.Nullable;

/**
 * Serves sendfile and copy_file_range, which move a file's bytes to another descriptor.
 *
 * <p><b>sendfile</b>, by what its two ends are. What {@code do_sendfile()} has is kept: the
 * position (the file's, or the caller's variable) moves by what was sent, an error counts only if
 * nothing was sent, the end of the file ends the call.
 *
 * <ul>
 *   <li>Device to device: one call there, and no byte crosses.
 *   <li>Host to device: the hook reads the file, through a copy of the program's own descriptor,
 *       straight into the call slot, and sends or writes from there. A source that cannot be sought
 *       in is refused by the host's kernel, be it a placeholder.
 *   <li>Device to host: to a regular file or a block device the hook writes; to a pipe as {@link
 *       Splices} does; to a socket it sends without waiting, and waits where the program would. To
 *       a terminal or another character device, whose writes the hook could not end when a signal
 *       comes, it is EINVAL, and programs read and write.
 * </ul>
 *
 * <p><b>copy_file_range</b> is one call of the device if both files are. Between the two kernels it
 * is EXDEV, which it is natively between two file systems, after the same checks.
 *
 * <p>Called on notifier threads.
 */
final class FileTransfers {
  /** {@code MAX_RW_COUNT}: what one call moves at most. */
  private static final long MAX_BYTES = 0x7ffff000L;

  private static final int STAT_SIZE = 48;

  private static final long NANOS = 1_000_000_000;

  /** What one sendfile on the device moves at most. */
  static final long SENDFILE_BYTES = 16 << 20;

  /** What the kernel hands to a socket at once: sixteen pages, which are one datagram. */
  private static final long SOCKET_BYTES = 1 << 16;

  private static final Row READ = SyscallTable.row("read");
  private static final Row PREAD = SyscallTable.row("pread64");
  private static final Row LSEEK = SyscallTable.row("lseek");
  private static final Row SENDTO = SyscallTable.row("sendto");
  private static final Row WRITE = SyscallTable.row("write");

  private final Hook.Services hook;
  private final Splices splices;
  private final Stats stats;

  FileTransfers(Hook.Services hook, Splices splices, Stats stats) {
    this.hook = hook;
    this.splices = splices;
    this.stats = stats;
  }

  void register(Handlers handlers) {
    handlers.register(this::sendfile, "sendfile");
    handlers.register(this::copyRange, "copy_file_range");
  }

  private void sendfile(Notification n) {
    Placeholder out = hook.lookup(n, 0);
    Placeholder source = hook.lookup(n, 1);
    if (source != null && out != null) {
      hook.answer(n, isFull(n, out, source) ? -Errno.EAGAIN : withinDevice(n, out, source));
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
          r = splices.broken(n, out, to);
        }
        return moved > 0 ? moved : r;
      }
      moved += r;
      if (r < args[3] || moved >= count || moved >= MAX_BYTES) {
        if (r < args[3]) {
          noteFull(n, out, to, from);
        }
        return moved;
      }
    }
  }

  /**
   * What a sendfile has left: the socket takes no more, and the file goes on.
   *
   * @param offsetAddress of the caller's variable, 0 for the file's own position
   * @param position what that variable says now
   * @param made {@link DeviceCalls#made} then
   */
  private record Full(OpenFile out, OpenFile in, long offsetAddress, long position, long made) {}

  /** Notes that another sendfile right after this one would find no room, if the device says so. */
  private void noteFull(Notification n, Placeholder out, OpenFile to, OpenFile from) {
    long position = position(n);
    if (hook.certain() && to.isTcp() && position >= 0 && out.watched() && n.newBirth() == 1) {
      n.thread().found(new Full(to, from, n.args()[2], position, hook.calls().made()));
    }
  }

  /**
   * Whether a sendfile need not be made: the caller's last call that trapped was one between the
   * same two files, has left no room, and none was told of or may have been made since.
   */
  private boolean isFull(Notification n, Placeholder out, Placeholder in) {
    boolean full =
        n.thread().found() instanceof Full f
            && f.out == hook.files().get(out.handle())
            && f.in == hook.files().get(in.handle())
            && f.offsetAddress == n.args()[2]
            && f.made == hook.calls().made()
            && n.args()[3] > 0
            && isFull(out)
            && f.position == position(n)
            && n.valid();
    if (full) {
      hook.calls().wasKnown();
    }
    return full;
  }

  /** Whether a socket that had no room would still say so to a call that does not wait. */
  static boolean isFull(Placeholder out) {
    int any = Poll.POLLOUT | Poll.POLLERR | Poll.POLLHUP;
    return (out.mask() & any) == 0 && out.nonBlocking();
  }

  /** What the caller's variable says; 0 without one, -1 if it cannot be read. */
  private static long position(Notification n) {
    if (n.args()[2] == 0) {
      return 0;
    }
    MemorySegment scratch = n.statScratch();
    return n.memory().read(n.args()[2], scratch, 0, Long.BYTES) < 0
        ? -1
        : scratch.get(ValueLayout.JAVA_LONG, 0);
  }

  /** From a file of the device to a descriptor of the host. */
  private void toHost(Notification n, Placeholder source) {
    OpenFile file = hook.files().get(source.handle());
    if (file == null) {
      n.answerErrno(Errno.EBADF);
      return;
    }
    if (file.kind() == OpenFile.Kind.SOCKET && n.args()[2] != 0) {
      hook.onHost(n); // moves nothing: ESPIPE, for the placeholder as for the socket
      return;
    }
    int out = Descriptors.borrow(n, n.intArg(0));
    if (out < 0) {
      n.answer(out);
      return;
    }
    long r;
    try {
      r = toHost(n, source, file, out);
    } finally {
      Linux.close(out);
    }
    hook.answer(n, r);
  }

  private long toHost(Notification n, Placeholder source, OpenFile file, int out) {
    MemorySegment scratch = n.statScratch();
    long r = Linux.fstat(out, scratch.address());
    if (r < 0) {
      return r;
    }
    int type = scratch.get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT;
    long flags = Linux.fcntl(out, Fcntl.F_GETFL, 0);
    long offsetAddress = n.args()[2];
    long position = -1;
    if (offsetAddress != 0) {
      r = n.memory().read(offsetAddress, scratch, 0, 8);
      if (r < 0) {
        return hook.calls().memoryError(n, r);
      }
      position = scratch.get(ValueLayout.JAVA_LONG, 0);
    }
    if (!file.readable()
        || (flags & Fcntl.O_PATH) != 0
        || (flags & Fcntl.O_ACCMODE) == Fcntl.O_RDONLY) {
      return -Errno.EBADF;
    }
    boolean takes =
        type == Stat.S_IFIFO
            || (file.kind() != OpenFile.Kind.SOCKET
                && (type == Stat.S_IFSOCK
                    || ((type == Stat.S_IFREG || type == Stat.S_IFBLK)
                        && (flags & Fcntl.O_APPEND) == 0)));
    if (!takes || n.args()[3] < 0 || (offsetAddress != 0 && position < 0)) {
      return -Errno.EINVAL;
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
        long count = Math.min(n.args()[3], MAX_BYTES);
        boolean waits = (flags & Fcntl.O_NONBLOCK) == 0;
        r =
            count == 0
                ? 0
                : type == Stat.S_IFIFO
                    ? splices.toPipe(n, source, file, out, position, count, waits)
                    : toHost(n, file, out, position, count, type == Stat.S_IFSOCK, waits);
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
    r = r == -Errno.EISDIR ? -Errno.EINVAL : r;
    if (offsetAddress != 0) {
      scratch.set(ValueLayout.JAVA_LONG, 0, position + Math.max(r, 0));
      // Written even if nothing moved: sendfile64().
      long w = n.memory().write(offsetAddress, scratch, 0, 8);
      return w < 0 ? w : r;
    }
    return r;
  }

  /**
   * @param from where to start, -1 for the file's own position, which moves then
   */
  private long toHost(
      Notification n,
      OpenFile file,
      int out,
      long from,
      long count,
      boolean socket,
      boolean waits) {
    Row row = from < 0 ? READ : PREAD;
    long most = socket ? SOCKET_BYTES : Call.PIECE_BYTES;
    long moved = 0;
    while (moved < count) {
      long want = Math.min(count - moved, most);
      long have = hook.calls().transfer(n, row, file.handle(), want, from + moved);
      if (have == DeviceCalls.AGAIN) {
        continue;
      }
      if (have <= 0) {
        return moved > 0 ? moved : have;
      }
      have = Math.min(have, want);
      long address = n.slot().call().data.address();
      long r =
          socket
              ? sendToHost(n, out, address, have, have == want && moved + have < count, waits)
              : Linux.write(out, address, have);
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

  /**
   * Sends to a socket of the host, all of it if it may wait.
   *
   * @return bytes sent, or {@code -errno} if none were; with EPIPE the caller got its signal
   */
  private long sendToHost(
      Notification n, int out, long address, long count, boolean more, boolean waits) {
    int flags = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | (more ? Socket.MSG_MORE : 0);
    long sent = 0;
    long r = 0;
    while (sent < count && r >= 0) {
      r = Linux.send(out, address + sent, count - sent, flags);
      sent += Math.max(r, 0);
      if (r == -Errno.EAGAIN && waits) {
        r = hook.calls().awaitHost(n, out, Poll.POLLOUT);
      }
    }
    if (r == -Errno.EPIPE && isStream(n, out)) {
      FileCalls.raiseSigPipe(n);
    }
    return sent > 0 ? sent : r;
  }

  private static boolean isStream(Notification n, int socket) {
    MemorySegment type = n.pollScratch();
    type.set(ValueLayout.JAVA_INT, 8, Integer.BYTES);
    long r =
        Linux.getsockopt(
            socket, Socket.SOL_SOCKET, Socket.SO_TYPE, type.address(), type.address() + 8);
    return r == 0 && type.get(ValueLayout.JAVA_INT, 0) == Socket.SOCK_STREAM;
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
      n.answer(-betweenKernels(n, from, to));
      return;
    }
    long[] args = n.args().clone();
    args[0] = from.handle();
    args[2] = to.handle();
    hook.answer(n, hook.calls().runAt(n, n.row(), args, from, to));
  }

  /** What {@code vfs_copy_file_range()} finds wrong before the file systems, or EXDEV. */
  private int betweenKernels(Notification n, @Nullable OpenFile from, @Nullable OpenFile to) {
    OpenFile file = from != null ? from : to;
    int host = Descriptors.borrow(n, n.intArg(from != null ? 2 : 0));
    if (host < 0 || file == null) {
      return Errno.EBADF;
    }
    MemorySegment scratch = n.statScratch();
    long r = Linux.fstat(host, scratch.address());
    long flags = Linux.fcntl(host, Fcntl.F_GETFL, 0);
    Linux.close(host);
    if (r < 0 || (flags & Fcntl.O_PATH) != 0) {
      return Errno.EBADF;
    }
    int type = scratch.get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT;
    if (n.intArg(5) != 0) {
      return Errno.EINVAL;
    }
    boolean socket = file.kind() == OpenFile.Kind.SOCKET;
    if (type == Stat.S_IFDIR || (!socket && stats.type(n, file.handle()) == Stat.S_IFDIR)) {
      return Errno.EISDIR;
    }
    if (type != Stat.S_IFREG || file.kind() != OpenFile.Kind.REGULAR) {
      return Errno.EINVAL;
    }
    boolean reads = from != null ? from.readable() : mode(flags) != Fcntl.O_WRONLY;
    boolean writes =
        to != null
            ? to.writable() && !to.appends()
            : mode(flags) != Fcntl.O_RDONLY && (flags & Fcntl.O_APPEND) == 0;
    return reads && writes ? Errno.EXDEV : Errno.EBADF;
  }

  private static int mode(long flags) {
    return (int) flags & Fcntl.O_ACCMODE;
  }

  private long sendfile(Notification n, Placeholder out, int in, long given, long offsetAddress) {
    OpenFile file = hook.files().get(out.handle());
    boolean writable = file != null && file.writable();
    long r = checkSource(n, in, given, offsetAddress != 0, writable);
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
   * @param writable whether the destination is, which comes before the source's type
   * @return the file's position, or {@code -errno}
   */
  private static long checkSource(
      Notification n, int in, long given, boolean hasOffset, boolean writable) {
    long flags = Linux.fcntl(in, Fcntl.F_GETFL, 0);
    if ((flags & Fcntl.O_PATH) != 0 || (flags & Fcntl.O_ACCMODE) == Fcntl.O_WRONLY) {
      return -Errno.EBADF;
    }
    long position = Linux.lseek(in, 0, File.SEEK_CUR);
    if (position < 0) {
      return hasOffset ? -Errno.ESPIPE : writable ? -Errno.EINVAL : -Errno.EBADF;
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
    return !writable ? -Errno.EBADF : directory ? -Errno.EINVAL : position;
  }

  private long send(Notification n, Placeholder out, int in, long from, long count, long size) {
    OpenFile file = hook.files().get(out.handle());
    if (file == null || !file.writable()) {
      return -Errno.EBADF;
    }
    if (file.appends()) {
      return -Errno.EINVAL;
    }
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      long r = hook.calls().deferredError(n, out, file);
      if (r < 0) {
        return r;
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
      return r == -Errno.EPIPE ? splices.broken(n, out, file) : r;
    } finally {
      hook.calls().unuse(file);
    }
  }

  private long send(
      Notification n, Placeholder out, OpenFile file, int in, long from, long count, long size) {
    boolean socket = file.kind() == OpenFile.Kind.SOCKET;
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
      SendAhead ahead = socket ? hook.ahead() : null;
      long r =
          ahead == null
              ? SendAhead.NOT_TAKEN
              : ahead.send(n, out, file, 0, have, more ? Socket.MSG_MORE : 0);
      boolean wentAhead = r != SendAhead.NOT_TAKEN;
      while (r == SendAhead.NOT_TAKEN || r == DeviceCalls.AGAIN) {
        c.start((socket ? SENDTO : WRITE).canonical());
        c.toDevice = have;
        c.carried = have;
        c.args[0] = out.handle();
        c.args[2] = have;
        if (socket) {
          c.args[3] = more ? Socket.MSG_MORE : 0;
          c.args[4] = Call.NULL;
        }
        r = hook.calls().execute(n, n.slot());
      }
      if (!wentAhead) {
        hook.calls().sampled(n, out, n.slot());
      }
      if (r < 0) {
        if (moved == 0) {
          return r;
        }
        if (r != -Errno.EAGAIN && r != -Errno.EINTR && r != -Errno.ERESTARTSYS) {
          hook.calls().putOff(out, file, (int) -r);
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
}
