// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class HeapReliefTest {
  private static final long MIB = 1 << 20;

  private long committed = 16 * MIB;
  private long live = 5 * MIB;
  private int collections;
  private final HeapRelief relief =
      new HeapRelief(
          () -> committed,
          () -> {
            collections++;
            committed = Math.max(16 * MIB, live);
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

  @Test
  void whatLivesIsNotCollectedAgainAndAgain() {
    for (int i = 0; i < 1000; i++) {
      live += MIB / 4;
      committed = Math.max(committed, live);
      relief.look();
    }
    assertThat(collections).isLessThan(20);
  }
}
