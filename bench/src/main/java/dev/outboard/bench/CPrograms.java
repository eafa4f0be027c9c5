// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Programs in C that come with the benchmarks as source. */
final class CPrograms {
  static final Tool COMPILER = new Tool("gcc", "gcc libc6-dev");
  private static final int COMPILE_SECONDS = 60;

  private CPrograms() {}

  /** Compiles {@code NAME.c} into {@code site}'s directory. */
  static Path compile(Site site, String name) throws BenchException, InterruptedException {
    Path source = site.directory().resolve(name + ".c");
    try (InputStream in = CPrograms.class.getResourceAsStream(name + ".c")) {
      if (in == null) {
        throw new IllegalStateException("the module lacks " + name + ".c");
      }
      Files.write(source, in.readAllBytes());
    } catch (IOException e) {
      throw new BenchException("cannot write " + source + ": " + e.getMessage(), e);
    }
    Path program = site.directory().resolve(name);
    site.run(
        List.of("gcc", "-O2", "-pthread", "-o", program.toString(), source.toString()),
        COMPILE_SECONDS);
    return program;
  }

  /** What such a program reports. */
  static Sample.Work work(String json) throws BenchException {
    try {
      Object o = Json.read(json);
      double amount = Json.number(o, 0, "amount");
      double seconds = Json.number(o, 0, "seconds");
      if (amount > 0 && seconds > 0) {
        return new Sample.Work(amount, seconds);
      }
    } catch (IllegalArgumentException e) {
      // As useless as a report without figures.
    }
    throw new BenchException("no report: " + Site.shortened(json));
  }
}
