// SPDX-License-Identifier: MIT
package dev.outboard.tests.poll;

import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/** The cases of {@code polling.c}: each must hold, and print what it prints natively. */
@HostKernelByJudges
class PollingTest {
  private static final Duration LIMIT = Duration.ofSeconds(90);

  /** Every state of TCP and UDP sockets as poll and select show it, errors and hangups included. */
  @Scenario
  void masksAreExact(Trial trial) {
    run(trial, "masks");
  }

  /** A look without waiting sees what a peer has just sent, and nothing that was just read. */
  @Scenario(trace = false)
  void aLookIsExact(Trial trial) {
    run(trial, "exact", "fresh");
  }

  @Scenario
  void timeoutsAndBadArguments(Trial trial) {
    run(trial, "timeouts");
  }

  @Scenario(trace = false)
  void noEdgeIsLost(Trial trial) {
    run(trial, "edges", "connecting", "oneshot", "alike", "flood");
  }

  /** Processes that share listening sockets, connections and epoll sets. */
  @Scenario(trace = false)
  void processesShareWhatTheyWaitFor(Trial trial) {
    run(trial, "workers", "shared", "nested", "passed");
  }

  /**
   * Sockets together with pipes, eventfds, timers, signals and changes of files; and descriptors
   * above 1024.
   */
  @Scenario
  void allKindsInOneWait(Trial trial) {
    run(trial, "mixed", "notices", "high");
  }

  @Scenario(trace = false)
  void sendfileIsTheKernels(Trial trial) {
    run(trial, "files");
  }

  @Scenario
  void manyMessagesAtOnce(Trial trial) {
    run(trial, "many");
  }

  private static void run(Trial trial, String... cases) {
    String[] words = new String[cases.length + 1];
    words[0] = Programs.c("polling");
    System.arraycopy(cases, 0, words, 1, cases.length);
    trial.outcome("output", trial.program(words).run(LIMIT).expectSuccess().output());
  }
}
