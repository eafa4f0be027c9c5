// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class HeapReliefTest {
  private static final long MIB = 1 << 20;

  private long committed = 16 * MIB;
  private long live = 5 * MIB;
  private long used = live;
  private int collections;
  private final HeapRelief relief =
      new HeapRelief(
          () -> committed,
          () -> used,
          () -> {
            collections++;
            committed = Math.max(16 * MIB, live);
            used = live;
          });

  @Test
  void garbageDoesNotAddUp() {
    for (int i = 0; i < 1000; i++) {
      committed += MIB;
      relief.look();
      assertThat(committed).isLessThanOrEqualTo(16 * MIB + HeapRelief.STEP_BYTES);
    }
    assertThat(collections).isBetween(1, 1000 / 4);
  }

  /** What young collections promote fills pages that were never used, and the heap is no larger. */
  @Test
  void theOldGenerationIsNotFilledFirst() {
    for (int i = 0; i < 1000; i++) {
      used += MIB / 8;
      relief.look();
      assertThat(used).isLessThanOrEqualTo(live + 8 * MIB);
    }
    assertThat(collections).isBetween(1, 1000 / 8 / 7);
  }

  /** A third of the heap comes and goes with each young collection. */
  @Test
  void whatTheYoungGenerationHoldsIsNoReason() {
    for (int i = 0; i < 1000; i++) {
      used = live + i % 2 * committed / 3;
      relief.look();
    }
    assertThat(collections).isZero();
  }

  @Test
  void whatLivesIsNotCollectedAgainAndAgain() {
    for (int i = 0; i < 1000; i++) {
      live += MIB / 4;
      used = Math.max(used, live);
      committed = Math.max(committed, live);
      relief.look();
    }
    assertThat(collections).isLessThan(20);
  }
}
