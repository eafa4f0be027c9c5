// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.time.Duration;

/**
 * Times as options take them: a whole number with a unit, {@code 500ms}, {@code 30s}, {@code 2m}.
 */
final class Durations {
  private static final Duration MOST = Duration.ofDays(1);

  private Durations() {}

  /** The time that an option was given; 0 needs no unit. */
  static Duration parse(String option, String text, Syntax syntax) {
    String digits = text.replaceFirst("[a-z]+$", "");
    String unit = text.substring(digits.length());
    try {
      long n = digits.length() > 9 ? -1 : Long.parseLong(digits);
      Duration time =
          switch (unit) {
            case "ms" -> Duration.ofMillis(n);
            case "s" -> Duration.ofSeconds(n);
            case "m" -> Duration.ofMinutes(n);
            case "h" -> Duration.ofHours(n);
            case "" -> n == 0 ? Duration.ZERO : Duration.ofNanos(-1);
            default -> Duration.ofNanos(-1);
          };
      if (!time.isNegative() && time.compareTo(MOST) <= 0) {
        return time;
      }
    } catch (NumberFormatException e) {
      // As wrong as one without a unit.
    }
    throw syntax.usageError(option + ": '" + text + "' is no time such as 500ms, 30s or 2m");
  }
}
