// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/**
 * What {@code docs/differences.md} says is so: {@code differences.py} shows each of its rows. A row
 * that is mended makes this fail as one that is new does, and then the document is to be changed.
 */
class DifferencesTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** How many differences may be explained instead of mended. */
  private static final int MOST = 30;

  private static final Pattern ROW = Pattern.compile("^\\| (\\d+) \\|");

  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void eachIsAsDocumented(Trial trial) throws IOException {
    Assumptions.assumeTrue(System.getProperty("user.name").equals("root"), "rings and BPF take it");
    Files.createDirectory(trial.directory().resolve("export"));
    boolean offloaded = trial.mode() == Mode.LIBRARY;
    String export = trial.directory().resolve("export").toString();
    Finished first =
        offloaded
            ? show(trial, "files", "/srv/differences", "--export=" + export + ":/srv/differences")
            : show(trial, "native", export);
    List<String> lines =
        offloaded
            ? Stream.concat(
                    first.output().lines(),
                    show(trial, "bpf", export, "--bpf=device").output().lines())
                .toList()
            : first.output().lines().toList();
    int rows = documented().size();
    assertThat(lines.stream().map(line -> Integer.valueOf(line.substring(0, line.indexOf(' ')))))
        .containsExactlyInAnyOrderElementsOf(IntStream.rangeClosed(1, rows).boxed().toList());
    assertThat(documented()).isEqualTo(IntStream.rangeClosed(1, rows).boxed().toList());
    assertThat(rows).isLessThanOrEqualTo(MOST);
    if (offloaded) {
      assertThat(lines).noneMatch(line -> line.contains("cannot be shown"));
    }
  }

  private static Finished show(Trial trial, String how, String directory, String... options) {
    return trial
        .program(Programs.PYTHON, Programs.python("differences"), how, directory)
        .with(options)
        .run(LIMIT)
        .expectSuccess();
  }

  private static List<Integer> documented() throws IOException {
    try (Stream<String> lines = Files.lines(Programs.document("differences.md"))) {
      return lines
          .map(ROW::matcher)
          .filter(m -> m.find())
          .map(m -> Integer.valueOf(m.group(1)))
          .toList();
    }
  }
}
