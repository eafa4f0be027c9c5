// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Seccomp;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * What this process may not ask its kernel for any more: a seccomp filter on all of its threads,
 * which cannot be taken off. What is refused ends with EPERM.
 *
 * <p>Used by one thread. Source: {@code seccomp(2)}; x86-64 only.
 */
public final class SystemCallFilter {
  private static final int AUDIT_ARCH_X86_64 = 0xC000003E;

  /** Numbers from here on are those of another ABI (x32). */
  private static final int X32 = 0x4000_0000;

  private static final int FLAG_TSYNC = 1;

  // struct seccomp_data.
  private static final int NUMBER = 0;
  private static final int ARCH = 4;
  private static final int ARGS = 16;

  // linux/bpf_common.h
  private static final int LOAD = 0x20;
  private static final int JUMP_EQUAL = 0x15;
  private static final int JUMP_AT_LEAST = 0x35;
  private static final int JUMP_BITS = 0x45;
  private static final int RETURN = 0x06;
  private static final int ALLOW = 0x7fff_0000;
  private static final int ERRNO = 0x0005_0000;

  private static final int INSTRUCTION_BYTES = 8;

  private final List<Long> code = new ArrayList<>();

  /** Refuses nothing so far but calls of other ABIs. */
  public SystemCallFilter() {
    add(LOAD, 0, 0, ARCH);
    add(JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64);
    add(RETURN, 0, 0, ERRNO | Errno.EPERM);
    add(LOAD, 0, 0, NUMBER);
    add(JUMP_AT_LEAST, 0, 1, X32);
    add(RETURN, 0, 0, ERRNO | Errno.ENOSYS);
  }

  /** Refuses a call, with this error. */
  public SystemCallFilter refuse(int number, int errno) {
    add(JUMP_EQUAL, 0, 1, number);
    add(RETURN, 0, 0, ERRNO | errno);
    return this;
  }

  /** Refuses a call if its argument has any of these bits. */
  public SystemCallFilter refuseIfAny(int number, int argument, int bits) {
    return refuseIf(number, argument, JUMP_BITS, bits, true);
  }

  /** Refuses a call unless its argument has one of these bits. */
  public SystemCallFilter refuseUnlessAny(int number, int argument, int bits) {
    return refuseIf(number, argument, JUMP_BITS, bits, false);
  }

  /** Refuses a call unless the lower half of its argument is this value. */
  public SystemCallFilter refuseUnless(int number, int argument, int value) {
    return refuseIf(number, argument, JUMP_EQUAL, value, false);
  }

  private SystemCallFilter refuseIf(int number, int argument, int jump, int k, boolean ifTrue) {
    add(JUMP_EQUAL, 0, 4, number);
    add(LOAD, 0, 0, ARGS + 8 * argument);
    add(jump, ifTrue ? 1 : 0, ifTrue ? 0 : 1, k);
    add(RETURN, 0, 0, ALLOW);
    add(RETURN, 0, 0, ERRNO | Errno.EPERM);
    return this;
  }

  /**
   * Applies it to all threads of this process, which can gain no privileges by executing anything
   * from then on.
   *
   * @return 0, or {@code -errno}; a thread's id if that one has a filter of its own
   */
  public long install() {
    add(RETURN, 0, 0, ALLOW);
    Processes.prctl(Processes.PR_SET_NO_NEW_PRIVS, 1);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment program = arena.allocate((long) code.size() * INSTRUCTION_BYTES, 8);
      for (int i = 0; i < code.size(); i++) {
        program.setAtIndex(ValueLayout.JAVA_LONG, i, code.get(i));
      }
      MemorySegment head = arena.allocate(16, 8);
      head.set(ValueLayout.JAVA_SHORT, 0, (short) code.size());
      head.set(ValueLayout.JAVA_LONG, 8, program.address());
      return Linux.syscall(
          SyscallNumbers.SECCOMP, Seccomp.SET_MODE_FILTER, FLAG_TSYNC, head.address());
    }
  }

  private void add(int operation, int ifTrue, int ifFalse, int k) {
    // struct sock_filter: u16 code, u8 jt, u8 jf, u32 k; little-endian.
    code.add(operation | (long) ifTrue << 16 | (long) ifFalse << 24 | (long) k << 32);
  }
}
