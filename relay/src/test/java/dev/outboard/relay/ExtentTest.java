// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class ExtentTest {
  private static final long SIZE = 160 * 1024;

  @Test
  void isAtLeastWhatWasSaidAndHardlyMore() {
    for (long bytes = 0; bytes <= SIZE; bytes += bytes < 100 ? 1 : 777) {
      int flags = Extent.flags(bytes);
      assertThat(flags & Extent.OTHER_FLAGS).isZero();
      assertThat(Extent.of(flags, SIZE)).isBetween(bytes, Math.max(bytes, 1) + Extent.UNIT - 1);
    }
    assertThat(Extent.of(Extent.flags(SIZE), SIZE)).isEqualTo(SIZE);
  }

  @Test
  void isAllWhereNothingIsSaid() {
    assertThat(Extent.of(2, SIZE)).isEqualTo(SIZE);
  }

  @Test
  void isNotBeyondTheEnd() {
    assertThat(Extent.of(Extent.flags(SIZE + 1), SIZE)).isEqualTo(-1);
    assertThat(Extent.of(-1, SIZE)).isEqualTo(-1);
  }
}
