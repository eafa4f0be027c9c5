// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class SignalPairsTest {
  private static final int INT = 2;
  private static final int TERM = 15;
  private static final long GRACE = SignalPairs.GRACE_NANOS;
  private static final long START = -5; // nanoTime may be anything

  private final SignalPairs pairs = new SignalPairs();

  @Test
  void aSignalToTheFrontAloneIsPassedOnOnce() {
    pairs.front(TERM, START);
    assertThat(pairs.due(START + GRACE - 1)).isZero();
    assertThat(pairs.waiting()).isTrue();
    assertThat(pairs.due(START + GRACE)).isEqualTo(TERM);
    assertThat(pairs.due(START + 2 * GRACE)).isZero();
    assertThat(pairs.waiting()).isFalse();
  }

  @Test
  void aSignalToTheGroupIsNotPassedOnWhoeverReportsFirst() {
    pairs.front(INT, START);
    pairs.group(INT, START + 1);
    assertThat(pairs.due(START + 10 * GRACE)).isZero();
    pairs.group(INT, START + 20 * GRACE);
    pairs.front(INT, START + 20 * GRACE + 1);
    assertThat(pairs.due(START + 40 * GRACE)).isZero();
  }

  @Test
  void anOldReportOfTheGroupDoesNotHideALaterSignal() {
    pairs.group(INT, START);
    pairs.front(INT, START + GRACE);
    assertThat(pairs.due(START + 2 * GRACE)).isEqualTo(INT);
  }

  @Test
  void signalsAreIndependentOfEachOther() {
    pairs.front(INT, START);
    pairs.front(TERM, START);
    pairs.group(INT, START + 1);
    assertThat(pairs.due(START + GRACE)).isEqualTo(TERM);
    assertThat(pairs.due(START + GRACE)).isZero();
  }
}
