// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/**
 * The calling thread as a task of a kernel, with memory to point to: a part of the user region of
 * its own, given out in order.
 */
final class Guest implements AutoCloseable {
  /** Bytes of the user region that one guest has. */
  static final long BYTES = 1 << 20;

  final LinuxKernel kernel;
  final int tid;
  private final MemorySegment memory;
  private long used;

  /** Enters the kernel like task {@code like}, or with files of its own if that is 0. */
  Guest(LinuxKernel kernel, int like, int slot) {
    this.kernel = kernel;
    memory = kernel.userRegion().asSlice(slot * BYTES, BYTES);
    tid = kernel.enterTask(like, like == 0);
    if (tid <= 0) {
      throw new AssertionError("enterTask: " + Errno.name(-tid));
    }
  }

  /** Zeroed memory of the user region, aligned to 16 bytes. */
  MemorySegment allocate(long bytes) {
    MemorySegment s = memory.asSlice(used, bytes);
    used = (used + bytes + 15) & ~15;
    return s.fill((byte) 0);
  }

  MemorySegment string(String s) {
    byte[] bytes = s.getBytes(StandardCharsets.UTF_8);
    MemorySegment m = allocate(bytes.length + 1);
    MemorySegment.copy(bytes, 0, m, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return m;
  }

  /** Gives all memory back to this guest. */
  void reset() {
    used = 0;
  }

  long call(int nr, long... a) {
    return kernel.syscall(
        nr,
        a.length > 0 ? a[0] : 0,
        a.length > 1 ? a[1] : 0,
        a.length > 2 ? a[2] : 0,
        a.length > 3 ? a[3] : 0,
        a.length > 4 ? a[4] : 0,
        a.length > 5 ? a[5] : 0);
  }

  /** The same, and it must succeed. */
  long ok(int nr, long... a) {
    long r = call(nr, a);
    if (r < 0) {
      throw new AssertionError("system call " + nr + ": " + Errno.name((int) -r));
    }
    return r;
  }

  @Override
  public void close() {
    kernel.leaveTask();
  }
}
