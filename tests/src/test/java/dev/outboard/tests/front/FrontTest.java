// SPDX-License-Identifier: MIT
package dev.outboard.tests.front;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Programs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Runs {@code front.py}, each test of it as one of ours. It is Python because a JVM can neither
 * make terminals nor job control.
 */
class FrontTest {
  private static final Pattern NAME = Pattern.compile("^    def (test_\\w+)\\(", Pattern.MULTILINE);
  private static final int PATIENCE_SECONDS = 280;

  @TestFactory
  Stream<DynamicTest> front() throws IOException {
    String script = Programs.python("front");
    return NAME.matcher(Files.readString(Path.of(script)))
        .results()
        .map(found -> found.group(1))
        .map(name -> DynamicTest.dynamicTest(name, () -> run(script, name)));
  }

  private static void run(String script, String name) throws IOException, InterruptedException {
    Process python =
        new ProcessBuilder(
                Programs.PYTHON, script, Programs.launcher().toString(), "FrontTest." + name)
            .redirectErrorStream(true)
            .start();
    python.getOutputStream().close();
    String said = new String(python.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    boolean ended = python.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS);
    python.destroyForcibly();
    assertThat(ended).as("it ended; it said: %s", said).isTrue();
    assertThat(python.exitValue()).as("status; it said: %s", said).isZero();
    assertThat(said).contains("Ran 1 test");
  }
}
