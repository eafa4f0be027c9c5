// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Where the launcher is, and the tests' own programs; C ones are compiled when first asked for. */
public final class Programs {
  /** Debian's interpreter, whatever comes first in the PATH of who starts the tests. */
  public static final String PYTHON = "/usr/bin/python3";

  /** The JVM that the tests run on. */
  public static final String JAVA = Path.of(System.getProperty("java.home"), "bin/java").toString();

  private static final Map<String, Path> COMPILED = new ConcurrentHashMap<>();

  private Programs() {}

  /** The executable of {@code src/test/c/NAME.c}, linked with the shared libc. */
  public static String c(String name) {
    return COMPILED.computeIfAbsent(name, n -> compile(n, n, List.of())).toString();
  }

  /** The executable of {@code src/test/c/NAME.c}, linked with nothing shared. */
  public static String staticC(String name) {
    return COMPILED
        .computeIfAbsent(name + "-static", n -> compile(name, n, List.of("-static")))
        .toString();
  }

  /** The path of {@code src/test/python/NAME.py}. */
  public static String python(String name) {
    return module().resolve("src/test/python/" + name + ".py").toString();
  }

  /** The path of {@code src/test/programs/NAME}: a configuration or a source run as a file. */
  public static String data(String name) {
    return module().resolve("src/test/programs/" + name).toString();
  }

  /** {@code ./outboard}; {@code -Doutboard.launcher=} names another one. */
  public static Path launcher() {
    String given = System.getProperty("outboard.launcher", "");
    return given.isEmpty() ? module().resolve("../outboard").normalize() : Path.of(given);
  }

  static Path buildDirectory() {
    return module().resolve("target");
  }

  private static Path module() {
    // Maven says where the module is; an IDE starts tests in the module or at the root.
    Path here = Path.of(System.getProperty("basedir", "")).toAbsolutePath();
    return Files.isDirectory(here.resolve("src/test/c")) ? here : here.resolve("tests");
  }

  private static Path compile(String source, String name, List<String> more) {
    Path directory = buildDirectory().resolve("programs");
    Path program = directory.resolve(name);
    List<String> line =
        new ArrayList<>(
            List.of("gcc", "-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"));
    line.addAll(more);
    line.addAll(
        List.of(
            "-o", program.toString(), module().resolve("src/test/c/" + source + ".c").toString()));
    try {
      Files.createDirectories(directory);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Machine.command(line.toArray(String[]::new));
    return program;
  }
}
