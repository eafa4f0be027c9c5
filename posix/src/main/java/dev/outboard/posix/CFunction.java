// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;

/**
 * A C function that takes up to seven integers or addresses and returns one, or nothing.
 *
 * <p>All of them are called as if they took seven {@code long}s: the calling conventions of x86-64
 * and AArch64 let a function ignore arguments that it does not have, and the upper halves of those
 * that are narrower. So one handle does for every function; the JVM makes and compiles each other
 * one at every start, which takes it some 10 ms.
 *
 * <p>Immutable. Any thread may call. Addresses are plain {@code long}s, as in {@link Linux}: the
 * caller keeps what they point to alive.
 */
public final class CFunction {
  /** Seven arguments and a result. */
  private static final FunctionDescriptor LONGS =
      FunctionDescriptor.of(
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG);

  private static final StructLayout CAPTURE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      CAPTURE.varHandle(MemoryLayout.PathElement.groupElement("errno"));

  /** Keeps {@code errno} always, as a handle that does not would be another one to make. */
  private static final MethodHandle CALL =
      Linker.nativeLinker().downcallHandle(LONGS, Linker.Option.captureCallState("errno"));

  // One buffer a thread, alive as long as the thread: a shared arena per call costs microseconds.
  private static final ThreadLocal<MemorySegment> STATE =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(CAPTURE));

  /**
   * Where calls whose errno nobody asks for leave it, each thread in one of some places: to look
   * for the thread's own costs more than many a call. Threads that share a place write the same
   * bytes, which are never read; places are apart, as other processors write to them.
   */
  private static final MemorySegment[] UNREAD = new MemorySegment[16];

  static {
    for (int i = 0; i < UNREAD.length; i++) {
      UNREAD[i] = Arena.global().allocate(Math.max(64, CAPTURE.byteSize()), 64);
    }
  }

  private final MemorySegment address;

  /**
   * @param address where its code is; mapped for as long as this object is used
   */
  public CFunction(MemorySegment address) {
    this.address = address;
  }

  /** A function of libc. */
  public static CFunction ofLibc(String name) {
    return new CFunction(Linker.nativeLinker().defaultLookup().findOrThrow(name));
  }

  /** Calls a function whose result is a {@code long} or an address. */
  public long call(long a0, long a1, long a2, long a3, long a4, long a5, long a6) {
    int place = (int) Thread.currentThread().threadId() & (UNREAD.length - 1);
    return call(UNREAD[place], a0, a1, a2, a3, a4, a5, a6);
  }

  /**
   * Calls a function that says by -1 that it failed, and why in {@code errno}.
   *
   * @return its result, or {@code -errno}
   */
  long callOrErrno(long a0, long a1, long a2, long a3, long a4, long a5, long a6) {
    MemorySegment state = STATE.get();
    long r = call(state, a0, a1, a2, a3, a4, a5, a6);
    return r == -1 ? -(int) ERRNO.get(state, 0L) : r;
  }

  /** As {@link #callOrErrno}, of one whose result is an {@code int}. */
  int callIntOrErrno(long a0, long a1, long a2) {
    MemorySegment state = STATE.get();
    // The upper half of the register is whatever it was.
    int r = (int) call(state, a0, a1, a2, 0, 0, 0, 0);
    return r == -1 ? -(int) ERRNO.get(state, 0L) : r;
  }

  private long call(
      MemorySegment state, long a0, long a1, long a2, long a3, long a4, long a5, long a6) {
    try {
      return (long) CALL.invokeExact(address, state, a0, a1, a2, a3, a4, a5, a6);
    } catch (Throwable t) {
      throw new AssertionError("a downcall does not throw", t);
    }
  }

  public long call(long a0) {
    return call(a0, 0, 0, 0, 0, 0, 0);
  }

  /** Calls a function whose result is an {@code int}, or none: then it means nothing. */
  public int callInt(long a0, long a1, long a2, long a3, long a4, long a5) {
    // The upper half of the register is whatever it was.
    return (int) call(a0, a1, a2, a3, a4, a5, 0);
  }

  public int callInt(long a0, long a1, long a2) {
    return callInt(a0, a1, a2, 0, 0, 0);
  }

  public int callInt(long a0, long a1) {
    return callInt(a0, a1, 0, 0, 0, 0);
  }

  public int callInt(long a0) {
    return callInt(a0, 0, 0, 0, 0, 0);
  }

  public int callInt() {
    return callInt(0, 0, 0, 0, 0, 0);
  }
}
