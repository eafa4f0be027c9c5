// SPDX-License-Identifier: MIT
package dev.outboard.bench;

/**
 * One row of figures: something that a workload can be asked to do for a while.
 *
 * @param key a word for it in {@code bench.json}, unique in its workload
 * @param title for people
 * @param unit of the work
 * @param oneCpu whether client, program, hook and device share a CPU; otherwise Linux places them
 */
record Measure(String key, String title, Unit unit, boolean oneCpu) {
  /** What is counted. */
  enum Unit {
    /** Payload. */
    BYTES("GB/s", "GB", 1e9, 1e9),
    /** Requests, or round trips. */
    REQUESTS("k/s", "10k", 1e3, 1e4),
    /** System calls, or a few that belong together; shown by how long one takes. */
    CALLS("µs", "10k", 1e6, 1e4);

    private final String figure;
    private final String portion;
    private final double scale;
    private final double portionSize;

    Unit(String figure, String portion, double scale, double portionSize) {
      this.figure = figure;
      this.portion = portion;
      this.scale = scale;
      this.portionSize = portionSize;
    }

    /** The unit of {@link #shown}. */
    String figure() {
      return figure;
    }

    /** The amount of work to which CPU and calls are related. */
    String portion() {
      return portion;
    }

    double portionSize() {
      return portionSize;
    }

    /** Whether a higher figure is a better one. */
    boolean isRate() {
      return this != CALLS;
    }

    /** The figure for so much work a second. */
    double shown(double workPerSecond) {
      return isRate() ? workPerSecond / scale : scale / workPerSecond;
    }
  }

  static Measure of(String key, String title, Unit unit) {
    return new Measure(key, title, unit, false);
  }
}
