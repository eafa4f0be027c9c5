// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Memory;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;

/**
 * Memory files that are shared with somebody who is not trusted: their size never changes, so
 * neither side can make the other's accesses fault ({@code memfd_create(2)}).
 */
public final class SealedMemory {
  private SealedMemory() {}

  /**
   * Makes one of zeros, whose pages take room when they are touched.
   *
   * @param name what {@code /proc} shows
   * @return a close-on-exec descriptor, the caller's, or {@code -errno}
   */
  public static int create(String name, long bytes) {
    return create(name, bytes, false);
  }

  /** The same with all its pages there. */
  public static int allocate(String name, long bytes) {
    return create(name, bytes, true);
  }

  private static int create(String name, long bytes, boolean allocated) {
    try (Arena a = Arena.ofConfined()) {
      int fd =
          (int)
              Linux.memfdCreate(
                  Linux.cString(a, name).address(), Memory.MFD_CLOEXEC | Memory.MFD_ALLOW_SEALING);
      if (fd < 0) {
        return fd;
      }
      long r =
          allocated
              ? Linux.syscall(SyscallNumbers.FALLOCATE, fd, 0, 0, bytes, 0, 0)
              : Linux.ftruncate(fd, bytes);
      if (r == 0) {
        r =
            Linux.fcntl(
                fd,
                Memory.F_ADD_SEALS,
                Memory.F_SEAL_SHRINK | Memory.F_SEAL_GROW | Memory.F_SEAL_SEAL);
      }
      if (r < 0) {
        Linux.close(fd);
        return (int) r;
      }
      return fd;
    }
  }
}
