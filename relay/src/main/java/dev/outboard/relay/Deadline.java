// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Does something unless it is closed in time: ends what would wait for another machine for long.
 */
final class Deadline {
  private final CountDownLatch over = new CountDownLatch(1);
  private volatile boolean passed;

  Deadline(Duration limit, Runnable act) {
    Thread.ofPlatform()
        .daemon()
        .name("link-deadline")
        .start(() -> {
          try {
            if (!over.await(limit.toNanos(), TimeUnit.NANOSECONDS)) {
              passed = true;
              act.run();
            }
          } catch (InterruptedException e) {
            act.run(); // nobody does that; better early than never
          }
        });
  }

  /** Whether it was too late. */
  boolean passed() {
    return passed;
  }

  /** It was in time; nothing will be done. */
  void met() {
    over.countDown();
  }
}
