// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

/** Where the lines of a kernel's log go. */
@FunctionalInterface
public interface ConsoleSink {
  /** Drops everything. */
  ConsoleSink NONE = line -> {};

  /**
   * Takes one line of the log, without its end.
   *
   * <p>Called on the console thread of the kernel, one line at a time, in order. A sink that is
   * slow loses lines, and is told so by a line; it never delays the kernel. What it throws is
   * dropped.
   */
  void line(String line);
}
