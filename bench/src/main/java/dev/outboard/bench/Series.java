// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One measure in one mode.
 *
 * @param samples one of each round; empty if {@code failure} says why there are none
 * @param statistics of the run of the program that the samples are of, or null
 * @param allWork that the program did from its start to its end, warm-up included, if the
 *     statistics are of this measure alone; otherwise NaN
 * @param notes sentences on what happened
 */
record Series(
    Workload workload,
    Measure measure,
    Mode mode,
    List<Sample> samples,
    @Nullable RunStatistics statistics,
    double allWork,
    List<String> notes,
    @Nullable String failure) {
  Series {
    samples = List.copyOf(samples);
    notes = List.copyOf(notes);
  }

  static Series failed(Workload workload, Measure measure, Mode mode, String why) {
    return new Series(workload, measure, mode, List.of(), null, Double.NaN, List.of(), why);
  }

  boolean ok() {
    return !samples.isEmpty();
  }

  /** Figures as they are shown: in the measure's unit. */
  Spread figures() {
    return Spread.of(samples.stream().mapToDouble(s -> measure.unit().shown(s.rate())).toArray());
  }

  private double[] rates() {
    return samples.stream().mapToDouble(Sample::rate).toArray();
  }

  /** Speed in relation to another mode's in the same rounds: 1 is as fast, more is faster. */
  Spread ratio(Series base) {
    return Spread.ofRatios(rates(), base.rates());
  }

  /** Seconds of CPU for {@link Measure.Unit#portion}, the median. */
  double cpu(Side side) {
    return perPortion(s -> s.cpu().of(side));
  }

  /** What the host spends: program and hook. */
  double hostCpu() {
    return perPortion(s -> s.cpu().of(Side.PROGRAM) + s.cpu().of(Side.HOOK));
  }

  private double perPortion(java.util.function.ToDoubleFunction<Sample> seconds) {
    double[] values =
        samples.stream()
            .mapToDouble(s -> seconds.applyAsDouble(s) / s.work() * measure.unit().portionSize())
            .toArray();
    return Spread.of(values).median();
  }

  /** Trapped calls for {@link Measure.Unit#portion}; NaN if not known. */
  double calls() {
    return statistics == null
        ? Double.NaN
        : statistics.trapped() / allWork * measure.unit().portionSize();
  }

  /** Bytes over the channel for a byte of payload, or for a request; NaN if not known. */
  double channelBytes() {
    return statistics == null ? Double.NaN : statistics.channelBytes() / allWork;
  }
}
