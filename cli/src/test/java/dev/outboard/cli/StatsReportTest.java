// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.hook.Statistics;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** What {@code --stats} prints. */
class StatsReportTest {
  private static final StatsReport REPORT =
      new StatsReport(
          List.of(
              new Statistics.Line(
                  "sendfile", 3, 0, 0, 0, 0, 1, 3_000_000, 1_500, 2_500, 0, 0, 1, 2),
              new Statistics.Line("close", 8, 6, 4, 2, 7, 0, 0, 0, 0, 896, 1_792, 5, 0),
              new Statistics.Line("io_uring_setup", 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0),
              new Statistics.Line("io_setup", 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)),
          1_234,
          567,
          89,
          91,
          93,
          List.of(new CpuTime("hook", 1, 0.25, 1.5), new CpuTime("device", 2, 0, 0.01)),
          null);

  private static List<String> lines(Consumer<PrintStream> printer) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    printer.accept(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    return bytes.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @Test
  void peopleGetATable() {
    assertThat(lines(REPORT::print))
        .containsExactly(
            "call                   device     direct    at once       host  untrapped       hook          bytes     p50 us     p99 us direct p50 direct p99  spins won       lost",
            "sendfile                    3          0          0          0          0          1        3000000        1.5        2.5                                1          2",
            "close                       8          6          4          2          7          0              0        0.0        0.0        0.9        1.8          5          0",
            "io_uring_setup              0          0          0          0          0          2              0                                                      0          0",
            "io_setup                    0          0          0          0          0          1              0                                                      0          0",
            "channel: 1,234 bytes to the device, 567 bytes from it",
            "sent ahead: 89 sends",
            "received ahead: 91 receives",
            "called ahead: 93 calls",
            "io_uring: refused 2 times (ENOSYS), as its operations would pass the hook: programs go on with epoll",
            "AIO: refused 1 time (ENOSYS), as its operations would pass the hook: programs go on with threads",
            "CPU of the hook: 0.25 s in user mode, 1.50 s in the host's kernel",
            "CPU of the device: 0.00 s in user mode, 0.01 s in the host's kernel");
  }

  @Test
  void programsGetJson() {
    assertThat(lines(REPORT::printJson))
        .containsExactly(
            "{",
            "  \"calls\": [",
            "    {\"name\": \"sendfile\", \"device\": 3, \"direct\": 0, \"atOnce\": 0, \"host\": 0,"
                + " \"untrapped\": 0, \"hook\": 1, \"bytes\": 3000000, \"p50Nanos\": 1500, \"p99Nanos\": 2500,"
                + " \"directP50Nanos\": 0, \"directP99Nanos\": 0,"
                + " \"spinsWon\": 1, \"spinsLost\": 2},",
            "    {\"name\": \"close\", \"device\": 8, \"direct\": 6, \"atOnce\": 4, \"host\": 2,"
                + " \"untrapped\": 7, \"hook\": 0, \"bytes\": 0, \"p50Nanos\": 0, \"p99Nanos\": 0,"
                + " \"directP50Nanos\": 896, \"directP99Nanos\": 1792,"
                + " \"spinsWon\": 5, \"spinsLost\": 0},",
            "    {\"name\": \"io_uring_setup\", \"device\": 0, \"direct\": 0, \"atOnce\": 0, \"host\": 0,"
                + " \"untrapped\": 0, \"hook\": 2, \"bytes\": 0, \"p50Nanos\": 0, \"p99Nanos\": 0,"
                + " \"directP50Nanos\": 0, \"directP99Nanos\": 0,"
                + " \"spinsWon\": 0, \"spinsLost\": 0},",
            "    {\"name\": \"io_setup\", \"device\": 0, \"direct\": 0, \"atOnce\": 0, \"host\": 0,"
                + " \"untrapped\": 0, \"hook\": 1, \"bytes\": 0, \"p50Nanos\": 0, \"p99Nanos\": 0,"
                + " \"directP50Nanos\": 0, \"directP99Nanos\": 0,"
                + " \"spinsWon\": 0, \"spinsLost\": 0}",
            "  ],",
            "  \"channel\": {\"toDevice\": 1234, \"fromDevice\": 567, \"sentAhead\": 89, \"receivedAhead\": 91, \"calledAhead\": 93},",
            "  \"refused\": {\"io_uring_setup\": 2, \"io_setup\": 1},",
            "  \"cpuSeconds\": {\"hook\": {\"user\": 0.25, \"system\": 1.50},"
                + " \"device\": {\"user\": 0.00, \"system\": 0.01}}",
            "}");
  }
}
