// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class PipeLocksTest {
  @Test
  void onePipeHasOneHolderAndOthersAreFree() {
    PipeLocks locks = new PipeLocks();
    for (int pipe = 0; pipe < 20; pipe++) {
      assertThat(locks.tryLock(pipe)).isTrue();
    }
    assertThat(locks.tryLock(7)).isFalse();
    locks.unlock(7);
    assertThat(locks.tryLock(7)).isTrue();
    for (int pipe = 0; pipe < 20; pipe++) {
      assertThat(locks.tryLock(pipe)).isFalse();
      locks.unlock(pipe);
    }
  }

  @Test
  @Timeout(20)
  void whoWaitsIsNext() throws InterruptedException {
    PipeLocks locks = new PipeLocks();
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      threads.add(
          Thread.ofPlatform()
              .start(() -> {
                for (int i = 0; i < 1000; i++) {
                  locks.lock(1);
                  most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                  inside.decrementAndGet();
                  locks.unlock(1);
                }
              }));
    }
    for (Thread t : threads) {
      t.join();
    }
    assertThat(most).hasValue(1);
  }
}
