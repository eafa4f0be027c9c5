// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * How long one side of a slot spins before it sleeps: a bound that follows success.
 *
 * <p>A wait that ends while spinning saves two system calls and a wake-up on each side, but a side
 * that spins on the processor which the other one needs costs a whole time slice. So the bound is
 * small where there are few processors, doubles when spinning paid and halves when it did not; at
 * its lowest, only one wait in {@value #PROBE} spins, to find out whether times have changed.
 *
 * <p>Owned by one thread.
 */
final class Spin {
  private static final int PROBE = 32;
  private static final int CHECKS_PER_LOOK = 16;

  /** The most nanoseconds to spin; system property {@code outboard.spin.nanos}, 0 never spins. */
  static final long MAX_NANOS =
      Math.clamp(
          Long.getLong(
              "outboard.spin.nanos",
              Runtime.getRuntime().availableProcessors() <= 2 ? 4_000L : 20_000L),
          0L,
          1_000_000L);

  /**
   * The same for the thread of a lent slot, whose caller may have to be woken first by its reply: a
   * caller that is awake calls again within microseconds, and finds the thread awake, too. With one
   * processor nobody waits for long.
   */
  private static final long LENT_NANOS =
      Runtime.getRuntime().availableProcessors() < 2
          ? MAX_NANOS
          : Math.min(Long.getLong("outboard.spin.lent.nanos", 30_000L), 1_000_000L);

  private static final long MIN_NANOS = 500;

  /** So many waits of a lent slot's thread may be in vain in a row, as at the end of each batch. */
  private static final int IN_VAIN = 3;

  private final boolean lent;
  private final long maxNanos;
  private long nanos;
  private int waits;
  private int lost;

  private Spin(boolean lent, long maxNanos) {
    this.lent = lent;
    this.maxNanos = maxNanos;
    this.nanos = maxNanos;
  }

  Spin() {
    this(MAX_NANOS);
  }

  Spin(long maxNanos) {
    this(false, maxNanos);
  }

  /** For the device's side of a slot that is lent. */
  static Spin lent() {
    return new Spin(true, LENT_NANOS);
  }

  /** The nanoseconds that the next wait may spin; 0 for none. */
  long begin() {
    if (nanos >= MIN_NANOS) {
      return nanos;
    }
    return ++waits % PROBE == 0 ? Math.min(lent ? maxNanos : MIN_NANOS, maxNanos) : 0;
  }

  /** Tells whether the wait ended while it spun. */
  void end(boolean paid) {
    if (lent) {
      lost = paid ? 0 : lost + 1;
      nanos = lost < IN_VAIN ? maxNanos : 0;
      return;
    }
    nanos = paid ? Math.min(maxNanos, Math.max(MIN_NANOS, nanos * 2)) : nanos / 2;
  }

  /** Pauses a little; the number of loop turns between two looks at the clock. */
  static int turns() {
    return CHECKS_PER_LOOK;
  }
}
