// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Waits that an interrupt of the Java kind does not cut short; the thread is marked as interrupted
 * afterwards. Any thread.
 */
public final class Uninterrupted {
  private Uninterrupted() {}

  /** Waits for a latch to open. */
  public static void await(CountDownLatch latch) {
    boolean interrupted = false;
    for (; ; ) {
      try {
        latch.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Waits until {@code done}, looking at each notification; the caller has the monitor. */
  public static void waitUntil(Object monitor, BooleanSupplier done) {
    boolean interrupted = false;
    while (!done.getAsBoolean()) {
      try {
        monitor.wait();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * The same for so many nanoseconds at most.
   *
   * @return whether it is done
   */
  public static boolean waitUntil(Object monitor, long nanos, BooleanSupplier done) {
    long deadline = System.nanoTime() + nanos;
    boolean interrupted = false;
    while (!done.getAsBoolean()) {
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        break;
      }
      try {
        TimeUnit.NANOSECONDS.timedWait(monitor, left);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    return done.getAsBoolean();
  }

  /** Waits for a thread's end; null has ended. */
  public static void join(@Nullable Thread t) {
    boolean interrupted = false;
    while (t != null && t.isAlive()) {
      try {
        t.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
