// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FuseWire.DOT;
import static dev.outboard.virtio.FuseWire.EMPTY;
import static dev.outboard.virtio.FuseWire.PATH;
import static dev.outboard.virtio.FuseWire.STATX;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/**
 * Calls of the host's kernel that several operations of a {@link FuseServer} make. What they are
 * asked with lies in a request's scratch memory, see {@link FuseWire}; results are as the kernel's.
 */
final class FuseHost {
  private static final byte[] FD_PATH = "/proc/self/fd/".getBytes(StandardCharsets.US_ASCII);

  /** Room for {@link #path}. */
  static final int PATH_BYTES = 32;

  private FuseHost() {}

  /** What the kernel says about a descriptor, to {@link FuseWire#STATX}. */
  static long statx(MemorySegment s, int fd) {
    return statx(s, fd, EMPTY, STATX);
  }

  /** The same, with an empty string and room for the answer elsewhere in {@code s}. */
  static long statx(MemorySegment s, int fd, long empty, long to) {
    return Linux.syscall(
        SyscallNumbers.STATX,
        fd,
        s.address() + empty,
        Fcntl.AT_EMPTY_PATH,
        Stat.STATX_WANTED,
        s.address() + to,
        0);
  }

  static long openAt(int fd, long path, int flags, int mode) {
    return Linux.syscall(SyscallNumbers.OPENAT, fd, path, flags, mode, 0, 0);
  }

  /** Opens the directory that a path descriptor stands for. */
  static long openDirectory(MemorySegment s, int fd) {
    s.set(JAVA_SHORT, DOT, (short) '.');
    int flags = Fcntl.O_RDONLY | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC;
    return openAt(fd, s.address() + DOT, flags, 0);
  }

  /**
   * What is kept of the program's flags. The rest is the kernel's business, or said with each
   * write.
   */
  static int keptFlags(int flags) {
    return (flags & (Fcntl.O_ACCMODE | Fcntl.O_NOATIME)) | Fcntl.O_CLOEXEC;
  }

  /** Opens what a path descriptor stands for; the link of /proc leads to it and nowhere else. */
  static long reopen(MemorySegment s, Node at, int flags) {
    if (at.type != Stat.S_IFREG) {
      return -Errno.EINVAL;
    }
    return openAt(Fcntl.AT_FDCWD, path(s, at.fd), keptFlags(flags) | Fcntl.O_NONBLOCK, 0);
  }

  /** The same, for reading, with room for a path elsewhere in {@code s}. */
  static long reopen(MemorySegment s, int fd, long path) {
    return openAt(
        Fcntl.AT_FDCWD, path(s, fd, path), Fcntl.O_RDONLY | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC, 0);
  }

  /** Whether this process may read what a path descriptor stands for: 0, or {@code -errno}. */
  static long mayRead(MemorySegment s, int fd, long empty) {
    return Linux.syscall(
        SyscallNumbers.FACCESSAT2,
        fd,
        s.address() + empty,
        Fcntl.R_OK,
        Fcntl.AT_EMPTY_PATH | Fcntl.AT_EACCESS,
        0,
        0);
  }

  /** {@code /proc/self/fd/N}: the file of a path descriptor, for calls that take none. */
  static long path(MemorySegment s, int fd) {
    return path(s, fd, PATH);
  }

  private static long path(MemorySegment s, int fd, long to) {
    MemorySegment.copy(FD_PATH, 0, s, JAVA_BYTE, to, FD_PATH.length);
    long at = to + FD_PATH.length;
    int digits = 1;
    for (int n = fd; n >= 10; n /= 10) {
      digits++;
    }
    int n = fd;
    for (int i = digits - 1; i >= 0; i--) {
      s.set(JAVA_BYTE, at + i, (byte) ('0' + n % 10));
      n /= 10;
    }
    s.set(JAVA_BYTE, at + digits, (byte) 0);
    return s.address() + to;
  }
}
