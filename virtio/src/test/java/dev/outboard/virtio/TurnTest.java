// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class TurnTest {
  private static final int THREADS = 4;
  private static final int ROUNDS = 50_000;

  private final Turn turn = new Turn();
  private final AtomicInteger work = new AtomicInteger();

  /** Of who has the turn: not atomic. */
  private int done;

  @Test
  void whoAsksHasTheHolderLookAgain() {
    assertThat(turn.take()).isTrue();
    assertThat(turn.take()).isFalse();
    assertThat(turn.take()).isFalse();
    assertThat(turn.give()).as("given back though somebody asked").isFalse();
    assertThat(turn.give()).isTrue();
    assertThat(turn.take()).isTrue();
    turn.pass();
    assertThat(turn.take()).isTrue();
  }

  @Test
  void isTakenForEver() throws InterruptedException {
    assertThat(turn.take()).isTrue();
    Thread closer = Thread.ofPlatform().start(turn::close);
    closer.join(50);
    assertThat(closer.isAlive()).as("it waits for the holder").isTrue();
    assertThat(turn.give()).isTrue();
    closer.join(TimeUnit.SECONDS.toMillis(30));
    assertThat(closer.isAlive()).isFalse();
    assertThat(turn.take()).isFalse();
  }

  /** Whoever comes leaves work; when all have gone it is done, by one at a time. */
  @Test
  void leavesNoWorkUndone() throws InterruptedException {
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < THREADS; i++) {
      threads.add(Thread.ofPlatform().start(this::leaveWork));
    }
    for (Thread t : threads) {
      t.join();
    }
    assertThat(turn.take()).isTrue();
    assertThat(work.get()).isZero();
    assertThat(done).isEqualTo(THREADS * ROUNDS);
  }

  private void leaveWork() {
    for (int i = 0; i < ROUNDS; i++) {
      work.incrementAndGet();
      if (turn.take()) {
        do {
          done += work.getAndSet(0);
        } while (!turn.give());
      }
    }
  }
}
