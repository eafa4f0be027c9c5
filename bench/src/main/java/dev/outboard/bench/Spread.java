// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.Arrays;

/**
 * What a number of samples say.
 *
 * @param lowest of them
 * @param median the middle one, or the mean of the two in the middle
 * @param highest of them
 * @param count how many there are
 */
record Spread(double lowest, double median, double highest, int count) {
  /**
   * Of at least one value.
   *
   * @throws IllegalArgumentException if there is none
   */
  static Spread of(double... values) {
    if (values.length == 0) {
      throw new IllegalArgumentException("no values");
    }
    double[] v = values.clone();
    Arrays.sort(v);
    int middle = v.length / 2;
    double median = v.length % 2 == 1 ? v[middle] : (v[middle - 1] + v[middle]) / 2;
    return new Spread(v[0], median, v[v.length - 1], v.length);
  }

  /**
   * Of the ratios of samples taken in the same round: what slows the machine down for a while slows
   * both, and the ratio stays.
   */
  static Spread ofRatios(double[] values, double[] bases) {
    if (values.length != bases.length) {
      throw new IllegalArgumentException(values.length + " values, " + bases.length + " bases");
    }
    double[] ratios = new double[values.length];
    for (int i = 0; i < ratios.length; i++) {
      ratios[i] = values[i] / bases[i];
    }
    return of(ratios);
  }
}
