// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A signal that does nothing but make a blocking system call return.
 *
 * <p>A signal interrupts a call only if it has a handler, and a handler must not be Java code. So
 * the handler is {@code abs(3)}: a function of libc with the signature {@code int (int)} that
 * touches no memory, no lock and not errno. It is installed without SA_RESTART, so an interrupted
 * call returns {@code -EINTR}.
 *
 * <p>The signal may come just before its thread enters the call, and is lost then: whoever sends it
 * repeats it until the call is out. It may also come while the thread runs Java code; the kernel
 * then runs {@code abs} on its stack and nothing else happens.
 */
public final class InterruptSignal {
  /**
   * A real-time signal that neither libc (32, 33) nor the JVM (which uses 11, 12 and the like) has
   * a use for.
   */
  public static final int NUMBER = 44;

  private static final int SIGACTION_BYTES = 152; // handler 8, mask 128, flags 4, restorer 8

  private static final CFunction SIGACTION = CFunction.ofLibc("sigaction");

  private static final int PROCESS = Math.toIntExact(Linux.syscall(SyscallNumbers.GETPID, 0));

  private InterruptSignal() {}

  /** Installs the handler for this process. May be repeated. */
  public static void install() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment action = arena.allocate(SIGACTION_BYTES, 8);
      MemorySegment harmless = Linker.nativeLinker().defaultLookup().findOrThrow("abs");
      action.set(ValueLayout.ADDRESS, 0, harmless);
      if (SIGACTION.callInt(NUMBER, action.address(), 0) != 0) {
        throw new IllegalStateException("sigaction of signal " + NUMBER + " fails");
      }
    }
  }

  /** Sends the signal to a thread of this process; 0 or {@code -errno}. */
  public static long send(int tid) {
    return Linux.syscall(SyscallNumbers.TGKILL, PROCESS, tid, NUMBER);
  }
}
