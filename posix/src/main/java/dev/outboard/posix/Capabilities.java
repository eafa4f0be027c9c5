// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Capabilities of the calling thread: each thread has sets of its own, and a process has those of
 * the thread that has started it. A set is a mask, bit {@code n} for capability {@code n} of {@code
 * linux/capability.h}; so is each constant here.
 *
 * <p>Any thread. Source: {@code capabilities(7)}.
 */
public final class Capabilities {
  public static final long CHOWN = 1L;
  public static final long DAC_OVERRIDE = 1L << 1;
  public static final long DAC_READ_SEARCH = 1L << 2;
  public static final long FOWNER = 1L << 3;
  public static final long FSETID = 1L << 4;
  public static final long KILL = 1L << 5;
  public static final long SETGID = 1L << 6;
  public static final long SETUID = 1L << 7;
  public static final long LINUX_IMMUTABLE = 1L << 9;
  public static final long NET_BIND_SERVICE = 1L << 10;
  public static final long NET_ADMIN = 1L << 12;
  public static final long NET_RAW = 1L << 13;
  public static final long IPC_LOCK = 1L << 14;
  public static final long MKNOD = 1L << 27;
  public static final long SETFCAP = 1L << 31;
  public static final long BPF = 1L << 39;

  /** All that there are, and more. */
  public static final long ALL = -1L;

  /**
   * Numbers are below this one; the kernel says of those that it does not have that they are bad.
   */
  private static final int NUMBERS = 64;

  private static final int VERSION_3 = 0x20080522;
  private static final int PR_CAPBSET_READ = 23;
  private static final int PR_CAPBSET_DROP = 24;

  /** Header, then effective, permitted, inheritable: the lower halves, then the upper ones. */
  private static final int HEADER_BYTES = 8;

  private static final int DATA_BYTES = 24;

  private Capabilities() {}

  /** What the calling thread may make use of: its permitted set. */
  public static long permitted() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment sets = read(arena);
      return set(sets, 4);
    }
  }

  /**
   * Takes from the calling thread all but {@code kept}: from the permitted, effective, inheritable
   * and ambient set, and, if it may, from the bounding set. Without the latter no process gets more
   * by executing something either, once {@code no_new_privs} is set.
   *
   * @return 0, or {@code -errno}
   */
  static long keep(long kept) {
    for (int n = 0; n < NUMBERS; n++) {
      if ((kept >> n & 1) == 0 && Processes.prctl(PR_CAPBSET_READ, n) == 1) {
        // Without CAP_SETPCAP it stays.
        Processes.prctl(PR_CAPBSET_DROP, n);
      }
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment sets = read(arena);
      for (int i = 0; i < DATA_BYTES; i += 4) {
        int half = (int) (i < DATA_BYTES / 2 ? kept : kept >>> 32);
        int at = HEADER_BYTES + i;
        sets.set(ValueLayout.JAVA_INT, at, sets.get(ValueLayout.JAVA_INT, at) & half);
      }
      // What is neither permitted nor inheritable is not ambient any more.
      return Linux.syscall(SyscallNumbers.CAPSET, sets.address(), sets.address() + HEADER_BYTES, 0);
    }
  }

  private static MemorySegment read(Arena arena) {
    MemorySegment sets = arena.allocate(HEADER_BYTES + DATA_BYTES, 8);
    sets.set(ValueLayout.JAVA_INT, 0, VERSION_3);
    Linux.syscall(SyscallNumbers.CAPGET, sets.address(), sets.address() + HEADER_BYTES, 0);
    return sets;
  }

  private static long set(MemorySegment sets, int offset) {
    int at = HEADER_BYTES + offset;
    return Integer.toUnsignedLong(sets.get(ValueLayout.JAVA_INT, at))
        | (long) sets.get(ValueLayout.JAVA_INT, at + DATA_BYTES / 2) << 32;
  }
}
