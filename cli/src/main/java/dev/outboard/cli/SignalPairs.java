// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.function.LongSupplier;

/**
 * Tells a signal that was sent to the front alone, which has to be passed on, from one that was
 * sent to its whole process group, which the program has got by itself (Ctrl-C).
 *
 * <p>The front and a witness in its group each report what they got. When one has reported and the
 * other not yet, the other is <i>asked</i>, by a signal of its own that it answers after all that
 * came before. The kernel sends to the newest member of a group first (kernel/signal.c,
 * kernel/pid.c: attach_pid), and to the front, which was the first, last. So when the front has
 * reported, the signal is pending for the witness, or it was not sent to the group. When the
 * witness has reported, the kernel may not have come to the front yet, if its processor was kept
 * busy meanwhile: what the front reports within {@link #LATE_NANOS} after its answer is still the
 * counterpart. So if a clock plays a part, it is for a signal to the front alone just behind one to
 * the group, which the program has got by then anyway.
 *
 * <p>One question to a side is outstanding at a time, since signals of one number are not counted;
 * a report that comes meanwhile waits for the next one. One user thread.
 */
final class SignalPairs {
  /** How much longer the kernel may take from the witness to the front. */
  static final long LATE_NANOS = 1_000_000_000;

  /** Who reports. */
  enum Side {
    FRONT,
    GROUP;

    /** Who would have got the same signal if it was sent to the group. */
    Side other() {
      return this == FRONT ? GROUP : FRONT;
    }
  }

  /** What one side has reported that the other has not; one bit a signal. */
  private static final class Reports {
    long unasked;
    long asked;

    /** A question to the <em>other</em> side is outstanding, about {@link #asked}. */
    boolean outstanding;
  }

  private final Reports front = new Reports();
  private final Reports group = new Reports();
  private long due;

  /** What the group has reported and the front had not when it answered, and when that was. */
  private long late;

  private long lateSince;
  private final LongSupplier clock;

  /**
   * @param clock nanoseconds, as {@link System#nanoTime}
   */
  SignalPairs(LongSupplier clock) {
    this.clock = clock;
  }

  private Reports of(Side side) {
    return side == Side.FRONT ? front : group;
  }

  /** A side got {@code signal}, 1 to 64. */
  void report(Side side, int signal) {
    long bit = 1L << (signal - 1);
    Reports own = of(side);
    Reports others = of(side.other());
    if (((others.unasked | others.asked) & bit) != 0) {
      others.unasked &= ~bit;
      others.asked &= ~bit;
    } else if (side == Side.FRONT && isLate(bit)) {
      late &= ~bit;
    } else if ((own.asked & bit) == 0) {
      // A second one before the first is passed on is the same pending signal, as in a kernel.
      own.unasked |= bit;
    }
  }

  private boolean isLate(long bit) {
    return (late & bit) != 0 && clock.getAsLong() - lateSince < LATE_NANOS;
  }

  /** Whether {@code side} is to be asked now; the question then counts as outstanding. */
  boolean ask(Side side) {
    Reports others = of(side.other());
    if (others.outstanding || others.unasked == 0) {
      return false;
    }
    others.asked = others.unasked;
    others.unasked = 0;
    others.outstanding = true;
    return true;
  }

  /** The side has answered, or is gone: what it has not reported by now was not sent to it. */
  void answered(Side side) {
    Reports others = of(side.other());
    if (side == Side.GROUP) {
      due |= others.asked;
    } else if (others.asked != 0) {
      late = others.asked;
      lateSince = clock.getAsLong();
    }
    others.asked = 0;
    others.outstanding = false;
  }

  /** A signal to pass on now, which is thereby forgotten, or 0. */
  int due() {
    if (due == 0) {
      return 0;
    }
    int signal = Long.numberOfTrailingZeros(due) + 1;
    due &= due - 1;
    return signal;
  }
}
