// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Programs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code outboard bench}, as a user calls it; the workload is the one that needs no root. */
class BenchTest {
  private static final int LIMIT_SECONDS = 120;

  @TempDir Path directory;

  private Process start(String... words) throws IOException {
    List<String> command = new ArrayList<>(List.of(Programs.launcher().toString(), "bench"));
    command.addAll(List.of(words));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(directory.toFile())
            .redirectOutput(directory.resolve("output").toFile())
            .redirectError(directory.resolve("errors").toFile());
    builder.environment().put("TMPDIR", directory.toString());
    return builder.start();
  }

  private String read(String name) throws IOException {
    return Files.readString(directory.resolve(name), StandardCharsets.UTF_8);
  }

  private int end(Process p) throws InterruptedException {
    try {
      assertThat(p.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).as("it ends in time").isTrue();
      return p.exitValue();
    } finally {
      p.descendants().forEach(ProcessHandle::destroyForcibly);
      p.destroyForcibly();
    }
  }

  private List<String> left() throws IOException {
    try (Stream<Path> all = Files.list(directory)) {
      return all.map(p -> p.getFileName().toString())
          .filter(n -> n.startsWith("outboard-bench-"))
          .toList();
    }
  }

  @Test
  void aQuickRunGivesATableAFileForProgramsAndAPage() throws Exception {
    assertThat(end(start("calls", "--quick"))).as(read("errors")).isZero();
    for (String call :
        List.of(
            "getppid",
            "1 B read",
            "1 KiB pread",
            "getsockname",
            "device call, one CPU",
            "futex round trip",
            "socket + close",
            "TCP bulk")) {
      for (String mode : List.of("native", "filtered", "outboard")) {
        assertThat(read("output").lines().filter(l -> l.contains(call)))
            .anySatisfy(l -> assertThat(l).containsPattern("\\| " + mode + " +\\| [0-9.,]+ \\("));
      }
    }
    assertThat(read("errors")).containsPattern("\\[0:[0-9]{2} left] ");
    String json = read("bench.json");
    assertThat(json).contains("\"measure\": \"tcp_rr\"", "\"mode\": \"outboard\"");
    // From the statistics that outboard run writes at the program's end.
    assertThat(json).containsPattern("\"name\": \"getsockname\",\\s+\"device\": [1-9]");
    assertThat(json).containsPattern("\"channelToDevice\": [1-9]");
    assertThat(read("bench.html")).contains("<svg", "socket + close", "</html>");
    assertThat(left()).isEmpty();
  }

  @Test
  void whatIsNotThereIsRefusedByName() throws Exception {
    assertThat(end(start("cals"))).isEqualTo(125);
    assertThat(read("errors")).contains("'cals'", "calls");
    assertThat(end(start("calls", "--vs=nobody"))).isEqualTo(125);
    assertThat(read("errors")).contains("'nobody'", "proot");
    assertThat(end(start("--rounds=0"))).isEqualTo(125);
  }

  @Test
  void anInterruptedRunLeavesNothing() throws Exception {
    Process p = start("calls", "--quick", "--rounds=100");
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS);
    while (!read("errors").contains("warm-up") && System.nanoTime() - deadline < 0) {
      Thread.sleep(50);
    }
    List<ProcessHandle> below = p.descendants().toList();
    assertThat(below).isNotEmpty();
    p.destroy();
    assertThat(end(p)).isEqualTo(128 + 15);
    for (ProcessHandle h : below) {
      h.onExit().get(LIMIT_SECONDS, TimeUnit.SECONDS);
    }
    assertThat(left()).isEmpty();
    assertThat(directory.resolve("bench.json")).doesNotExist();
  }
}
