// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Compiles and runs a small C program, so that tests can ask the real headers. */
final class CProbe {
  private CProbe() {}

  /** What a program with these lines before and in {@code main} prints, line by line. */
  static List<String> run(String prologue, String body) throws IOException, InterruptedException {
    Path directory = Files.createTempDirectory("outboard-probe");
    Path source = directory.resolve("probe.c");
    Path binary = directory.resolve("probe");
    Path output = directory.resolve("output");
    try {
      Files.writeString(source, prologue + "\nint main(void) {\n" + body + "\nreturn 0;\n}\n");
      execute(output, "gcc", "-w", "-o", binary.toString(), source.toString());
      execute(output, binary.toString());
      return Files.readAllLines(output);
    } finally {
      Files.deleteIfExists(source);
      Files.deleteIfExists(binary);
      Files.deleteIfExists(output);
      Files.deleteIfExists(directory);
    }
  }

  /** The preprocessor's list of macros after {@code source}, as {@code #define} lines. */
  static List<String> macros(String source) throws IOException, InterruptedException {
    Path directory = Files.createTempDirectory("outboard-probe");
    Path file = directory.resolve("probe.c");
    Path output = directory.resolve("output");
    try {
      Files.writeString(file, source);
      execute(output, "gcc", "-E", "-dM", file.toString());
      return Files.readAllLines(output);
    } finally {
      Files.deleteIfExists(file);
      Files.deleteIfExists(output);
      Files.deleteIfExists(directory);
    }
  }

  private static void execute(Path output, String... command)
      throws IOException, InterruptedException {
    Process p =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    if (!p.waitFor(60, TimeUnit.SECONDS)) {
      p.destroyForcibly();
      throw new AssertionError("no end: " + List.of(command));
    }
    if (p.exitValue() != 0) {
      throw new AssertionError(List.of(command) + ": " + Files.readString(output));
    }
  }
}
