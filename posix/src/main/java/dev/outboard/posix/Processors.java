// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Which processor a thread runs on. Any platform thread may call. */
public final class Processors {
  /** As many as {@code cpu_set_t} of glibc has. */
  private static final int MOST = 1024;

  /** glibc reads it from the thread's rseq area: no system call. */
  private static final MethodHandle SCHED_GETCPU =
      Linker.nativeLinker()
          .downcallHandle(
              Linker.nativeLinker().defaultLookup().findOrThrow("sched_getcpu"),
              FunctionDescriptor.of(ValueLayout.JAVA_INT),
              Linker.Option.critical(false));

  private Processors() {}

  /** {@code sched_getcpu(3)}: the processor that the caller runs on now, or -1. */
  public static int current() {
    try {
      return (int) SCHED_GETCPU.invokeExact();
    } catch (Throwable t) {
      throw new AssertionError("a downcall does not throw", t);
    }
  }

  /**
   * {@code sched_setaffinity(2)}: keeps the calling thread on one processor, to which it moves.
   *
   * @return 0 or {@code -errno}: EINVAL if there is no such processor, or not for this process
   */
  public static long stayOn(int processor) {
    if (processor < 0 || processor >= MOST) {
      return -dev.outboard.abi.Errno.EINVAL;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment set = arena.allocate(MOST / Byte.SIZE, Long.BYTES);
      set.set(ValueLayout.JAVA_BYTE, processor / Byte.SIZE, (byte) (1 << processor % Byte.SIZE));
      return Linux.syscall(SyscallNumbers.SCHED_SETAFFINITY, 0, set.byteSize(), set.address());
    }
  }
}
