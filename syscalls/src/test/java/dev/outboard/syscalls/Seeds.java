// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.util.Random;

/** Random numbers that can be had again: {@code -Dtests.seed=N}. */
final class Seeds {
  private Seeds() {}

  /** A generator whose seed is printed, so that a failure can be repeated. */
  static Random random(String test) {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println(test + ": -Dtests.seed=" + seed);
    return new Random(seed);
  }
}
