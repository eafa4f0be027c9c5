// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/**
 * One run of a {@link Scenario} in one {@link Mode}: a directory, a network and a group of
 * processes of its own. Used by the test's thread.
 */
public final class Trial implements AutoCloseable {
  /** How long an ended tree may take until the last of its processes is gone. */
  private static final Duration SETTLING = Duration.ofSeconds(5);

  private static final Map<String, Object> NATIVE_OUTCOMES = new ConcurrentHashMap<>();

  private final String scenario;
  private final Mode mode;
  private final boolean traced;
  private final Path directory;
  private final Path temporary;
  private final Network network;
  private final ProcessGroup group;
  private final List<Running> commands = new ArrayList<>();
  private final List<Path> traces = new ArrayList<>();
  private int labels;

  private Trial(
      String scenario,
      Mode mode,
      boolean traced,
      Path directory,
      Network network,
      ProcessGroup group)
      throws IOException {
    this.scenario = scenario;
    this.mode = mode;
    this.traced = traced;
    this.directory = directory;
    this.temporary = Files.createDirectory(directory.resolve("tmp"));
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
    Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxrwxrwx"));
    this.network = network;
    this.group = group;
  }

  static Trial open(String scenario, Mode mode, Link link, boolean traced) {
    try {
      Path directory = Files.createTempDirectory("outboard-trial-");
      return new Trial(
          scenario,
          mode,
          traced && !Boolean.getBoolean("outboard.untraced"),
          directory,
          Network.create(mode, link),
          ProcessGroup.create(directory.getFileName().toString()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Which kernel does the work of {@link #program} in this trial. */
  public Mode mode() {
    return mode;
  }

  /** A directory of the trial's own, where its programs start. It ends with the trial. */
  public Path directory() {
    return directory;
  }

  /** A TCP and UDP port that is free, inside and outside. */
  public int port() {
    return Machine.freePort();
  }

  /** How much a program is to do: few, or with {@code -Pjudges}, where time is not short, many. */
  public int amount(int few, int many) {
    return whole() ? many : few;
  }

  /** Whether time is not short: {@code -Pjudges}. */
  static boolean whole() {
    return Boolean.getBoolean("tests.whole");
  }

  /** The address of the scenario's programs on the link to the machine. */
  public String inside() {
    return network.inside();
  }

  /** The machine's address on that link. */
  public String outside() {
    return network.outside();
  }

  /** A program of the scenario: run as it is, or by {@code outboard run}. */
  public Command program(String... words) {
    return new Command(this, true, List.of(words));
  }

  /** A script for {@code /bin/sh}, and everything that it starts, as {@link #program}. */
  public Command shell(String script) {
    return program("/bin/sh", "-c", script);
  }

  /** A command of the machine itself, on the other end of the link: never offloaded. */
  public Command machine(String... words) {
    return new Command(this, false, List.of(words));
  }

  /** A command that is not offloaded, on the network that the device's process stands on. */
  public Command beside(String... words) {
    List<String> line = new ArrayList<>(network.entering());
    line.addAll(List.of(words));
    return new Command(this, false, line);
  }

  /** Fetches what a service or command beside the device tells Prometheus at {@code port}. */
  public Command figures(int port) {
    return beside("curl", "--noproxy", "*", "-sS", "http://127.0.0.1:%d/metrics".formatted(port));
  }

  /** {@code outboard} with a command line of the test's own, on the trial's network. */
  public Command outboard(String... words) {
    List<String> line = new ArrayList<>(network.entering());
    line.add(launcher());
    line.addAll(List.of(words));
    return new Command(this, false, line);
  }

  /** Writes a file of {@code bytes} bytes that no compression shrinks, the same in each trial. */
  public Path file(String name, long bytes) {
    return TestFiles.random(directory.resolve(name), bytes);
  }

  /** Makes a directory in the trial's. */
  public Path newDirectory(String name) {
    try {
      return Files.createDirectory(directory.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Writes a text file into the trial's directory. */
  public Path file(String name, String text) {
    try {
      return Files.writeString(directory.resolve(name), text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Makes {@code cert.pem} and {@code key.pem} in the directory, for a server at localhost. */
  public void certificate() {
    machine(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
                .concat(" -subj /CN=localhost -keyout key.pem -out cert.pem")
                .split(" ", -1))
        .run(Duration.ofSeconds(30))
        .expectSuccess();
  }

  /** States that a program succeeds, and prints the same in every mode. */
  public void prints(Finished done) {
    outcome("errors", done.errors());
    outcome("output", done.output());
    done.expectSuccess();
  }

  /**
   * States something that must be the same in every mode: recorded natively, compared otherwise.
   *
   * @param what the name of it, unique in the scenario
   */
  public void outcome(String what, Object value) {
    String key = scenario + "/" + what;
    Object seen = value instanceof String text ? withoutNamesOfTheTrial(text) : value;
    if (mode == Mode.NATIVE) {
      NATIVE_OUTCOMES.put(key, seen);
      return;
    }
    Object natively = NATIVE_OUTCOMES.get(key);
    assertThat(natively).as("the native run of this scenario did not get to %s", what).isNotNull();
    if (seen instanceof String text && natively instanceof String expected) {
      String differences = differences(expected, text);
      if (!differences.isEmpty()) {
        throw new AssertionError(
            what + ", natively (-) and offloaded (+, " + mode.word() + "):\n" + differences);
      }
    }
    assertThat(seen).as("%s, offloaded (%s) as natively", what, mode.word()).isEqualTo(natively);
  }

  private String withoutNamesOfTheTrial(String text) {
    return text.replace(directory.toString(), "TRIAL")
        .replace(inside(), "INSIDE")
        .replace(outside(), "OUTSIDE");
  }

  /** The lines that differ, as {@code diff -u0} shows them; empty if none do. */
  private String differences(String natively, String offloaded) {
    if (natively.equals(offloaded)) {
      return "";
    }
    Path one = file("outcome-natively", natively);
    Path other = file("outcome-offloaded", offloaded);
    // A shell, as a status of 1 is no failure here.
    return Machine.command(
        "sh", "-c", "diff -a -U0 \"$0\" \"$1\" | tail -n +3 | head -n 100", "" + one, "" + other);
  }

  /**
   * States a quantity that may exceed the native one by {@code margin} at most: recorded natively,
   * compared otherwise.
   */
  public void quantity(String what, long value, long margin) {
    if (mode == Mode.NATIVE) {
      NATIVE_OUTCOMES.put(scenario + "/" + what, value);
      return;
    }
    if (!(NATIVE_OUTCOMES.get(scenario + "/" + what) instanceof Long natively)) {
      throw new AssertionError("the native run of this scenario did not get to " + what);
    }
    assertThat(value)
        .as("%s, offloaded (%s), natively %d", what, mode.word(), natively)
        .isLessThanOrEqualTo(natively + margin);
  }

  /** Every process of the trial that has not ended, the hook's and the device's too. */
  public List<Long> processes() {
    return group.members();
  }

  /** The processes of the trial whose command line contains {@code words}. */
  public List<Long> processes(String words) {
    return processes().stream().filter(p -> ProcFile.commandLine(p).contains(words)).toList();
  }

  /** The JVM that runs the hook; fails if there is not exactly one. */
  public long hook() {
    return one("hook", "cli.Main run ");
  }

  /** The JVM that runs the device; fails if there is not exactly one. */
  public long device() {
    return one("device", "cli.Main device ");
  }

  private long one(String role, String word) {
    List<Long> found =
        processes().stream()
            .filter(p -> {
              String line = ProcFile.commandLine(p);
              int space = line.indexOf(' ');
              String first = space < 0 ? line : line.substring(0, space);
              return first.endsWith("java") && (line + " ").contains(word);
            })
            .toList();
    assertThat(found)
        .as("the %s among %s", role, processes().stream().map(ProcFile::commandLine).toList())
        .hasSize(1);
    return found.getFirst();
  }

  /** Sends signal {@code name} to process {@code pid}, which belongs to this trial. */
  public static void signal(long pid, String name) {
    Machine.command("kill", "-" + name, Long.toString(pid));
  }

  /** Asserts that every process of the trial ends, and that nothing of it is left. */
  void finish() {
    commands.forEach(Running::close);
    Eventually.require(
        SETTLING,
        () ->
            "processes left behind: "
                + processes().stream().map(p -> p + " " + ProcFile.commandLine(p)).toList(),
        () -> processes().isEmpty());
    Eventually.require(
        SETTLING,
        () -> "the link " + network.linkName() + " is left behind",
        () -> !network.linkLeft());
    try (Stream<Path> left = Files.list(temporary)) {
      assertThat(left.map(Path::getFileName)).as("temporary files left behind").isEmpty();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Collects what tells why the scenario failed, before its processes are ended. */
  Path keepEvidence(Throwable why) {
    return Evidence.collect(scenario + "." + mode.word(), directory, processes(), why);
  }

  /** Ends and removes all that is left of the trial. */
  @Override
  public void close() {
    try (network;
        group) {
      TestFiles.deleteTree(directory);
    }
  }

  List<String> entering(boolean inMode) {
    List<String> words = new ArrayList<>(group.entering());
    if (inMode) {
      words.addAll(network.entering());
    }
    return words;
  }

  String launcher() {
    return Programs.launcher().toString();
  }

  List<String> networkOptions() {
    return network.options();
  }

  Optional<Path> newTrace() {
    if (!traced) {
      return Optional.empty();
    }
    Path file = directory.resolve("trace." + traces.size());
    traces.add(file);
    return Optional.of(file);
  }

  String newLabel(List<String> words) {
    Path program = Path.of(words.getFirst()).getFileName();
    return "%02d-%s".formatted(labels++, program);
  }

  void started(Running running) {
    commands.add(running);
  }

  /** The environment of each command: the same whoever starts the tests, and the trial's own. */
  void prepare(Map<String, String> environment) {
    Map<String, String> own = new HashMap<>();
    environment.forEach((name, value) -> {
      // A private cache or a switch of outboard's own is for the launcher.
      if (name.equals("HOME") || name.startsWith("OUTBOARD_")) {
        own.put(name, value);
      }
    });
    own.put("LC_ALL", "C.UTF-8");
    own.put("TERM", "dumb");
    own.put("PATH", Programs.PATH);
    own.put("TMPDIR", temporary.toString());
    own.put("XDG_RUNTIME_DIR", temporary.toString());
    own.put("JAVA_HOME", System.getProperty("java.home"));
    environment.clear();
    environment.putAll(own);
  }
}
