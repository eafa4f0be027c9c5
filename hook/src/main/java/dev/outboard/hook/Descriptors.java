// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.SyscallTable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Which of a program's descriptors are device fds.
 *
 * <p>The truth is the inode behind {@code /proc/PID/fd/N}: if it is a placeholder's, the descriptor
 * is a device fd, whatever way it came there. A look-up costs some microseconds, so a process's
 * entry remembers results. Wrong knowledge would send a call to the wrong kernel; so a result is
 * kept only while nothing can have changed what the number refers to:
 *
 * <ul>
 *   <li>Only open numbers are remembered. A call that <em>makes</em> a descriptor (open, socket,
 *       accept, dup, F_DUPFD, recvmsg with SCM_RIGHTS, pidfd_getfd …) takes a free number, which is
 *       not remembered, since:
 *   <li>a number is freed or redirected only by close, dup2, dup3, close_range and exec. All of
 *       these trap, whoever calls them; before they are continued the numbers are forgotten, and
 *       they stay unknown until the calling thread's next notification (or its end, or a look that
 *       finds it asleep in another call), for only that proves that the call has been carried out.
 *       Until then another thread's look-up may find the old file, and its result is used but not
 *       kept ({@link ProcessEntry#closing}).
 *   <li>A look-up that overlaps any of these is not kept either: {@link ProcessEntry#version}.
 *   <li>A new process knows nothing. exec is a close of every number; if another thread than the
 *       leader called it, that thread's end (its TID is gone) settles it.
 *   <li>Tables that are shared between processes (CLONE_FILES without CLONE_THREAD) or not shared
 *       between threads (unshare, CLONE_THREAD without CLONE_FILES) are never remembered, in that
 *       process and in the children it has from then on.
 *   <li>A placeholder's inode number is forgotten with it, and a remembered placeholder that is
 *       {@link Placeholder#gone} is looked up anew.
 * </ul>
 *
 * <p>A process that never had the chance to get a device fd needs no look-up at all ({@link
 * ProcessEntry#mayHoldDevice}): none was installed in it, it has no ancestor with one, and it has
 * received no message with descriptors and taken none by pidfd_getfd.
 *
 * <p>What no supervisor can exclude: a program that redirects a number in one thread while another
 * thread is between the look-up and the continued call. Natively that call would act on either
 * file; here it may act on the placeholder, where reads wait and writes are dropped.
 */
final class Descriptors {
  private static final int PIDFD_THREAD = 0x80;

  /** A process's closes are not looked after more often. */
  private static final long LOOK_NANOS = 500_000;

  /** What {@link #closing} is said of. */
  private static final List<Integer> CLOSING =
      Stream.of("close", "dup2", "dup3", "close_range", "execve", "execveat")
          .map(name -> SyscallTable.row(name).x86())
          .toList();

  private final Placeholders placeholders;
  private final OpenFiles files;
  private final long socketDevice;
  private final long memoryDevice;

  Descriptors(Placeholders placeholders, OpenFiles files) {
    this.files = files;
    this.placeholders = placeholders;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = Linux.cString(arena, "");
      this.socketDevice =
          deviceOf(arena, Linux.socket(Socket.AF_UNIX, Socket.SOCK_STREAM | Fcntl.O_CLOEXEC, 0));
      this.memoryDevice = deviceOf(arena, Linux.memfdCreate(name.address(), Memory.MFD_CLOEXEC));
    }
  }

  /**
   * The placeholder behind a descriptor of the caller.
   *
   * @return null if it is the host's, or not open, or cannot be known ({@link
   *     Notification#unreadable} tells)
   */
  @Nullable Placeholder lookup(Notification n, int fd) {
    if (fd < 0) {
      return null;
    }
    ProcessEntry p = n.process();
    if (!p.remembers()) {
      return null;
    }
    Object known = p.known(fd);
    if (known instanceof ProcessEntry.Host) {
      return null;
    }
    if (known instanceof Placeholder h && !h.gone()) {
      h.heldBy(p.pidfd(), fd);
      return h;
    }
    long version = p.version();
    int mark = p.mark(fd);
    long r = stat(n, p, fd);
    if (r < 0) {
      if (r == -Errno.EACCES || r == -Errno.EPERM) {
        n.setUnreadable();
      }
      return null;
    }
    MemorySegment stat = n.statScratch();
    int type = stat.get(JAVA_INT_UNALIGNED, Processes.STAT_MODE) & Stat.S_IFMT;
    long device = stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV);
    long inode = stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO);
    Placeholder found =
        type == Stat.S_IFSOCK && device == socketDevice
            ? placeholders.byInode(inode)
            : type == Stat.S_IFREG && device == memoryDevice
                ? placeholders.memoryByInode(inode)
                : null;
    if (found == null) {
      p.learnHost(fd, version, mark);
    } else {
      p.learnDevice(fd, found, files.get(found.handle()), version, mark);
      found.heldBy(p.pidfd(), fd);
    }
    return found;
  }

  /** The number of the file system in which placeholders of regular files are. */
  long memoryDevice() {
    return memoryDevice;
  }

  /** The placeholder whose end B is inode {@code inode} of file system {@code device}, or null. */
  @Nullable Placeholder socket(long inode, long device) {
    return device == socketDevice ? placeholders.byInode(inode) : null;
  }

  /**
   * The caller is about to close, or to redirect, the numbers from {@code first} to last.
   *
   * @param holds as {@link ProcessEntry#closing} has it
   */
  void closing(Notification n, int first, int last, boolean holds) {
    n.thread().hasClosing = true;
    n.process().closing(n.thread().tid(), first, last, holds);
  }

  /** The thread makes another call: what it was about to close is closed. */
  void arrived(ThreadEntry t) {
    if (t.hasClosing) {
      t.hasClosing = false;
      // The next call may go to the device without being seen here.
      placeholders.reapClosing();
      t.process().settled(t.tid());
    }
    ProcessEntry p = t.process();
    if (p.anyClosing() && p.shim().lent) {
      settleOthers(p);
    }
  }

  /**
   * All calls of a process trap while one of its threads may still be closing. If that one sleeps
   * in another call, it has closed.
   */
  private void settleOthers(ProcessEntry p) {
    long now = System.nanoTime();
    if (now - p.closersLookedAt < LOOK_NANOS) {
      return;
    }
    p.closersLookedAt = now;
    int turn = p.closeTurn();
    for (int tid : p.closers()) {
      int number = callOf(p, tid);
      if (number >= 0 && !CLOSING.contains(number)) {
        placeholders.reapClosing();
        p.settled(tid, turn);
      }
    }
  }

  /** The number of the call in which a thread sleeps; -1 if it does not, or is gone. */
  private static int callOf(ProcessEntry p, int tid) {
    try {
      String line = Files.readString(Path.of("/proc/" + p.pid() + "/task/" + tid + "/syscall"));
      int end = line.indexOf(' '); // "running" has none
      return end < 0 ? -1 : Integer.parseInt(line, 0, end, 10);
    } catch (IOException e) {
      return -1;
    }
  }

  /** Whether a descriptor of the caller is an AF_UNIX socket of the host. */
  static boolean isUnixSocket(Notification n, int fd) {
    int borrowed = borrow(n, fd);
    if (borrowed < 0) {
      return false;
    }
    MemorySegment domain = n.statScratch();
    domain.set(JAVA_INT_UNALIGNED, 8, Integer.BYTES);
    long r =
        Linux.getsockopt(
            borrowed, Socket.SOL_SOCKET, Socket.SO_DOMAIN, domain.address(), domain.address() + 8);
    Linux.close(borrowed);
    return r == 0 && domain.get(JAVA_INT_UNALIGNED, 0) == Socket.AF_UNIX;
  }

  /**
   * A copy of the caller's descriptor, which the hook is to close; or {@code -errno}: EBADF, EPERM.
   */
  static int borrow(Notification n, int fd) {
    if (!n.process().tablesPerThread()) {
      return (int) Linux.pidfdGetfd(n.process().pidfd(), fd);
    }
    long pidfd = Linux.syscall(SyscallNumbers.PIDFD_OPEN, n.tid(), PIDFD_THREAD, 0);
    if (pidfd < 0) {
      return (int) pidfd;
    }
    int r = (int) Linux.pidfdGetfd((int) pidfd, fd);
    Linux.close((int) pidfd);
    return r;
  }

  private static long stat(Notification n, ProcessEntry p, int fd) {
    MemorySegment path = n.pathScratch();
    long at = 0;
    if (p.tablesPerThread()) {
      at = put(path, at, "task/");
      at = put(path, at, n.tid());
      at = put(path, at, "/");
    }
    at = put(path, at, "fd/");
    at = put(path, at, fd);
    path.set(JAVA_BYTE, at, (byte) 0);
    return Processes.fstatat(p.directory(), path.address(), n.statScratch().address(), 0);
  }

  private static long put(MemorySegment to, long at, String ascii) {
    for (int i = 0; i < ascii.length(); i++) {
      to.set(JAVA_BYTE, at + i, (byte) ascii.charAt(i));
    }
    return at + ascii.length();
  }

  private static long put(MemorySegment to, long at, int number) {
    int digits = 1;
    for (int rest = number; rest >= 10; rest /= 10) {
      digits++;
    }
    int rest = number;
    for (int i = digits - 1; i >= 0; i--) {
      to.set(JAVA_BYTE, at + i, (byte) ('0' + rest % 10));
      rest /= 10;
    }
    return at + digits;
  }

  /**
   * The device number of the kernel's own file system that an open file is of; sockets bound to a
   * path and files of a mounted tmpfs have others. Closes the file.
   */
  private static long deviceOf(Arena arena, long fd) {
    if (fd < 0) {
      throw new IllegalStateException("no descriptor: " + Errno.name((int) -fd));
    }
    MemorySegment stat = arena.allocate(Processes.STAT_BYTES, 8);
    long r =
        Processes.fstatat(
            (int) fd, Linux.cString(arena, "").address(), stat.address(), Fcntl.AT_EMPTY_PATH);
    Linux.close((int) fd);
    if (r < 0) {
      throw new IllegalStateException("fstat: " + Errno.name((int) -r));
    }
    return stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV);
  }
}
