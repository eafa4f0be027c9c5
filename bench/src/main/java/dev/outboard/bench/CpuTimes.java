// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.EnumMap;
import java.util.Map;

/**
 * Seconds of CPU by side.
 *
 * @param seconds of each side, since its processes began or between two moments
 */
record CpuTimes(Map<Side, Double> seconds) {
  /** Who belongs to which side. */
  interface Sides {
    Side of(ProcessTree tree, ProcessTree.Node node);
  }

  /**
   * What the processes of {@code tree} have used. Children that a process waited for count on its
   * side; those of the hook's processes were the program's.
   */
  static CpuTimes of(ProcessTree tree, Sides sides) {
    Map<Side, Double> sum = new EnumMap<>(Side.class);
    for (Side s : Side.values()) {
      sum.put(s, 0.0);
    }
    for (ProcessTree.Node n : tree.all()) {
      Side side = sides.of(tree, n);
      sum.merge(side, n.ownSeconds(), Double::sum);
      sum.merge(side == Side.HOOK ? Side.PROGRAM : side, n.reapedSeconds(), Double::sum);
    }
    return new CpuTimes(sum);
  }

  double of(Side side) {
    return seconds.getOrDefault(side, 0.0);
  }

  double sum() {
    return seconds.values().stream().mapToDouble(Double::doubleValue).sum();
  }

  /** What was used between {@code before} and this. */
  CpuTimes since(CpuTimes before) {
    Map<Side, Double> difference = new EnumMap<>(Side.class);
    seconds.forEach((s, t) -> difference.put(s, Math.max(0, t - before.of(s))));
    return new CpuTimes(difference);
  }
}
