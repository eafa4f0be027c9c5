// SPDX-License-Identifier: MIT
package dev.outboard.bench;

/**
 * One piece of traffic.
 *
 * @param work what was done, in the measure's unit (bytes, requests, calls)
 * @param seconds how long it took, as the client measured it
 * @param cpu what the sides used from just before the client's start until its end
 * @param machine what else went on meanwhile
 */
record Sample(double work, double seconds, CpuTimes cpu, MachineLoad machine) {
  /** What a client reports. */
  record Work(double amount, double seconds) {}

  double rate() {
    return work / seconds;
  }
}
