// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;

/** This process's standard streams. */
final class Streams {
  private static final int AT_FDCWD = -100;
  private static final int O_RDWR_CLOEXEC = 02 | 02000000;

  private Streams() {}

  /** Lets standard stream {@code fd} be {@code path} from now on; whatever it was is released. */
  static void redirect(int fd, String path) {
    try (Arena arena = Arena.ofConfined()) {
      long opened =
          Linux.syscall(
              SyscallNumbers.OPENAT,
              AT_FDCWD,
              Linux.cString(arena, path).address(),
              O_RDWR_CLOEXEC,
              0,
              0,
              0);
      if (opened >= 0) {
        Linux.syscall(SyscallNumbers.DUP3, opened, fd, 0);
        Linux.close((int) opened);
      }
    }
  }
}
