// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;

/** Random sequences of calls: line by line, each kernel answers as the native one did. */
class SequenceTest {
  private static final int CALLS = 1000;
  private static final int MANY_CALLS = 20_000;

  /** How long what a peer has done may take to be seen over a link. */
  private static final String LONG_REST_US = "5000";

  /** {@code -Dtests.sequences=N}: so many long ones, each with a seed of its own. */
  private static final int SEQUENCES = Integer.getInteger("tests.sequences", 1);

  /** {@code -Dtests.seed=} replays a sequence; the seed is part of every failure's command. */
  private static final long SEED =
      System.getProperty("tests.seed", "").isEmpty()
          ? new Random().nextInt(1 << 30)
          : Long.getLong("tests.seed");

  @Scenario
  void aRandomSequence(Trial trial) throws IOException {
    run(trial, SEED, CALLS, Duration.ofSeconds(60), false);
  }

  @Tag("judges")
  @Scenario(trace = false)
  void aLongRandomSequence(Trial trial) throws IOException {
    for (int i = 1; i <= SEQUENCES; i++) {
      run(trial, SEED + i, MANY_CALLS, Duration.ofMinutes(5), false);
    }
  }

  /** With a device at the other end of a link. */
  @Tag("judges")
  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void aRandomSequenceElsewhere(Trial trial) throws IOException {
    for (int i = 1; i <= SEQUENCES; i++) {
      run(trial, SEED + i, MANY_CALLS / 4, Duration.ofMinutes(5), true);
    }
  }

  private static void run(Trial trial, long seed, int calls, Duration limit, boolean elsewhere)
      throws IOException {
    System.out.println("-Dtests.seed=" + SEED + ", the sequence of " + seed);
    String directory =
        Files.createDirectory(trial.directory().resolve("device-" + seed)).toString();
    List<String> words =
        new ArrayList<>(List.of(Programs.c("sequence"), "" + seed, "" + calls, directory));
    if (elsewhere) {
      words.add(LONG_REST_US);
    }
    Command command = trial.program(words.toArray(String[]::new)).with("--export=" + directory);
    Finished done = (elsewhere ? command.overSsh() : command).run(limit);
    trial.outcome("sequence of " + seed, done.output());
    done.expectSuccess();
  }
}
