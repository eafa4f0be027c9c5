// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.List;
import java.util.Optional;

/**
 * All that was measured.
 *
 * @param machine where and when
 * @param series by workload, measure and mode, in the order of the run
 * @param skipped sentences on what was not measured, and why
 */
record Results(
    BenchOptions options, MachineFacts machine, List<Series> series, List<String> skipped) {
  Results {
    series = List.copyOf(series);
    skipped = List.copyOf(skipped);
  }

  /** The native run of the same measure, if it succeeded. */
  Optional<Series> baseOf(Series s) {
    return series.stream()
        .filter(o -> o.workload().equals(s.workload()) && o.measure().equals(s.measure()))
        .filter(o -> o.mode().equals(Modes.NATIVE) && o.ok())
        .findFirst();
  }

  /**
   * Shares of the machine's time that went elsewhere during the samples; null if there are none.
   */
  Optional<Spread> steal() {
    double[] v =
        series.stream()
            .flatMap(s -> s.samples().stream())
            .mapToDouble(s -> s.machine().steal())
            .toArray();
    return v.length == 0 ? Optional.empty() : Optional.of(Spread.of(v));
  }

  /** The same of other processes of the machine. */
  Optional<Spread> foreign() {
    double[] v =
        series.stream()
            .flatMap(s -> s.samples().stream())
            .mapToDouble(s -> s.machine().foreign())
            .toArray();
    return v.length == 0 ? Optional.empty() : Optional.of(Spread.of(v));
  }
}
