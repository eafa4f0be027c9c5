// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Splice;
import dev.outboard.abi.Stat;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Serves splice, and sendfile into a pipe. The program's pipes are the host's kernel's; between one
 * of them and a file of the device the bytes cross the channel, as by read and write. What {@code
 * do_splice()} checks is checked here, in its order.
 *
 * <p>No byte is lost on the way, whichever end stops:
 *
 * <ul>
 *   <li><b>From a pipe</b> bytes are copied ({@code tee(2)}), sent, and then taken out of the pipe
 *       as far as the device took them. What it did not take was never taken out.
 *   <li><b>Into a pipe</b> no more is asked of the device than the pipe has room for. If somebody
 *       else has filled it meanwhile, what is too much goes back: a file's position moves back, and
 *       what came from a stream is kept for its next receive ({@link OpenFile#keepAgain}). A
 *       datagram is cut, as natively.
 * </ul>
 *
 * <p>Waits are where they are natively: for a pipe in the hook ({@link DeviceCalls#awaitHost}), for
 * a socket in the device's kernel.
 *
 * <p>Called on notifier threads. Owns descriptors of its own.
 */
final class Splices implements AutoCloseable {
  /** {@code MAX_RW_COUNT}: what one call moves at most. */
  private static final long MAX_BYTES = 0x7ffff000L;

  private static final int PAGE = 4096;
  private static final long NANOS = 1_000_000_000;

  /** What {@link #fill} answers if the pipe took nothing, and nothing is lost. */
  private static final long FULL = Long.MIN_VALUE + 1;

  // Arguments of splice.
  private static final int IN = 0;
  private static final int OUT = 2;
  private static final int LENGTH = 4;
  private static final int FLAGS = 5;

  private static final Row READ = SyscallTable.row("read");
  private static final Row PREAD = SyscallTable.row("pread64");
  private static final Row WRITE = SyscallTable.row("write");
  private static final Row PWRITE = SyscallTable.row("pwrite64");
  private static final Row LSEEK = SyscallTable.row("lseek");
  private static final Row SENDTO = SyscallTable.row("sendto");
  private static final Row IOCTL = SyscallTable.row("ioctl");
  private static final Row RECVFROM = SyscallTable.row("recvfrom");

  private final Hook.Services hook;
  private final SparePipes spares = new SparePipes();
  private final PipeLocks locks = new PipeLocks();
  private final int nowhere;

  Splices(Hook.Services hook) {
    this.hook = hook;
    MemorySegment path = Arena.global().allocateFrom("/dev/null");
    this.nowhere = (int) Linux.open(path.address(), Fcntl.O_WRONLY | Fcntl.O_CLOEXEC);
    if (nowhere < 0) {
      throw new IllegalStateException("/dev/null: " + Errno.name(-nowhere));
    }
  }

  void register(Handlers handlers) {
    handlers.register(this::splice, "splice");
    handlers.register(this::tee, "tee");
  }

  private void splice(Notification n) {
    Placeholder in = hook.lookup(n, IN);
    Placeholder out = hook.lookup(n, OUT);
    if (in != null) {
      hook.answer(n, out != null ? within(n, in, out, OUT) : across(n, in, true));
    } else if (out != null) {
      hook.answer(n, across(n, out, false));
    } else {
      hook.onHost(n);
    }
  }

  /**
   * Two pipes of one kernel, or EINVAL: it traps only where the device may have FIFOs, and regular
   * files, for whose placeholders the host's kernel has another errno.
   */
  private void tee(Notification n) {
    Placeholder in = hook.lookup(n, 0);
    Placeholder out = hook.lookup(n, 1);
    if (in != null && out != null) {
      hook.answer(n, within(n, in, out, 1));
    } else if (in == null && out == null) {
      hook.onHost(n);
    } else if (n.args()[2] == 0) {
      n.answer(0);
    } else {
      OpenFile from = in == null ? null : hook.files().get(in.handle());
      OpenFile to = out == null ? null : hook.files().get(out.handle());
      boolean usable =
          (from == null ? isUsable(n, 0, Fcntl.O_WRONLY) : from.readable())
              && (to == null ? isUsable(n, 1, Fcntl.O_RDONLY) : to.writable());
      n.answerErrno(usable ? Errno.EINVAL : Errno.EBADF);
    }
  }

  /** Whether a descriptor of the host, argument {@code index}, is not open {@code useless} only. */
  private static boolean isUsable(Notification n, int index, int useless) {
    int fd = Descriptors.borrow(n, n.intArg(index));
    if (fd < 0) {
      return false;
    }
    long flags = Linux.fcntl(fd, Fcntl.F_GETFL, 0);
    Linux.close(fd);
    return (flags & Fcntl.O_PATH) == 0 && (flags & Fcntl.O_ACCMODE) != useless;
  }

  /**
   * Both are the device's: one is a FIFO there, or its kernel says what is wrong.
   *
   * @param toIndex which argument {@code out} is
   */
  private long within(Notification n, Placeholder in, Placeholder out, int toIndex) {
    OpenFile from = hook.files().get(in.handle());
    OpenFile to = hook.files().get(out.handle());
    if (from == null || to == null) {
      return -Errno.EBADF;
    }
    long[] args = n.args().clone();
    args[IN] = in.handle();
    args[toIndex] = out.handle();
    long r = hook.calls().runAt(n, n.row(), args, from, to, in);
    if (r == -Errno.EPIPE) {
      r = broken(n, out, to);
    } else if (r == -Errno.EAGAIN) {
      hook.calls().sample(n, out); // the call told of the first descriptor only
    }
    return r;
  }

  /** One is the device's, the other the host's, which has to be a pipe. */
  private long across(Notification n, Placeholder p, boolean toPipe) {
    OpenFile file = hook.files().get(p.handle());
    if (file == null) {
      return -Errno.EBADF;
    }
    if (n.args()[LENGTH] == 0) {
      return 0;
    }
    if ((n.intArg(FLAGS) & ~Splice.SPLICE_F_ALL) != 0) {
      return -Errno.EINVAL;
    }
    int pipe = Descriptors.borrow(n, n.intArg(toPipe ? OUT : IN));
    if (pipe < 0) {
      return pipe;
    }
    try {
      return across(n, p, file, pipe, toPipe);
    } finally {
      Linux.close(pipe);
    }
  }

  private long across(Notification n, Placeholder p, OpenFile file, int pipe, boolean toPipe) {
    MemorySegment scratch = n.statScratch();
    long r = Linux.fstat(pipe, scratch.address());
    if (r < 0) {
      return r;
    }
    boolean isPipe =
        (scratch.get(ValueLayout.JAVA_INT, Processes.STAT_MODE) & Stat.S_IFMT) == Stat.S_IFIFO;
    long inode = scratch.get(ValueLayout.JAVA_LONG, Processes.STAT_INO);
    long pipeFlags = Linux.fcntl(pipe, Fcntl.F_GETFL, 0);
    long ofPipe = n.args()[toPipe ? OUT + 1 : IN + 1];
    long ofFile = n.args()[toPipe ? IN + 1 : OUT + 1];
    if ((pipeFlags & Fcntl.O_PATH) != 0) {
      return -Errno.EBADF;
    }
    if (isPipe && ofPipe != 0) {
      return -Errno.ESPIPE;
    }
    if (ofPipe != 0) {
      r = n.memory().read(ofPipe, scratch, 0, Long.BYTES);
    }
    long position = -1;
    if (ofFile != 0 && r >= 0) {
      r = n.memory().read(ofFile, scratch, 0, Long.BYTES);
      position = scratch.get(ValueLayout.JAVA_LONG, 0);
    }
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    long useless = toPipe ? Fcntl.O_RDONLY : Fcntl.O_WRONLY;
    boolean usable = toPipe ? file.readable() : file.writable();
    if (!usable || (pipeFlags & Fcntl.O_ACCMODE) == useless) {
      return -Errno.EBADF;
    }
    boolean socket = file.kind() == OpenFile.Kind.SOCKET;
    long length = n.args()[LENGTH];
    if (!isPipe
        || (socket && ofFile != 0)
        || (!toPipe && file.appends())
        || length < 0
        || (ofFile != 0 && (position < 0 || position + length < 0))) {
      return -Errno.EINVAL;
    }
    int flags = n.intArg(FLAGS);
    boolean waits = (flags & Splice.SPLICE_F_NONBLOCK) == 0 && (pipeFlags & Fcntl.O_NONBLOCK) == 0;
    length = Math.min(length, MAX_BYTES);
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      r = hook.calls().begin(n);
      if (r < 0) {
        return r;
      }
      try {
        r =
            toPipe
                ? toPipe(n, p, file, pipe, position, length, waits)
                : fromPipe(n, p, file, pipe, inode, position, length, waits);
      } finally {
        hook.calls().end(n);
      }
      if (r == -Errno.EPIPE && !toPipe) {
        r = broken(n, p, file);
      }
    } finally {
      hook.calls().unuse(file);
    }
    if (r >= 0 && ofFile != 0) {
      scratch.set(ValueLayout.JAVA_LONG, 0, position + r);
      long w = n.memory().write(ofFile, scratch, 0, Long.BYTES);
      return w < 0 ? w : r;
    }
    // As do_splice() has it of a file that cannot be spliced, or not at a position.
    return r == -Errno.EISDIR || (r == -Errno.ESPIPE && ofFile != 0) ? -Errno.EINVAL : r;
  }

  private static boolean raisesSigPipe(OpenFile to) {
    return to.kind() != OpenFile.Kind.SOCKET || to.stream();
  }

  /** What becomes of EPIPE from a file of the device; the caller gets the signal, if it does. */
  long broken(Notification n, Placeholder p, OpenFile to) {
    long r = hook.calls().brokenPipe(n, p, to);
    if (r == -Errno.EPIPE && raisesSigPipe(to)) {
      FileCalls.raiseSigPipe(n);
    }
    return r;
  }

  // ---- into a pipe ----

  /**
   * Moves bytes of a file of the device into a pipe, as much as there is and fits, at least one if
   * it may wait. Between {@link DeviceCalls#begin} and its end.
   *
   * @param pipe the hook's own copy of the program's descriptor
   * @param position where in the file, or -1 for its own position, which moves then
   * @param waits whether to wait for room; for the file's bytes its own O_NONBLOCK counts
   * @return bytes, or {@code -errno}; with EPIPE the caller got its signal
   */
  long toPipe(
      Notification n,
      Placeholder p,
      OpenFile file,
      int pipe,
      long position,
      long count,
      boolean waits) {
    for (; ; ) {
      long ready = DeviceCalls.pollNow(n, pipe, Poll.POLLOUT);
      if (ready < 0) {
        return ready;
      }
      if ((ready & Poll.POLLERR) != 0) {
        FileCalls.raiseSigPipe(n);
        return -Errno.EPIPE;
      }
      if ((ready & Poll.POLLOUT) != 0) {
        long r = fill(n, p, file, pipe, position, count);
        if (r == -Errno.EPIPE) {
          FileCalls.raiseSigPipe(n);
        }
        if (r != FULL) {
          return r;
        }
      }
      if (!waits) {
        return -Errno.EAGAIN;
      }
      ready = hook.calls().awaitHost(n, pipe, Poll.POLLOUT);
      if (ready < 0) {
        return ready;
      }
    }
  }

  private long fill(
      Notification n, Placeholder p, OpenFile file, int pipe, long position, long count) {
    long address = n.slot().call().data.address();
    long room = Math.min(count, room(n, pipe));
    boolean regular = file.kind() == OpenFile.Kind.REGULAR;
    long moved = 0;
    while (moved < room) {
      long want = Math.min(room - moved, Call.PIECE_BYTES);
      long have = receive(n, p, file, want, position < 0 ? -1 : position + moved, moved > 0);
      if (have == DeviceCalls.AGAIN) {
        continue;
      }
      if (have <= 0) {
        return moved > 0 ? moved : have;
      }
      have = Math.min(have, want);
      long put = spares.put(pipe, address, have);
      if (put < have) {
        giveBack(n, p, file, Math.max(put, 0), have, position);
        moved += Math.max(put, 0);
        return moved > 0 ? moved : put == -Errno.EAGAIN ? FULL : put;
      }
      moved += have;
      // A queue that had less has no more; a file had less only at its end.
      if (!regular && (have < want || !file.stream() || file.messages())) {
        break;
      }
    }
    return moved;
  }

  /** About as many bytes as fit: what is in a pipe may take up more room than it has bytes. */
  private static long room(Notification n, int pipe) {
    long size = Linux.fcntl(pipe, Fcntl.F_GETPIPE_SZ, 0);
    long used = inside(n, pipe);
    return Math.max(PAGE, size - (used + PAGE - 1) / PAGE * PAGE);
  }

  /** How many bytes are in a pipe. */
  private static long inside(Notification n, int pipe) {
    MemorySegment scratch = n.pollScratch();
    long r = Linux.ioctl(pipe, Ioctl.FIONREAD, scratch.address());
    return r < 0 ? 0 : scratch.get(ValueLayout.JAVA_INT, 0);
  }

  /** Receives to the start of the slot's data; bytes, {@code -errno}, or AGAIN. */
  private long receive(
      Notification n, Placeholder p, OpenFile file, long count, long position, boolean goesOn) {
    if (file.keeps()) {
      byte[] kept = file.takeKept(count, false);
      if (!file.keeps()) {
        FileCalls.showKept(p, file);
        hook.calls().sampleNow(n, p);
      }
      MemorySegment.copy(kept, 0, n.slot().call().data, ValueLayout.JAVA_BYTE, 0, kept.length);
      if (kept.length > 0) {
        return kept.length;
      }
    }
    if (file.kind() != OpenFile.Kind.SOCKET) {
      long r =
          hook.calls().transfer(n, position < 0 ? READ : PREAD, file.handle(), count, position);
      hook.calls().sampled(n, p, n.slot(), sourceIndex(n));
      return r;
    }
    if (file.isTcp() && isAtMark(n, p, file)) {
      return goesOn ? -Errno.EAGAIN : nothingBefore(n, p, file);
    }
    Call c = n.slot().call();
    c.start(RECVFROM.canonical());
    c.carried = count;
    c.receives = true;
    c.args[0] = file.handle();
    c.args[2] = count;
    c.args[3] = goesOn ? Socket.MSG_DONTWAIT : 0;
    c.args[4] = Call.NULL;
    c.args[5] = Call.NULL;
    long r = hook.calls().execute(n, n.slot());
    hook.calls().sampled(n, p, n.slot(), sourceIndex(n));
    return r;
  }

  /**
   * Whether urgent data are next, before which a splice stops and a receive does not: {@code
   * tcp_read_sock()}.
   */
  private boolean isAtMark(Notification n, Placeholder p, OpenFile file) {
    if (!p.watched()) {
      hook.calls().watch(n, p);
    }
    if (!p.hadUrgent()) {
      return false;
    }
    Call c = n.slot().call();
    c.start(IOCTL.canonical());
    c.fromDevice = Integer.BYTES;
    c.args[0] = file.handle();
    c.args[1] = Ioctl.SIOCATMARK;
    return hook.calls().execute(n, n.slot()) == 0 && c.data.get(ValueLayout.JAVA_INT, 0) != 0;
  }

  /** What a splice ends with that finds urgent data only: {@code tcp_splice_read()}. */
  private long nothingBefore(Notification n, Placeholder p, OpenFile file) {
    long error = hook.calls().takeError(n, file.handle());
    hook.calls().sampleNow(n, p);
    if (error != 0) {
      return -Math.abs(error);
    }
    return (p.mask() & Poll.POLLRDHUP) == 0 && p.nonBlocking() ? -Errno.EAGAIN : 0;
  }

  /** Which argument of the notification's call the source is: sendfile has it second. */
  private static int sourceIndex(Notification n) {
    return n.row().argCount() == 4 ? 1 : IN;
  }

  /** Somebody else has filled the pipe meanwhile, or closed it: what it did not take goes back. */
  private void giveBack(
      Notification n, Placeholder p, OpenFile file, long from, long to, long position) {
    if (position >= 0) {
      return;
    }
    if (file.kind() == OpenFile.Kind.SOCKET) {
      if (!file.stream() || file.messages()) {
        return; // the rest of a datagram
      }
    } else if (hook.calls()
            .service(LSEEK.canonical(), file.handle(), from - to, File.SEEK_CUR, NANOS)
        >= 0) {
      return;
    }
    MemorySegment data = n.slot().call().data;
    file.keepAgain(data.asSlice(from, to - from).toArray(ValueLayout.JAVA_BYTE));
    FileCalls.showKept(p, file);
  }

  // ---- out of a pipe ----

  private long fromPipe(
      Notification n,
      Placeholder p,
      OpenFile file,
      int pipe,
      long inode,
      long position,
      long count,
      boolean waits) {
    int put = file.takeDeferredError();
    if (put != 0) {
      return hook.calls().told(n, p, file, put);
    }
    long address = n.slot().call().data.address();
    long moved = 0;
    while (moved < count) {
      long have;
      long sent = 0;
      if (!locks.tryLock(inode)) {
        n.willBlock();
        locks.lock(inode);
      }
      try {
        have = spares.peek(pipe, address, Math.min(count - moved, Call.PIECE_BYTES));
        if (have > 0) {
          boolean more =
              (n.intArg(FLAGS) & Splice.SPLICE_F_MORE) != 0
                  || (have < count - moved && inside(n, pipe) > have);
          sent = send(n, p, file, have, position < 0 ? -1 : position + moved, more);
          sent = Math.min(sent, have);
          drop(pipe, sent);
        }
      } finally {
        locks.unlock(inode);
      }
      if (have <= 0) {
        if (moved > 0 || have == 0) {
          return moved;
        }
        if (have != -Errno.EAGAIN || !waits) {
          return have;
        }
        have = hook.calls().awaitHost(n, pipe, Poll.POLLIN);
        if (have < 0) {
          return have;
        }
        continue;
      }
      if (sent == -Errno.EPIPE && moved > 0 && raisesSigPipe(file)) {
        FileCalls.raiseSigPipe(n); // though the call says what went before
      }
      if (sent < 0) {
        return moved > 0 ? moved : sent;
      }
      moved += sent;
      if (sent < have) {
        break;
      }
    }
    return moved;
  }

  /** Sends what is at the start of the slot's data. */
  private long send(
      Notification n, Placeholder p, OpenFile file, long count, long position, boolean more) {
    boolean socket = file.kind() == OpenFile.Kind.SOCKET;
    Call c = n.slot().call();
    long r;
    do {
      c.start((socket ? SENDTO : position < 0 ? WRITE : PWRITE).canonical());
      c.toDevice = count;
      c.carried = count;
      c.args[0] = file.handle();
      c.args[2] = count;
      if (socket) {
        c.args[3] = more ? Socket.MSG_MORE : 0;
        c.args[4] = Call.NULL;
      } else {
        c.args[3] = position < 0 ? 0 : position;
      }
      r = hook.calls().execute(n, n.slot());
    } while (r == DeviceCalls.AGAIN);
    hook.calls().sampled(n, p, n.slot(), OUT);
    return r;
  }

  /** Takes bytes out of a pipe that it is known to have. */
  private void drop(int pipe, long count) {
    long left = count;
    while (left > 0) {
      long r = Linux.splice(pipe, nowhere, left, Splice.SPLICE_F_NONBLOCK);
      if (r <= 0) {
        return; // a reader who does not know of the lock was faster
      }
      left -= r;
    }
  }

  @Override
  public void close() {
    spares.close();
    Linux.close(nowhere);
  }
}
