// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.util.concurrent.CountDownLatch;
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
