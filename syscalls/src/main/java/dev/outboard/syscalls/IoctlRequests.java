// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;

/** The sub-table of ioctl requests. */
public final class IoctlRequests {
  private IoctlRequests() {}

  static long encode(long[] a, ProgramMemory m, Call out) {
    return -Errno.ENOTTY;
  }

  static long decode(long[] a, Call done, ProgramMemory m) {
    return 0;
  }
}
