// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.posix.Processors;

/**
 * Keeps a shadow thread on the processor of the thread that waits for it.
 *
 * <p>A call is a chain of threads of which one runs at a time: the program's, the hook's, the
 * shadow thread, and back. Left to itself the scheduler wakes each on an idle processor, and an
 * idle processor has to be woken first: 25 to 30 µs on a virtual machine, where a switch on the
 * same one costs 2 to 3. The hook's thread runs where the program's does (the seccomp listener
 * hands over its processor); this does the same for the shadow thread.
 *
 * <p>The program moves at its scheduler's will; the shadow thread follows when several calls in a
 * row came from the other processor, since to move costs as much as a wake-up saves.
 *
 * <p>Owned by the shadow thread.
 */
final class Placement {
  /** How many calls in a row must come from another processor. */
  private static final int PATIENCE = 8;

  /** False leaves shadow threads to the scheduler; to compare. */
  private static final boolean FOLLOWS =
      Boolean.parseBoolean(System.getProperty("outboard.follow", "true"));

  private int here = -1;
  private int candidate = -1;
  private int seen;
  private boolean follows = FOLLOWS;

  /**
   * Takes note of where the last call came from; moves if that is another processor for good. To be
   * called when nobody waits.
   */
  void follow(int processor) {
    if (processor == here || !follows) {
      seen = 0;
      return;
    }
    if (processor != candidate) {
      candidate = processor;
      seen = 0;
    }
    if (++seen >= PATIENCE) {
      seen = 0;
      // A number that is none, or a processor that is not for this process: stay where we are.
      follows = Processors.stayOn(processor) == 0;
      here = processor;
    }
  }
}
