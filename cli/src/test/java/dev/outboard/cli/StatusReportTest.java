// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What {@code outboard status} makes of what a service on another machine says. */
class StatusReportTest {
  private static final String COMMAND = "\033[2J\u009b2J\u007f";

  private static ServiceStatus status(boolean own, int pid, long cpu, String text) {
    return new ServiceStatus(
        new ServiceFrame.ServiceStatus(
            text, own ? 0 : 17, 61_000, 64, false, false, own, 1, 5, 6, 7, text),
        List.of(
            new ServiceFrame.KernelStatus(
                1,
                "",
                pid,
                "library",
                text,
                1000,
                1 << 20,
                0,
                cpu,
                0,
                List.of(
                    new ServiceFrame.SessionStatus(
                        2,
                        text,
                        1000,
                        10,
                        1,
                        2,
                        3,
                        4,
                        0,
                        0,
                        1,
                        1,
                        List.of(new ServiceFrame.Program(5, 1000, text)))))));
  }

  @Test
  void whatIsAHostsOwnSaysSo() {
    StatusReport before = StatusReport.of(status(true, 0, 0, "v"), null);
    StatusReport now = StatusReport.of(status(true, 0, Long.MAX_VALUE / 4, "v"), before);
    String lines = String.join("\n", now.lines());
    assertThat(lines)
        .startsWith(
            "outboard v, up 1m1s, 64 sessions at most: 1 of this host's; so far 5, 6 refused")
        .doesNotContain("process")
        .containsPattern("(?m)^2 +library +1s ");
    assertThat(now.json()).contains("\"ownSessionsOnly\": true", "\"pid\": 0");
    // The kernel is found again though its process is not told: it has used something since.
    assertThat(now.json()).doesNotContain("\"cpuPercent\": 0,");
    assertThat(String.join("\n", StatusReport.of(status(false, 9, 0, "v"), null).lines()))
        .startsWith("outboard v, process 17, up 1m1s: 1 of 64 sessions")
        .contains("library-9");
  }

  @Test
  void noTextOfAServiceReachesATerminalAsACommand() {
    for (boolean own : new boolean[] {true, false}) {
      StatusReport report = StatusReport.of(status(own, 1, 0, COMMAND), null);
      assertThat(String.join("", report.lines()) + report.json())
          .doesNotContain("\033", "\u009b", "\u007f");
      assertThat(report.json()).contains("\\u001b[2J\\u009b2J\\u007f");
    }
  }
}
