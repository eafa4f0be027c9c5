// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** Signals whose effects count, not their time; {@link SignalsTest} measures that. */
class SignalEffectsTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  @Scenario
  void masksOfPpollPselectAndEpollPwait(Trial trial) {
    Finished done = trial.program(Programs.staticC("masks")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  /** Calls that never say EINTR, though a handler lacks SA_RESTART; and what programs see of it. */
  @Scenario(trace = false)
  void handlersWithoutRestart(Trial trial) {
    Finished done = trial.program(Programs.c("interrupted")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  /**
   * SIGIO, SIGURG and what F_SETSIG names, which the host's kernel makes of placeholders' edges.
   */
  @Scenario(trace = false)
  void signalsOfWhatArrives(Trial trial) {
    List<String> hooks = trial.mode().offloaded() ? List.of("shim", "notifier") : List.of("none");
    for (String hook : hooks) {
      Finished done =
          trial
              .program(Programs.staticC("async"))
              .with("--hook=" + hook)
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
    }
  }

  @Scenario
  void signalsOfATunInterface(Trial trial) {
    Programs.require("ip");
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("tun_signals")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void aStormOnSixteenThreads(Trial trial) {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    Finished done =
        trial
            .program(Programs.staticC("storm"), Long.toString(seed), "" + trial.amount(1, 3))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario
  void termSentToTheCommandEndsTheProgram(Trial trial) {
    try (Running running = blocked(trial)) {
      long start = System.nanoTime();
      running.signal("TERM");
      trial.outcome("status", running.await(Duration.ofSeconds(10)).status());
      // The hook ends with the program; its JVM's own end is allowed for.
      trial.quantity("micros", (System.nanoTime() - start) / 1000, 500_000);
    }
  }

  @Scenario
  void aPipeClosedEarly(Trial trial) {
    List<String> words =
        new ArrayList<>(List.of("bash", "-c", "\"$@\" | head -n 1; echo ${PIPESTATUS[0]}", "bash"));
    words.addAll(trial.program("sh", "-c", "yes 'a line'").commandLine());
    Finished done =
        trial.machine(words.toArray(String[]::new)).run(Duration.ofSeconds(20)).expectSuccess();
    trial.outcome("output", done.output());
  }

  private static Running blocked(Trial trial) {
    Running running = trial.program(Programs.PYTHON, Programs.python("repeat")).start();
    running.awaitOutput(Duration.ofSeconds(20), "ready");
    return running;
  }
}
