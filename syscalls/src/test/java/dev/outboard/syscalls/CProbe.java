// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Architecture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Compiles and runs a small C program, so that tests can ask the real headers. */
final class CProbe {
  private static final List<String> PATH =
      List.of(System.getenv().getOrDefault("PATH", "/usr/bin").split(":", -1));

  private CProbe() {}

  /** Whether this machine can compile and run for {@code machine}. */
  static boolean has(Architecture machine) {
    return machine == Architecture.MACHINE
        || (machine == Architecture.ARM64
            && inPath("aarch64-linux-gnu-gcc")
            && inPath("qemu-aarch64-static"));
  }

  private static boolean inPath(String name) {
    return PATH.stream().anyMatch(directory -> Files.isExecutable(Path.of(directory, name)));
  }

  /**
   * What a program of {@code machine} with these lines before and in {@code main} prints, line by
   * line.
   */
  static List<String> run(Architecture machine, String prologue, String body)
      throws IOException, InterruptedException {
    boolean own = machine == Architecture.MACHINE;
    Path directory = Files.createTempDirectory("outboard-probe");
    Path source = directory.resolve("probe.c");
    Path binary = directory.resolve("probe");
    Path output = directory.resolve("output");
    try {
      Files.writeString(source, prologue + "\nint main(void) {\n" + body + "\nreturn 0;\n}\n");
      List<String> compile = new ArrayList<>(List.of(own ? "gcc" : "aarch64-linux-gnu-gcc"));
      compile.addAll(own ? List.of() : List.of("-static"));
      compile.addAll(List.of("-w", "-o", binary.toString(), source.toString()));
      execute(output, compile);
      execute(
          output,
          own ? List.of(binary.toString()) : List.of("qemu-aarch64-static", binary.toString()));
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
      execute(output, List.of("gcc", "-E", "-dM", file.toString()));
      return Files.readAllLines(output);
    } finally {
      Files.deleteIfExists(file);
      Files.deleteIfExists(output);
      Files.deleteIfExists(directory);
    }
  }

  private static void execute(Path output, List<String> command)
      throws IOException, InterruptedException {
    Process p =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    if (!p.waitFor(60, TimeUnit.SECONDS)) {
      p.destroyForcibly();
      throw new AssertionError("no end: " + command);
    }
    if (p.exitValue() != 0) {
      throw new AssertionError(command + ": " + Files.readString(output));
    }
  }
}
