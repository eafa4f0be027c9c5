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

/**
 * Sends that nobody waits for, and receives that were looked at before they are asked for: what a
 * program says it has sent arrives, in order and however it ends, and what comes is received once.
 */
@HostKernelByJudges
class AheadTest {
  private static final Duration LIMIT = Duration.ofSeconds(110);

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void whatWasSentArrives(Trial trial) throws IOException {
    againstPeer(trial, "ahead", trial.amount(60, 500), "sentAhead");
  }

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void whatComesIsReceivedOnce(Trial trial) throws IOException {
    againstPeer(trial, "peeked", trial.amount(20_000, 200_000), "receivedAhead");
  }

  /** A program against a peer on the machine, natively first; most of what it does goes ahead. */
  private static void againstPeer(Trial trial, String name, int amount, String counted)
      throws IOException {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    String port = Integer.toString(trial.port());
    String much = Integer.toString(amount);
    Path stats = trial.directory().resolve("stats.json");
    try (Running peer =
        trial
            .machine(Programs.PYTHON, Programs.python(name + "_peer"), "0.0.0.0", port, much)
            .start()) {
      peer.awaitOutput(LIMIT, "up");
      Command program =
          trial.program(Programs.c(name), trial.outside(), port, Long.toString(seed), much);
      Finished done = program.with("--stats=" + stats).run(LIMIT).expectSuccess();
      trial.outcome("output", done.output());
    }
    if (trial.mode() == Mode.LIBRARY) {
      Eventually.require(
          LIMIT,
          () -> "little went ahead: " + count(stats, counted),
          () -> count(stats, counted) > 500);
    }
  }

  /** A number of the report, when that has been written; before that 0. */
  private static long count(Path stats, String name) {
    try {
      Matcher m = Pattern.compile("\"" + name + "\": (\\d+)").matcher(Files.readString(stats));
      return m.find() ? Long.parseLong(m.group(1)) : 0;
    } catch (IOException e) {
      return 0;
    }
  }
}
