// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.charset.StandardCharsets;

/**
 * System calls of the kernel that this process runs on.
 *
 * <p>Every method returns what the kernel returned: a result that is zero or more, or {@code
 * -errno} (see {@code errno(3)}). No method throws, blocks longer than the call itself, or
 * allocates on the Java heap once its thread has made one call. All methods may be called by any
 * platform thread; a call that blocks pins its carrier, so virtual threads must not make it.
 *
 * <p>Addresses are plain {@code long}s: the owner of the memory is the caller, who keeps it alive
 * for the length of the call.
 */
public final class Linux {
  private static final Linker LINKER = Linker.nativeLinker();
  private static final StructLayout CAPTURE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      CAPTURE.varHandle(MemoryLayout.PathElement.groupElement("errno"));

  /** {@code long syscall(long nr, ...)} of libc: the kernel's calls, whatever libc wraps. */
  private static final MethodHandle SYSCALL =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("syscall"),
          FunctionDescriptor.of(
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG),
          Linker.Option.captureCallState("errno"),
          Linker.Option.firstVariadicArg(1));

  // One buffer a thread, alive as long as the thread: a shared arena per call costs microseconds.
  private static final ThreadLocal<MemorySegment> STATE =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(CAPTURE));

  private Linux() {}

  /**
   * Makes system call {@code nr} of this machine's architecture.
   *
   * @return the result, or {@code -errno}
   */
  public static long syscall(int nr, long a0, long a1, long a2, long a3, long a4, long a5) {
    MemorySegment state = STATE.get();
    long r;
    try {
      r = (long) SYSCALL.invokeExact(state, (long) nr, a0, a1, a2, a3, a4, a5);
    } catch (Throwable t) {
      throw new AssertionError("a downcall does not throw", t);
    }
    return r == -1 ? -(int) ERRNO.get(state, 0L) : r;
  }

  public static long syscall(int nr, long a0, long a1, long a2) {
    return syscall(nr, a0, a1, a2, 0, 0, 0);
  }

  public static long syscall(int nr, long a0) {
    return syscall(nr, a0, 0, 0, 0, 0, 0);
  }

  /** {@code read(2)} of at most {@code count} bytes to {@code address}. */
  public static long read(int fd, long address, long count) {
    return syscall(SyscallNumbers.READ, fd, address, count);
  }

  /** {@code write(2)} of at most {@code count} bytes from {@code address}. */
  public static long write(int fd, long address, long count) {
    return syscall(SyscallNumbers.WRITE, fd, address, count);
  }

  /** {@code close(2)}. The descriptor is gone whatever the result. */
  public static long close(int fd) {
    return syscall(SyscallNumbers.CLOSE, fd);
  }

  /** {@code fcntl(2)} with an integer argument. */
  public static long fcntl(int fd, int command, long argument) {
    return syscall(SyscallNumbers.FCNTL, fd, command, argument);
  }

  /** {@code ioctl(2)}. */
  public static long ioctl(int fd, long request, long argument) {
    return syscall(SyscallNumbers.IOCTL, fd, request, argument);
  }

  /** {@code mmap(2)}; an address, or {@code -errno}. */
  public static long mmap(long address, long length, int prot, int flags, int fd, long offset) {
    return syscall(SyscallNumbers.MMAP, address, length, prot, flags, fd, offset);
  }

  /** {@code munmap(2)}. */
  public static long munmap(long address, long length) {
    return syscall(SyscallNumbers.MUNMAP, address, length, 0);
  }

  /** {@code futex(FUTEX_WAIT)}, shared between processes; {@code timeout} is a timespec or 0. */
  public static long futexWait(long address, int expected, long timeoutAddress) {
    return syscall(SyscallNumbers.FUTEX, address, 0, expected, timeoutAddress, 0, 0);
  }

  /** {@code futex(FUTEX_WAKE)}, shared between processes; the number of waiters woken. */
  public static long futexWake(long address, int waiters) {
    return syscall(SyscallNumbers.FUTEX, address, 1, waiters);
  }

  /** The memory at a native address, for the length given; the caller vouches for its life. */
  public static MemorySegment at(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }

  /** A NUL-terminated UTF-8 copy of {@code s} in {@code arena}. */
  public static MemorySegment cString(Arena arena, String s) {
    return arena.allocateFrom(s, StandardCharsets.UTF_8);
  }
}
