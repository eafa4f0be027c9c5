// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A command that a {@link Trial} has started. Its streams go to files of the trial's directory; its
 * input is a pipe that the test writes. Used by one thread.
 */
public final class Running implements AutoCloseable {
  private final String what;
  private final Process process;
  private final Path output;
  private final Path errors;

  Running(String what, Process process, Path output, Path errors) {
    this.what = what;
    this.process = process;
    this.output = output;
    this.errors = errors;
  }

  /** The process that was started: the program natively, {@code outboard run} otherwise. */
  public long pid() {
    return process.pid();
  }

  /** Whether the command has not ended yet. */
  public boolean alive() {
    return process.isAlive();
  }

  /** What the command has written so far. */
  public String output() {
    return text(output);
  }

  /** What the command has written to its standard error so far. */
  public String errors() {
    return text(errors);
  }

  /** Writes {@code text} to the command's standard input. */
  public void type(String text) {
    try {
      OutputStream in = process.getOutputStream();
      in.write(text.getBytes(StandardCharsets.UTF_8));
      in.flush();
    } catch (IOException e) {
      throw new UncheckedIOException(what + " no longer reads its input", e);
    }
  }

  /** Closes the command's standard input: it reads end of file. */
  public void endInput() {
    try {
      process.getOutputStream().close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Sends signal {@code name} ("TERM", "KILL") to the process that was started. */
  public void signal(String name) {
    Trial.signal(process.pid(), name);
  }

  /** Waits until the output matches {@code pattern}, and answers the match. */
  public Matcher awaitOutput(Duration limit, String pattern) {
    return await(limit, pattern, output);
  }

  /** Waits until the standard error matches {@code pattern}, and answers the match. */
  public Matcher awaitErrors(Duration limit, String pattern) {
    return await(limit, pattern, errors);
  }

  private Matcher await(Duration limit, String pattern, Path file) {
    Pattern compiled = Pattern.compile(pattern, Pattern.MULTILINE);
    long end = System.nanoTime() + limit.toNanos();
    while (true) {
      // The order matters: what the command wrote before it ended is in the file by then.
      boolean ended = !process.isAlive();
      Matcher m = compiled.matcher(text(file));
      if (m.find()) {
        return m;
      }
      if (ended || System.nanoTime() > end) {
        throw new AssertionError(
            "%s %s without writing /%s/%n-- its output:%n%s%n-- its errors:%n%s"
                .formatted(
                    what,
                    ended ? "ended with " + process.exitValue() : "went on for " + limit,
                    pattern,
                    Evidence.tail(output()),
                    Evidence.tail(errors())));
      }
      Eventually.pause(5);
    }
  }

  /** Waits for the end; fails, with the streams so far, if it takes longer than {@code limit}. */
  public Finished await(Duration limit) {
    return awaitIfEnds(limit)
        .orElseThrow(() ->
            new AssertionError(
                "%s still ran after %s%n-- its output:%n%s%n-- its errors:%n%s"
                    .formatted(what, limit, Evidence.tail(output()), Evidence.tail(errors()))));
  }

  /** Waits for the end, which may not come within {@code limit}. */
  public Optional<Finished> awaitIfEnds(Duration limit) {
    try {
      if (!process.waitFor(limit.toNanos(), TimeUnit.NANOSECONDS)) {
        return Optional.empty();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted while waiting for " + what, e);
    }
    return Optional.of(new Finished(what, process.exitValue(), output(), errors()));
  }

  /** Ends the command as its user would: SIGTERM, and a failure if that is not enough. */
  @Override
  public void close() {
    // Of a process that ends by itself meanwhile it makes nothing.
    process.destroy();
    await(Duration.ofSeconds(10));
  }

  List<Path> files() {
    return List.of(output, errors);
  }

  private static String text(Path file) {
    try {
      return new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
