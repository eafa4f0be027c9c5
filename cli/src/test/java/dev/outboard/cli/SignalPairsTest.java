// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static dev.outboard.cli.SignalPairs.Side.FRONT;
import static dev.outboard.cli.SignalPairs.Side.GROUP;
import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class SignalPairsTest {
  private static final int INT = 2;
  private static final int TERM = 15;
  private static final int LAST = 64;

  private long now = Long.MAX_VALUE - 5; // it may overflow
  private final SignalPairs pairs = new SignalPairs(() -> now);

  @Test
  void aSignalToTheFrontAloneIsPassedOnOnceTheGroupHasAnswered() {
    pairs.report(FRONT, TERM);
    assertThat(pairs.ask(FRONT)).isFalse();
    assertThat(pairs.ask(GROUP)).isTrue();
    assertThat(pairs.due()).isZero();
    pairs.answered(GROUP);
    assertThat(pairs.due()).isEqualTo(TERM);
    assertThat(pairs.due()).isZero();
    assertThat(pairs.ask(GROUP)).isFalse();
  }

  @Test
  void aSignalToTheGroupIsNotPassedOnWhoeverReportsFirst() {
    pairs.report(FRONT, INT);
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.report(GROUP, INT);
    pairs.answered(GROUP);
    assertThat(pairs.due()).isZero();
    pairs.report(GROUP, LAST);
    assertThat(pairs.ask(FRONT)).isTrue();
    pairs.report(FRONT, LAST);
    pairs.answered(FRONT);
    assertThat(pairs.due()).isZero();
    assertThat(pairs.ask(GROUP)).isFalse();
  }

  @Test
  void aReportOfTheGroupWithoutAnyOfTheFrontDoesNotHideALaterSignal() {
    pairs.report(GROUP, INT);
    assertThat(pairs.ask(FRONT)).isTrue();
    pairs.answered(FRONT);
    now += SignalPairs.LATE_NANOS;
    pairs.report(FRONT, INT);
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.answered(GROUP);
    assertThat(pairs.due()).isEqualTo(INT);
  }

  /** The kernel may come to the front last, and be held up on its way. */
  @Test
  void aSignalToTheGroupThatComesToTheFrontBehindItsAnswerIsNotPassedOn() {
    pairs.report(GROUP, INT);
    pairs.report(GROUP, TERM);
    assertThat(pairs.ask(FRONT)).isTrue();
    pairs.report(FRONT, TERM);
    pairs.answered(FRONT);
    now += SignalPairs.LATE_NANOS - 1;
    pairs.report(FRONT, INT);
    assertThat(pairs.ask(GROUP)).isFalse();
    assertThat(pairs.due()).isZero();
    // One counterpart each: what came in time has none left.
    pairs.report(FRONT, INT);
    pairs.report(FRONT, TERM);
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.answered(GROUP);
    assertThat(pairs.due()).isEqualTo(INT);
    assertThat(pairs.due()).isEqualTo(TERM);
  }

  @Test
  void aReportDuringAQuestionWaitsForTheNextOne() {
    pairs.report(FRONT, INT);
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.report(FRONT, TERM);
    assertThat(pairs.ask(GROUP)).isFalse();
    pairs.answered(GROUP);
    assertThat(pairs.due()).isEqualTo(INT);
    assertThat(pairs.due()).isZero();
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.report(GROUP, TERM);
    pairs.answered(GROUP);
    assertThat(pairs.due()).isZero();
  }

  @Test
  void signalsAreIndependentOfEachOther() {
    pairs.report(FRONT, INT);
    pairs.report(FRONT, TERM);
    assertThat(pairs.ask(GROUP)).isTrue();
    pairs.report(GROUP, INT);
    pairs.answered(GROUP);
    assertThat(pairs.due()).isEqualTo(TERM);
    assertThat(pairs.due()).isZero();
  }
}
