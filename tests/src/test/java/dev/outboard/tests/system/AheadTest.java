// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sends that nobody waits for: that all they say is sent arrives, in order, however it ends. */
@HostKernelByJudges
class AheadTest {
  private static final Duration LIMIT = Duration.ofSeconds(110);
  private static final Pattern AHEAD = Pattern.compile("\"sentAhead\": (\\d+)");

  /** To a peer on the machine, natively first. */
  @Scenario(link = Link.TO_MACHINE, trace = false)
  void whatWasSentArrives(Trial trial) throws IOException {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    String port = Integer.toString(trial.port());
    String requests = Integer.toString(trial.amount(60, 500));
    Path stats = trial.directory().resolve("stats.json");
    try (Running peer =
        trial
            .machine(Programs.PYTHON, Programs.python("ahead_peer"), "0.0.0.0", port, requests)
            .start()) {
      peer.awaitOutput(LIMIT, "up");
      Command program =
          trial.program(Programs.c("ahead"), trial.outside(), port, Long.toString(seed), requests);
      Finished done = program.with("--stats=" + stats).run(LIMIT).expectSuccess();
      trial.outcome("output", done.output());
    }
    if (trial.mode() == Mode.LIBRARY) {
      Eventually.require(
          LIMIT, () -> "few sends went ahead: " + ahead(stats), () -> ahead(stats) > 500);
    }
  }

  /** How many, when the report has been written; before that 0. */
  private static long ahead(Path stats) {
    try {
      Matcher m = AHEAD.matcher(Files.readString(stats));
      return m.find() ? Long.parseLong(m.group(1)) : 0;
    } catch (IOException e) {
      return 0;
    }
  }
}
