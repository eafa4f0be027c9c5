// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class MainTest {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  private int run(String... words) {
    Terminal terminal =
        new Terminal(
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8));
    return Main.run(List.of(words), terminal);
  }

  @Test
  void noCommandIsAnErrorWithAHint() {
    assertThat(run()).isEqualTo(125);
    assertThat(err).asString().contains("a command is missing", "outboard --help");
  }

  @Test
  void aMistypedCommandIsRecognised() {
    assertThat(run("chekc")).isEqualTo(125);
    assertThat(err).asString().contains("no command 'chekc'; did you mean check?");
  }

  @Test
  void aProgramInPlaceOfACommandIsExplained() {
    assertThat(run("curl", "http://x")).isEqualTo(125);
    assertThat(err).asString().contains("outboard run -- curl");
  }

  @Test
  void anUnknownOptionIsOursToRefuse() {
    assertThat(run("run", "--nte=none", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("unknown option '--nte'; did you mean --net?");
    assertThat(out.size()).isZero();
  }

  @Test
  void runNeedsAProgram() {
    assertThat(run("run", "--net=none")).isEqualTo(125);
    assertThat(err).asString().contains("which program?");
  }

  @Test
  void aRunningDeviceHasItsOwnSettings() {
    assertThat(run("run", "--device=unix:/nowhere", "--net=none", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("--net=none is for a device that is to be started");
    assertThat(run("run", "--device=tcp:x", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("not 'tcp:x'");
    assertThat(run("run", "--device=tcp://nic", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("--device is tcp://HOST:PORT, not 'tcp://nic'");
    assertThat(run("run", "--reconnect=5s", "--net=none", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("--reconnect is for a device at tcp://");
    assertThat(run("device", "--listen=unix:/x", "--reconnect=5s")).isEqualTo(125);
    assertThat(err).asString().contains("--reconnect is for --listen tcp:");
    assertThat(run("device", "--listen=unix:/x", "--listen=unix:/x")).isEqualTo(125);
    assertThat(err).asString().contains("--listen: unix:/x is given twice");
    assertThat(run("run", "--share=a", "--device=ssh://nic", "--", "true")).isEqualTo(125);
    assertThat(err).asString().contains("--share is for a service");
    assertThat(run("status", "--device=tcp://nic")).isEqualTo(125);
    assertThat(err).asString().contains("--device is tcp://HOST:PORT, not 'tcp://nic'");
    assertThat(run("status", "--device=ssh://nic")).isEqualTo(125);
    assertThat(err).asString().contains("ssh HOST outboard status");
    assertThat(run("device", "--listen=tcp:no", "--net=none")).isEqualTo(125);
    assertThat(err).asString().contains("not 'tcp:no'");
  }

  @Test
  void aDeviceThatIsNotThereIsSaidSo() {
    assertThat(run("run", "--device=unix:/nonexistent/socket", "--", "true")).isEqualTo(125);
    assertThat(err).asString().startsWith("outboard: ").contains("/nonexistent/socket");
  }

  @Test
  void theVersionNamesBothKernels() {
    assertThat(run("--version")).isZero();
    assertThat(out)
        .asString()
        .contains("outboard " + Versions.OUTBOARD, "host kernel: Linux ", "library kernel: ");
  }

  @Test
  void everyCommandHasHelp() {
    for (Command command : Commands.all()) {
      out.reset();
      assertThat(run(command.syntax().name(), "--help")).isZero();
      assertThat(out).asString().startsWith("Usage: outboard " + command.syntax().name());
      assertThat(out.toString(StandardCharsets.UTF_8).lines())
          .as("lines that fit a terminal")
          .allMatch(line -> line.length() <= 100);
    }
    assertThat(err.size()).isZero();
  }
}
