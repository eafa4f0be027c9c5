// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Fcntl;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Whether a thread's capabilities mean what the hook's mean. */
final class UserNamespaces {
  private UserNamespaces() {}

  /**
   * Whether a thread is in the hook's own user namespace. In another one it may have every
   * capability and be nobody outside; {@code user_namespaces(7)}.
   */
  static boolean isOurs(int tid) {
    try (Arena a = Arena.ofConfined()) {
      long ours = inode(a, "/proc/self/ns/user");
      return ours != 0 && ours == inode(a, "/proc/" + tid + "/ns/user");
    }
  }

  private static long inode(Arena a, String path) {
    MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
    long r = Processes.fstatat(Fcntl.AT_FDCWD, Linux.cString(a, path).address(), stat.address(), 0);
    return r < 0 ? 0 : stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO);
  }
}
