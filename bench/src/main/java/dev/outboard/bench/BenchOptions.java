// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.List;

/**
 * What is to be measured.
 *
 * @param workloads names of workloads, or {@code all}; none mean all
 * @param peers what is compared beside the native run, which always is
 * @param rounds how many samples of each, in turn
 * @param seconds how long a sample of traffic is meant to take
 * @param directory where {@code bench.json} and {@code bench.html} are written
 * @param launcher the {@code outboard} command
 * @param version of the product
 */
public record BenchOptions(
    List<String> workloads,
    List<String> peers,
    int rounds,
    double seconds,
    Path directory,
    Path launcher,
    String version) {
  /** Rounds of a run that is to be relied on: a median of fewer says little. */
  public static final int ROUNDS = 5;

  /** Seconds of traffic a sample. */
  public static final double SECONDS = 3;

  /** Rounds of a short run: enough to see that all works and about how fast. */
  public static final int QUICK_ROUNDS = 2;

  /** Seconds of traffic a sample in a short run. */
  public static final double QUICK_SECONDS = 0.2;

  /** Copies the lists. */
  public BenchOptions {
    workloads = List.copyOf(workloads);
    peers = List.copyOf(peers);
  }
}
