// SPDX-License-Identifier: MIT
package dev.outboard.tests.hook;

import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/** The cases of {@code descriptors.c}: each must hold, and print what it prints natively. */
@HostKernelByJudges
class DescriptorsTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  @Scenario
  void aFullTableLosesNoConnection(Trial trial) {
    run(trial, "full");
  }

  @Scenario(trace = false)
  void aClosedPortIsFreeAtOnce(Trial trial) {
    run(trial, "reuse");
  }

  @Scenario(trace = false)
  void longTransfersAreWhole(Trial trial) {
    run(trial, "transfers");
  }

  @Scenario
  void brokenStreamsRaiseSigpipe(Trial trial) {
    run(trial, "broken");
  }

  @Scenario
  void descriptorsAreInheritedAndPassed(Trial trial) {
    run(trial, "passed");
  }

  @Scenario
  void identityIsMirrored(Trial trial) {
    run(trial, "identity");
  }

  @Scenario
  void unusualTablesAreSeenAsTheyAre(Trial trial) {
    run(trial, "shared");
  }

  /** The seed is on standard error; {@code -Dtests.seed=} replays it. */
  @Scenario(trace = false)
  void numbersThatChangeMeaningAreNeverMistaken(Trial trial) {
    String seed = Long.toString(Long.getLong("tests.seed", System.nanoTime() & 0xffffff));
    run(trial, "race", seed, "" + trial.amount(1, 10));
  }

  private static void run(Trial trial, String... words) {
    String[] line = new String[words.length + 1];
    line[0] = Programs.c("descriptors");
    System.arraycopy(words, 0, line, 1, words.length);
    trial.outcome("output", trial.program(line).run(LIMIT).expectSuccess().output());
  }
}
