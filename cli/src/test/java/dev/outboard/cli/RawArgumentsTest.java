// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class RawArgumentsTest {
  /** Prints its arguments; run in a JVM of its own below. */
  static final class Echo {
    private Echo() {}

    public static void main(String[] arguments) {
      System.out.write(
          String.join("|", RawArguments.restore(arguments)).getBytes(StandardCharsets.UTF_8),
          0,
          String.join("|", RawArguments.restore(arguments))
              .getBytes(StandardCharsets.UTF_8)
              .length);
      System.out.flush();
    }
  }

  @Test
  void bytesAbove127SurviveTheCLocale() throws IOException, InterruptedException {
    ProcessBuilder java =
        new ProcessBuilder(
            "/bin/sh",
            "-c",
            "exec \"$1\" -XX:TieredStopAtLevel=1 -cp \"$2\" \"$3\" a \"$(printf 'gr\\303\\274n')\" ''",
            "sh",
            System.getProperty("java.home") + "/bin/java",
            System.getProperty("java.class.path"),
            Echo.class.getName());
    java.environment().put("LC_ALL", "C");
    Process process = java.redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).isZero();
    assertThat(output).isEqualTo("a|grün|");
  }

  @Test
  void asciiIsTakenAsItIs() {
    String[] arguments = {"a", "b c", ""};
    assertThat(RawArguments.restore(arguments)).isSameAs(arguments);
  }

  @Test
  void stringsAreSplitAtTheirTerminators() {
    assertThat(RawArguments.split("a\0\0bc\0".getBytes(StandardCharsets.UTF_8)))
        .isEqualTo(List.of("a", "", "bc"));
  }
}
