// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.parallel.Isolated;

/**
 * Signals during calls that block: the same effects as natively, and within 20 ms of them. The
 * programs measure each time until the median is within that, or has no more hope of it.
 */
@Isolated("it measures how soon signals are seen")
class SignalsTest {
  private static final long MARGIN_MICROS = 20_000;
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /**
   * From a signal that ends the program to the shell's next prompt: the command ends after the
   * program, when its device has given back all that others could notice (docs/differences.md).
   */
  private static final long END_MARGIN_MICROS = 100_000;

  @Scenario(trace = false)
  void alarmsDuringBlockingCalls(Trial trial) {
    Finished done = trial.program(Programs.staticC("alarms")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    timings(trial, "late (.*) (-?\\d+)", done.errors());
  }

  @Scenario(trace = false)
  void endingAndStoppingDuringBlockingCalls(Trial trial) {
    Finished done = trial.program(Programs.staticC("endings")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    timings(trial, "took (.*) (-?\\d+)", done.errors());
  }

  @Scenario(trace = false)
  void jobControlOnATerminal(Trial trial) {
    List<String> words = new ArrayList<>(List.of(Programs.PYTHON, Programs.python("job_control")));
    words.addAll(trial.program(Programs.PYTHON, Programs.python("repeat")).commandLine());
    Finished done =
        trial
            .machine(words.toArray(String[]::new))
            .environment("TMPDIR", trial.directory().resolve("tmp").toString())
            .run(Duration.ofSeconds(100))
            .expectSuccess();
    trial.outcome("output", done.output());
    timings(trial, "took (stop|continue) (-?\\d+)", done.errors());
    timings(trial, "took (interrupt|quit) (-?\\d+)", done.errors(), END_MARGIN_MICROS);
  }

  private static void timings(Trial trial, String pattern, String text) {
    timings(trial, pattern, text, MARGIN_MICROS);
  }

  private static void timings(Trial trial, String pattern, String text, long marginMicros) {
    Matcher m = Pattern.compile("^" + pattern + "$", Pattern.MULTILINE).matcher(text);
    int found = 0;
    while (m.find()) {
      found++;
      trial.quantity(m.group(1) + " (µs)", Long.parseLong(m.group(2)), marginMicros);
    }
    assertThat(found).as("timings in %s", text).isPositive();
  }
}
