// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * How busy the machine was with other things, as shares of all its CPUs' time.
 *
 * @param steal what the hypervisor gave to others
 * @param foreign what processes used that are not part of the measurement
 */
record MachineLoad(double steal, double foreign) {
  private static final int IDLE = 3;
  private static final int IOWAIT = 4;
  private static final int STEAL = 7;

  /**
   * Ticks of all CPUs since the machine's start, from {@code /proc/stat}.
   *
   * @param busy spent on any process or interrupt
   */
  record Ticks(long busy, long idle, long steal) {
    static Ticks now() throws IOException {
      return parse(Files.readAllLines(Path.of("/proc/stat")).getFirst());
    }

    /** From the first line of {@code /proc/stat}. A guest's time is in the user's already. */
    static Ticks parse(String line) {
      List<Long> f =
          List.of(line.strip().split(" +", -1)).stream().skip(1).map(Long::parseLong).toList();
      long busy = 0;
      for (int i = 0; i < STEAL; i++) {
        if (i != IDLE && i != IOWAIT) {
          busy += f.get(i);
        }
      }
      return new Ticks(busy, f.get(IDLE) + f.get(IOWAIT), f.get(STEAL));
    }
  }

  /**
   * Between two moments.
   *
   * @param ownSeconds CPU of all that belongs to the measurement
   */
  static MachineLoad between(Ticks before, Ticks after, double ownSeconds) {
    double busy = after.busy - before.busy;
    double steal = after.steal - before.steal;
    double all = busy + steal + (after.idle - before.idle);
    if (all <= 0) {
      return new MachineLoad(0, 0);
    }
    double own = ownSeconds * ProcessTree.TICKS_PER_SECOND;
    return new MachineLoad(steal / all, Math.max(0, busy - own) / all);
  }
}
