// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.Tag;

/** Random sequences of calls: line by line, each kernel answers as the native one did. */
class SequenceTest {
  private static final int CALLS = 1000;
  private static final int MANY_CALLS = 20_000;

  /** {@code -Dtests.sequences=N}: so many long ones, each with a seed of its own. */
  private static final int SEQUENCES = Integer.getInteger("tests.sequences", 1);

  /** {@code -Dtests.seed=} replays a sequence; the seed is part of every failure's command. */
  private static final long SEED =
      System.getProperty("tests.seed", "").isEmpty()
          ? new Random().nextInt(1 << 30)
          : Long.getLong("tests.seed");

  @Scenario
  void aRandomSequence(Trial trial) throws IOException {
    run(trial, SEED, CALLS, Duration.ofSeconds(60));
  }

  @Tag("judges")
  @Scenario(trace = false)
  void aLongRandomSequence(Trial trial) throws IOException {
    for (int i = 1; i <= SEQUENCES; i++) {
      run(trial, SEED + i, MANY_CALLS, Duration.ofMinutes(5));
    }
  }

  private static void run(Trial trial, long seed, int calls, Duration limit) throws IOException {
    System.out.println("-Dtests.seed=" + SEED + ", the sequence of " + seed);
    String directory =
        Files.createDirectory(trial.directory().resolve("device-" + seed)).toString();
    Finished done =
        trial
            .program(Programs.c("sequence"), "" + seed, "" + calls, directory)
            .with("--export=" + directory)
            .run(limit);
    trial.outcome("sequence of " + seed, done.output());
    done.expectSuccess();
  }
}
