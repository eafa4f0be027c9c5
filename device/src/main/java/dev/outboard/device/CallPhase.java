// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Where a shadow thread is with its blocking call, so that an interruption hits the call that it is
 * meant for and no other.
 *
 * <pre>
 *            begin(n)              end: not interrupted
 *    IDLE ─────────────► n RUNNING ─────────────────────► IDLE
 *                          │   ▲
 *          interrupt(n)    ▼   │
 *                        n STRIKING ──► n STRUCK ───────► IDLE
 *                              ▲            │  end: interrupted; the thread forgets what is left
 *                              └────────────┘       of the strike (Kernel.settle)
 *                                  again
 * </pre>
 *
 * <p>The thread leaves a call by a compare-and-set out of RUNNING or STRUCK, and waits while
 * STRIKING, which is as long as one {@link Kernel#interrupt} takes; so a strike cannot land in the
 * next call. An interruption may also come before its call has begun (the request overtakes the
 * call, which goes another way): {@link #interrupt} stores the number first and then looks for the
 * call, {@link #begin} stores the call first and then looks for the number, so one of them sees the
 * other (both are sequentially consistent). Only a new request stores a number: {@link #again}
 * repeats an older one, whose number would hide the one that was stored since.
 *
 * <p>{@code begin} and {@code end} belong to the shadow thread, {@code interrupt} to one thread at
 * a time, in the order of the calls, {@code again} to any.
 */
final class CallPhase {
  private static final int IDLE = 0;
  private static final int RUNNING = 1;
  private static final int STRIKING = 2;
  private static final int STRUCK = 3;

  private final AtomicLong state = new AtomicLong();
  private volatile int wanted;
  private volatile boolean ending;

  private static long state(int sequence, int phase) {
    return ((long) sequence << 2) | phase;
  }

  /**
   * A blocking call starts.
   *
   * @param sequence greater than 0
   * @return false if its interruption was asked for already, and may have found nothing to strike
   */
  boolean begin(int sequence) {
    state.set(state(sequence, RUNNING));
    return wanted != sequence && !ending;
  }

  /**
   * The call is over.
   *
   * @return whether it was struck, perhaps too late
   */
  boolean end() {
    for (; ; ) {
      long now = state.get();
      int phase = (int) now & 3;
      if (phase == STRIKING) {
        Thread.onSpinWait();
      } else if (state.compareAndSet(now, IDLE)) {
        return phase == STRUCK;
      }
    }
  }

  /** Whether the call that runs was meant to be interrupted. Only the shadow thread. */
  boolean struck() {
    return ((int) state.get() & 3) != RUNNING || ending;
  }

  /** From now on every call is interrupted; the caller strikes until the thread is out. */
  void endAll() {
    ending = true;
  }

  /** Whether {@link #endAll} was called. */
  boolean ending() {
    return ending;
  }

  /**
   * Asks for the interruption of call {@code sequence}.
   *
   * @param strike interrupts the thread's task once
   * @return whether the call was running and was struck: if it does not come out, strike again
   */
  boolean interrupt(int sequence, Runnable strike) {
    wanted = sequence;
    return again(sequence, strike);
  }

  /**
   * Strikes call {@code sequence} if it is running, or any call if {@link #endAll} was called.
   *
   * @return whether there was a call to strike
   */
  boolean again(int sequence, Runnable strike) {
    for (; ; ) {
      long now = state.get();
      int phase = (int) now & 3;
      if (phase == IDLE || (!ending && now >> 2 != sequence)) {
        return false;
      }
      if (phase == STRIKING) {
        Thread.onSpinWait();
        continue;
      }
      long striking = (now & ~3L) | STRIKING;
      if (state.compareAndSet(now, striking)) {
        strike.run();
        state.set((now & ~3L) | STRUCK);
        return true;
      }
    }
  }
}
