// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunStatisticsTest {
  @Test
  void callsAndChannelAreRead() {
    RunStatistics s =
        RunStatistics.parse(
            """
            {"calls": [{"name": "sendfile", "device": 3, "host": 1, "hook": 2, "bytes": 4096},
                       {"name": "read"}, {"device": 99}],
             "channel": {"toDevice": 100, "fromDevice": 50}, "later": []}
            """);
    assertThat(s.calls())
        .containsExactly(
            new RunStatistics.Call("sendfile", 3, 1, 2, 4096),
            new RunStatistics.Call("read", 0, 0, 0, 0));
    assertThat(s.trapped()).isEqualTo(6);
    assertThat(s.onDevice()).isEqualTo(3);
    assertThat(s.channelBytes()).isEqualTo(150);
  }

  @Test
  void whatIsNotSaidIsNotKnown() {
    assertThat(RunStatistics.parse("{}").channelBytes()).isNaN();
    assertThat(RunStatistics.parse("[]").calls()).isEmpty();
  }

  @Test
  void aFileThatIsNoneOrIsCutOffIsNoStatistics(@TempDir Path directory) throws Exception {
    assertThat(RunStatistics.read(null)).isNull();
    assertThat(RunStatistics.read(directory.resolve("none"))).isNull();
    assertThat(RunStatistics.read(Files.writeString(directory.resolve("cut"), "{\"calls\": [")))
        .isNull();
  }

  @Test
  void tlsConnectionsAreCounted() {
    assertThat(NginxWorkload.sessions("TlsCurrTxSw \t1\nTlsTxSw  \t33\nTlsTxDevice\t2\n"))
        .isEqualTo(33);
  }
}
