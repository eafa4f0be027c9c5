// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import javax.tools.ToolProvider;

/** Where the launcher is, and the tests' own programs; C ones are compiled when first asked for. */
public final class Programs {
  /** Debian's interpreter, whatever comes first in the PATH of who starts the tests. */
  public static final String PYTHON = "/usr/bin/python3";

  /** The JVM that the tests run on. */
  public static final String JAVA = Path.of(System.getProperty("java.home"), "bin/java").toString();

  /** Where each command of a trial looks for programs. */
  static final String PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

  /** The executable of {@code src/test/c/NAME.c}, with what a thread cleans up as it is unwound. */
  public static String unwindingC(String name) {
    return COMPILED.computeIfAbsent(name, n -> compile(n, n, List.of("-fexceptions"))).toString();
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
    return given.isEmpty() ? tree().resolve("outboard") : Path.of(given);
  }

  /** {@code docs/NAME}. */
  public static Path document(String name) {
    return tree().resolve("docs").resolve(name);
  }

  /** The root of the source tree. */
  static Path tree() {
    return module().resolve("..").normalize();
  }

  /** The executable of {@code src/test/programs/NAME.go}, as Go links it by itself. */
  public static String go(String name) {
    return COMPILED.computeIfAbsent(name + ".go", n -> compileGo(name, n, "1")).toString();
  }

  /** The executable of {@code src/test/programs/NAME.go}, linked with nothing, not even libc. */
  public static String staticGo(String name) {
    return COMPILED.computeIfAbsent(name + "-static.go", n -> compileGo(name, n, "0")).toString();
  }

  /** A class path with the class NAME of {@code src/test/programs/NAME.java}. */
  public static String java(String name) {
    return COMPILED.computeIfAbsent(name + ".java", Programs::compileJava).toString();
  }

  /** Fails, and says what to do, if a program that is to be judged is not installed. */
  public static void require(String... names) {
    List<String> missing = Stream.of(names).filter(name -> !installed(name)).toList();
    if (!missing.isEmpty()) {
      throw new AssertionError(
          missing + " cannot be judged: not installed; run scripts/install-packages judges");
    }
  }

  /** Whether a trial's commands find a program of this name. */
  public static boolean installed(String name) {
    return Stream.of(PATH.split(":", -1))
        .anyMatch(directory -> Files.isExecutable(Path.of(directory, name)));
  }

  static Path buildDirectory() {
    return module().resolve("target");
  }

  private static Path module() {
    // Maven says where the module is; an IDE starts tests in the module or at the root.
    Path here = Path.of(System.getProperty("basedir", "")).toAbsolutePath();
    return Files.isDirectory(here.resolve("src/test/c")) ? here : here.resolve("tests");
  }

  private static Path compileGo(String source, String name, String cgo) {
    require("go");
    Path program = buildDirectory().resolve("programs").resolve(name);
    // go has no option for where it keeps what it compiled.
    Machine.command(
        Duration.ofMinutes(5),
        "env",
        "CGO_ENABLED=" + cgo,
        "GOCACHE=" + buildDirectory().resolve("go-cache"),
        "go",
        "build",
        "-o",
        program.toString(),
        data(source + ".go"));
    return program;
  }

  private static Path compileJava(String source) {
    Path directory = buildDirectory().resolve("programs").resolve("classes");
    int status =
        Objects.requireNonNull(ToolProvider.getSystemJavaCompiler())
            .run(null, null, null, "-d", directory.toString(), data(source));
    if (status != 0) {
      throw new AssertionError(source + " cannot be compiled");
    }
    return directory;
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
