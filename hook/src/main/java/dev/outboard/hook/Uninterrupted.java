// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.util.concurrent.CountDownLatch;

/** Waits that an interrupt of the Java kind does not cut short. */
final class Uninterrupted {
  private Uninterrupted() {}

  /** Waits for a latch to open. */
  static void await(CountDownLatch latch) {
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

  /** Waits for a thread's end. */
  static void join(Thread t) {
    boolean interrupted = false;
    while (t.isAlive()) {
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
