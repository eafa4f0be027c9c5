// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Where an option such as {@code --trace[=FILE]} or {@code --stats[=FILE]} writes. Any thread may
 * write.
 */
final class LineLog implements AutoCloseable {
  private static final int BUFFER_BYTES = 64 * 1024;

  private final @Nullable PrintStream stream;
  private final boolean owned;

  private LineLog(@Nullable PrintStream stream, boolean owned) {
    this.stream = stream;
    this.owned = owned;
  }

  /**
   * Opens what the option names.
   *
   * @param value null if it is not given, empty for standard error, else a file, which is
   *     overwritten
   * @throws Failure if the file cannot be written
   */
  static LineLog open(@Nullable String value, String option, Terminal terminal) {
    if (value == null) {
      return new LineLog(null, false);
    }
    if (value.isEmpty()) {
      return new LineLog(terminal.err(), false);
    }
    try {
      return new LineLog(
          new PrintStream(
              new BufferedOutputStream(new FileOutputStream(value), BUFFER_BYTES),
              false,
              StandardCharsets.UTF_8),
          true);
    } catch (IOException e) {
      throw new Failure(option + ": cannot write " + e.getMessage());
    }
  }

  /** Takes the lines; null if the option is not given. */
  @Nullable Consumer<String> sink() {
    return stream == null ? null : stream::println;
  }

  /** Takes whole reports; null if the option is not given. */
  @Nullable PrintStream stream() {
    return stream;
  }

  /** Whether the option names a file. */
  boolean toFile() {
    return owned;
  }

  @Override
  public void close() {
    if (stream != null) {
      stream.flush();
      if (owned) {
        stream.close();
      }
    }
  }
}
