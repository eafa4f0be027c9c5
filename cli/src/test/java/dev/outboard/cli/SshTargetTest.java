// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SshTargetTest {
  @ParameterizedTest
  @CsvSource({
    "ssh://nic, nic, , outboard",
    "ssh://root@nic.example.org, root@nic.example.org, , outboard",
    "ssh://nic:2222/, nic, 2222, outboard",
    "ssh://a.b@10.0.0.7:22/opt/outboard/outboard, a.b@10.0.0.7, 22, /opt/outboard/outboard",
    "ssh://[fd00::7]:22/opt/o b, fd00::7, 22, /opt/o b",
  })
  void understands(String text, String destination, String port, String outboard) {
    assertThat(SshTarget.parse(text)).isEqualTo(new SshTarget(destination, port, outboard));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "ssh://",
        "ssh:///opt",
        "ssh://-oProxyCommand=x",
        "ssh://a@-x",
        "ssh://-l@nic",
        "ssh://nic:port",
        "ssh://nic:123456",
        "ssh://a@b@c",
        "tcp://nic",
      })
  void refuses(String text) {
    assertThat(SshTarget.parse(text)).isNull();
  }

  @Test
  void quotesWhatAShellOverThereReads() {
    assertThat(
            new SshTarget("nic", "22", "/opt/it's/outboard").command(List.of("--export=/a b:$x")))
        .containsExactly(
            "ssh",
            "-T",
            "-e",
            "none",
            "-o",
            "BatchMode=yes",
            "-p",
            "22",
            "--",
            "nic",
            "exec '/opt/it'\\''s/outboard' device --stdio '--export=/a b:$x'");
  }
}
