// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.Arrays;

/**
 * Tells a signal that was sent to the front alone, which has to be passed on, from one that was
 * sent to its whole process group, which the program has got by itself (Ctrl-C).
 *
 * <p>The front and a witness in its group each report what they got. Reports of the same signal
 * that come within {@link #GRACE_NANOS} of each other, in either order, are one signal to the
 * group.
 *
 * <p>One user thread. Times are of {@link System#nanoTime}.
 */
final class SignalPairs {
  /** How long a report waits for its counterpart: two wake-ups of a busy machine. */
  static final long GRACE_NANOS = 8_000_000;

  private static final int SIGNALS = 65;
  private static final long NONE = Long.MIN_VALUE;

  private final long[] frontAt = new long[SIGNALS];
  private final long[] groupAt = new long[SIGNALS];

  SignalPairs() {
    Arrays.fill(frontAt, NONE);
    Arrays.fill(groupAt, NONE);
  }

  /** The front got {@code signal}. */
  void front(int signal, long now) {
    if (groupAt[signal] != NONE && now - groupAt[signal] < GRACE_NANOS) {
      groupAt[signal] = NONE;
    } else if (frontAt[signal] == NONE) {
      // A second one before the first is passed on is the same pending signal, as in a kernel.
      frontAt[signal] = now;
    }
  }

  /** The witness got {@code signal}. */
  void group(int signal, long now) {
    if (frontAt[signal] != NONE) {
      frontAt[signal] = NONE;
    } else {
      groupAt[signal] = now;
    }
  }

  /** A signal to pass on now, which is thereby forgotten, or 0. */
  int due(long now) {
    for (int signal = 1; signal < SIGNALS; signal++) {
      if (frontAt[signal] != NONE && now - frontAt[signal] >= GRACE_NANOS) {
        frontAt[signal] = NONE;
        return signal;
      }
    }
    return 0;
  }

  /** Whether a later call of {@link #due} may have something without another report. */
  boolean waiting() {
    for (long at : frontAt) {
      if (at != NONE) {
        return true;
      }
    }
    return false;
  }
}
