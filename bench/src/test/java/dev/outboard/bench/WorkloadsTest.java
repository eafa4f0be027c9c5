// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.InputStream;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WorkloadsTest {
  private static final int LIMIT_SECONDS = 60;

  @TempDir Path directory;

  private static Stream<Measure> measures(Workload w) {
    return w.runs().stream().flatMap(List::stream);
  }

  private static List<String> nginxKeys(NginxWorkload.Kind kind) {
    return measures(new NginxWorkload(kind)).map(Measure::key).toList();
  }

  @Test
  void callsAreMadeUnderAFilterThatAllowsAllToo() throws Exception {
    CallsWorkload calls = new CallsWorkload();
    assertThat(calls.modes(Modes.chosen(List.of("host"))).stream().map(Mode::name))
        .containsExactly("native", "filtered", "outboard", "host");
  }

  /** The program knows each operation that it is asked for, with a filter and without. */
  @Test
  void theProgramDoesWhatItIsAskedFor() throws Exception {
    Path source = directory.resolve("calls.c");
    Path program = directory.resolve("calls");
    try (InputStream in =
        Objects.requireNonNull(CallsWorkload.class.getResourceAsStream("calls.c"))) {
      Files.write(source, in.readAllBytes());
    }
    Process compiler =
        new ProcessBuilder(
                "gcc", "-O2", "-Wall", "-Werror", "-pthread", "-o", "" + program, "" + source)
            .inheritIO()
            .start();
    assertThat(compiler.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    assertThat(compiler.exitValue()).isZero();
    // A test may run under a filter already.
    int before = filters(ProcessHandle.current().pid());
    for (String word : List.of("", Modes.FILTERED.name())) {
      Process p =
          new ProcessBuilder(program.toString(), word)
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      try (Writer questions = p.outputWriter();
          BufferedReader answers = p.inputReader()) {
        for (Measure m : measures(new CallsWorkload()).toList()) {
          questions.write(m.key() + " 0.001\n");
          questions.flush();
          Sample.Work work = CPrograms.work(answers.readLine());
          assertThat(work.amount()).as("%s, %s", m.key(), word).isPositive();
        }
        assertThat(filters(p.pid()))
            .as("filters of '%s'", word)
            .isEqualTo(before + (word.isEmpty() ? 0 : 1));
      } finally {
        p.destroyForcibly();
      }
    }
  }

  private static int filters(long pid) throws Exception {
    return Files.readAllLines(Path.of("/proc/" + pid + "/status")).stream()
        .filter(l -> l.startsWith("Seccomp_filters:"))
        .mapToInt(l -> Integer.parseInt(l.substring(l.indexOf(':') + 1).strip()))
        .sum();
  }

  @Test
  void nginxServesWhatIsAskedFor() {
    assertThat(nginxKeys(NginxWorkload.Kind.FILES)).containsExactly("1m");
    assertThat(nginxKeys(NginxWorkload.Kind.FILES_BY_TLS)).containsExactly("1m");
    assertThat(nginxKeys(NginxWorkload.Kind.REQUESTS)).containsExactly("1k_host", "1k");
    assertThat(measures(new NginxWorkload(NginxWorkload.Kind.REQUESTS)).map(Measure::unit))
        .containsOnly(Measure.Unit.REQUESTS);
  }

  @Test
  void workloadsAreFoundByTheirNames() {
    assertThat(Bench.workloads())
        .containsExactly("tcp", "rr", "sendfile", "ktls", "requests", "redis", "calls");
  }
}
