// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class SpreadTest {
  @Test
  void theMedianOfAnOddNumberIsTheMiddleOne() {
    assertThat(Spread.of(9, 1, 4)).isEqualTo(new Spread(1, 4, 9, 3));
  }

  @Test
  void theMedianOfAnEvenNumberLiesBetweenTheTwoInTheMiddle() {
    assertThat(Spread.of(8, 1, 2, 4)).isEqualTo(new Spread(1, 3, 8, 4));
  }

  @Test
  void oneValueHasNoSpread() {
    assertThat(Spread.of(5)).isEqualTo(new Spread(5, 5, 5, 1));
  }

  @Test
  void theValuesStayAsTheyWere() {
    double[] values = {3, 1, 2};
    Spread.of(values);
    assertThat(values).containsExactly(3, 1, 2);
  }

  @Test
  void nothingHasNoMedian() {
    assertThatThrownBy(Spread::of).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void ratiosAreOfTheSameRound() {
    // The machine is half as fast in the second round; the medians' ratio would be 2/3.
    double[] ours = {2, 1, 2};
    double[] base = {4, 2, 3};
    assertThat(Spread.ofRatios(ours, base)).isEqualTo(new Spread(0.5, 0.5, 2 / 3.0, 3));
    assertThatThrownBy(() -> Spread.ofRatios(ours, new double[] {1}))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
