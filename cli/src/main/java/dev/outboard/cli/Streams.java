// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;

/** This process's standard streams. */
final class Streams {

  private Streams() {}

  /** Lets standard stream {@code fd} be {@code path} from now on; whatever it was is released. */
  static void redirect(int fd, String path) {
    try (Arena arena = Arena.ofConfined()) {
      long opened =
          Linux.syscall(
              SyscallNumbers.OPENAT,
              Fcntl.AT_FDCWD,
              Linux.cString(arena, path).address(),
              Fcntl.O_RDWR | Fcntl.O_CLOEXEC,
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
