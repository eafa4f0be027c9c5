// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/** Waits for something that another process does, with a limit. */
public final class Eventually {
  private static final long STEP_MILLIS = 5;

  private Eventually() {}

  /** Whether {@code condition} came true within {@code limit}. */
  public static boolean holds(Duration limit, BooleanSupplier condition) {
    long end = System.nanoTime() + limit.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > end) {
        return condition.getAsBoolean();
      }
      pause(STEP_MILLIS);
    }
    return true;
  }

  /** Fails with {@code otherwise}'s text unless {@code condition} comes true within the limit. */
  public static void require(
      Duration limit, Supplier<String> otherwise, BooleanSupplier condition) {
    if (!holds(limit, condition)) {
      throw new AssertionError("not within " + limit + ": " + otherwise.get());
    }
  }

  /** Sleeps; an interrupt (the test's own time limit) becomes a failure. */
  public static void pause(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted while waiting: the test's time is over", e);
    }
  }
}
