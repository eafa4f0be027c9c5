// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What {@code outboard run --stats=FILE} has written. */
public final class Statistics {
  private final String json;

  private Statistics(String json) {
    this.json = json;
  }

  /** Reads the file of a run that has ended. */
  public static Statistics read(Path file) throws IOException {
    return new Statistics(Files.readString(file));
  }

  /** Reads the file of a run whose program may have processes that have not ended yet. */
  public static Statistics whole(Path file, Duration limit) throws IOException {
    Eventually.require(limit, () -> "no whole report in " + file, () -> isWhole(file));
    return read(file);
  }

  private static boolean isWhole(Path file) {
    try {
      return Files.readString(file).stripTrailing().endsWith("\n}");
    } catch (IOException e) {
      return false;
    }
  }

  /** The number that the only group of a pattern matches; fails if there is no such place. */
  public long number(String pattern) {
    Matcher m = Pattern.compile(pattern).matcher(json);
    assertThat(m.find()).as("%s in %s", pattern, json).isTrue();
    return Long.parseLong(m.group(1));
  }

  @Override
  public String toString() {
    return json;
  }
}
