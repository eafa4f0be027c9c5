// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;

/** The sub-table of socket options. */
public final class SocketOptions {
  private SocketOptions() {}

  static long encodeSet(long[] a, ProgramMemory m, Call out) {
    return -Errno.ENOPROTOOPT;
  }

  static long encodeGet(long[] a, ProgramMemory m, Call out) {
    return -Errno.ENOPROTOOPT;
  }

  static long decodeGet(long[] a, Call done, ProgramMemory m) {
    return 0;
  }
}
