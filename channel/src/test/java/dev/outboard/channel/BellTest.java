// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class BellTest {
  private final Bell bell = new Bell(Arena.ofAuto());

  /** A ring that is lost makes this hang: each comes at any time in relation to the wait. */
  @Test
  void whoWaitsHearsOfAll() throws InterruptedException {
    int rings = 20_000;
    AtomicInteger due = new AtomicInteger();
    Semaphore heard = new Semaphore(1);
    Thread rung =
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              for (int i = 0; i < rings; i++) {
                heard.acquireUninterruptibly();
                for (int k = i % 997; k > 0; k--) {
                  Thread.onSpinWait();
                }
                due.incrementAndGet();
                bell.ring();
              }
            });
    Thread waits =
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              for (int done = 0; done < rings; done++) {
                bell.await(() -> due.get() > 0, Long.MAX_VALUE);
                due.decrementAndGet();
                heard.release();
              }
            });
    assertThat(waits.join(Duration.ofSeconds(50))).as("all were heard").isTrue();
    assertThat(rung.join(Duration.ofSeconds(5))).isTrue();
  }

  @Test
  void noRingIsMissedHoweverManyComeBeforeTheSleep() throws InterruptedException {
    for (int many = 1; many <= 4; many++) {
      int rings = many;
      AtomicInteger due = new AtomicInteger();
      AtomicInteger asked = new AtomicInteger();
      BooleanSupplier something =
          () -> {
            boolean is = due.get() > 0;
            // Once before the wait; then between its look at the word and its sleep.
            if (asked.getAndIncrement() == 1) {
              for (int i = 0; i < rings; i++) {
                due.incrementAndGet();
                bell.ring();
              }
            }
            return is;
          };
      Thread waits =
          Thread.ofPlatform().daemon().start(() -> bell.await(something, Long.MAX_VALUE));
      assertThat(waits.join(Duration.ofSeconds(10))).as("%d rings", rings).isTrue();
      assertThat(asked).hasValue(3);
    }
  }

  @Test
  void aWaitEndsInTime() {
    long start = System.nanoTime();
    assertThat(bell.await(() -> false, TimeUnit.MILLISECONDS.toNanos(30))).isFalse();
    assertThat(System.nanoTime() - start).isBetween(30_000_000L, 2_000_000_000L);
    assertThat(bell.await(() -> true, 0)).isTrue();
  }
}
