// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.Tag;

/** Random sequences of calls: line by line, each kernel answers as the native one did. */
class SequenceTest {
  private static final int CALLS = 1000;
  private static final int MANY_CALLS = 20_000;

  /** {@code -Dtests.seed=} replays a sequence; the seed is part of every failure's command. */
  private static final long SEED =
      System.getProperty("tests.seed", "").isEmpty()
          ? new Random().nextInt(1 << 30)
          : Long.getLong("tests.seed");

  @Scenario
  void aRandomSequence(Trial trial) {
    run(trial, SEED, CALLS);
  }

  @Tag("judges")
  @Scenario(trace = false)
  void aLongRandomSequence(Trial trial) {
    run(trial, SEED + 1, MANY_CALLS);
  }

  private static void run(Trial trial, long seed, int calls) {
    System.out.println("-Dtests.seed=" + SEED);
    Finished done =
        trial
            .program(Programs.c("sequence"), Long.toString(seed), Integer.toString(calls))
            .run(Duration.ofSeconds(60 + calls / 100));
    trial.outcome("results of -Dtests.seed=" + SEED, done.output());
    done.expectSuccess();
  }
}
