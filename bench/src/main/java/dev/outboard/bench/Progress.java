// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.Locale;
import java.util.function.Consumer;

/**
 * Says what is being done and how long the rest will take: the estimates of what is left, corrected
 * by how wrong they were until now.
 */
final class Progress {
  private static final double NANOS = 1e9;

  /** Before that much is done, the estimates are better than their correction. */
  private static final double TRUSTED_SECONDS = 3;

  private final Consumer<String> messages;
  private final long begin = System.nanoTime();
  private double left;
  private double done;

  /**
   * Begins.
   *
   * @param seconds estimated for all
   */
  Progress(double seconds, Consumer<String> messages) {
    this.left = seconds;
    this.messages = messages;
  }

  /** A step begins. */
  void say(String what) {
    messages.accept(
        String.format(Locale.ROOT, "[%s left] %s", minutes(remaining(elapsed())), what));
  }

  private double elapsed() {
    return (System.nanoTime() - begin) / NANOS;
  }

  /** A step has ended that was estimated to take so long. */
  void done(double seconds) {
    left = Math.max(0, left - seconds);
    done += seconds;
  }

  /** Seconds to the end, when so many have gone. */
  double remaining(double elapsed) {
    double factor = done < TRUSTED_SECONDS ? 1 : elapsed / done;
    return left * factor;
  }

  private static String minutes(double seconds) {
    long s = Math.round(seconds);
    return String.format(Locale.ROOT, "%d:%02d", s / 60, s % 60);
  }
}
