// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A command of a trial that has not been started yet. Used once, by one thread. */
public final class Command {
  private final Trial trial;
  private final boolean inMode;
  private final List<String> words;
  private final List<String> options = new ArrayList<>();
  private final Map<String, String> environment = new LinkedHashMap<>();
  private final List<String> before = new ArrayList<>();
  private Path directory;
  private Optional<Path> input = Optional.empty();
  private boolean ownNetwork = true;
  private Optional<Path> elsewhere = Optional.empty();

  Command(Trial trial, boolean inMode, List<String> words) {
    this.trial = trial;
    this.inMode = inMode;
    this.words = List.copyOf(words);
    this.directory = trial.directory();
  }

  /** Adds options of {@code outboard run}; they mean nothing to a native run. */
  public Command with(String... more) {
    options.addAll(List.of(more));
    return this;
  }

  /** A directory is the device's when offloaded; on the host's kernel its paths are. */
  public Command withDirectoryOfDevice(Path directory) {
    return with((trial.mode() == Mode.HOST ? "--device-path=" : "--export=") + directory);
  }

  /** Leaves the network to the options given by {@link #with}, instead of the scenario's. */
  public Command withoutTrialNetwork() {
    ownNetwork = false;
    return this;
  }

  /** Puts words before the whole command, {@code outboard run} included: {@code setpriv …}. */
  public Command under(String... wrapper) {
    before.addAll(List.of(wrapper));
    return this;
  }

  /** Sets a variable of the command's environment. */
  public Command environment(String name, String value) {
    environment.put(name, value);
    return this;
  }

  /** Gives the command a file as its standard input, instead of a pipe of the test's. */
  public Command input(Path file) {
    input = Optional.of(file);
    return this;
  }

  /**
   * Has the device started by ssh, or what takes its place here; so -Dtests.ssh=true does for all.
   */
  public Command overSsh() {
    elsewhere = Optional.of(Programs.launcher());
    return this;
  }

  /** Has the device be one of arm64, which {@link Arm64} says more of; reached as by ssh. */
  public Command onArm64() {
    elsewhere = Optional.of(Arm64.launcher());
    return this;
  }

  /** Sets the directory that the command starts in; without this it is the trial's. */
  public Command in(Path newDirectory) {
    directory = newDirectory;
    return this;
  }

  /** The whole command line, with the hook's where the mode has one. */
  public List<String> commandLine() {
    List<String> line = new ArrayList<>(trial.entering(inMode));
    line.addAll(before);
    if (inMode && trial.mode().offloaded()) {
      line.addAll(List.of(trial.launcher(), "run", "--kernel", trial.mode().word()));
      if (elsewhere.isPresent() || Boolean.getBoolean("tests.ssh")) {
        line.add("--device=ssh://elsewhere" + elsewhere.orElseGet(Programs::launcher));
      }
      if (ownNetwork) {
        line.addAll(trial.networkOptions());
      }
      String hook = System.getProperty("tests.hook", "");
      Optional<Path> trace = trial.newTrace();
      trace.ifPresent(file -> line.add("--trace=" + file));
      // The trace is evidence of what trapped; what users get by default is judged.
      hook = hook.isEmpty() && trace.isPresent() ? "shim" : hook;
      if (!hook.isEmpty() && options.stream().noneMatch(o -> o.startsWith("--hook"))) {
        line.add("--hook=" + hook);
      }
      line.addAll(options);
      line.add("--");
    }
    line.addAll(words);
    return line;
  }

  /** Starts the command. */
  public Running start() {
    String label = trial.newLabel(words);
    Path output = trial.directory().resolve(label + ".output");
    Path errors = trial.directory().resolve(label + ".errors");
    List<String> line = commandLine();
    ProcessBuilder builder =
        new ProcessBuilder(line)
            .directory(directory.toFile())
            .redirectOutput(output.toFile())
            .redirectError(errors.toFile());
    input.ifPresent(file -> builder.redirectInput(file.toFile()));
    trial.prepare(builder.environment());
    // Runs here what it is to run elsewhere.
    builder.environment().put("OUTBOARD_SSH", Programs.data("ssh"));
    builder.environment().putAll(environment);
    try {
      Files.writeString(
          trial.directory().resolve(label + ".command"), String.join(" ", line) + "\n");
      Running running = new Running(String.join(" ", words), builder.start(), output, errors);
      trial.started(running);
      return running;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Starts the command with no input, and waits for its end. */
  public Finished run(Duration limit) {
    Running running = start();
    if (input.isEmpty()) {
      running.endInput();
    }
    return running.await(limit);
  }
}
