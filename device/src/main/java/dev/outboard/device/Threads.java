// SPDX-License-Identifier: MIT
package dev.outboard.device;

/** Waiting for threads of ours, which no one interrupts. */
final class Threads {
  private Threads() {}

  /** Waits until a thread has ended. */
  static void join(Thread thread) {
    join(thread, 0);
  }

  /** Waits until a thread has ended, but not longer than {@code millis}; 0 waits without end. */
  static void join(Thread thread, long millis) {
    try {
      thread.join(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
