// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.DirectTimes;
import dev.outboard.channel.LentSlot;

/**
 * What the shim did in some processes, by the calls' numbers. Counts are lost among threads of a
 * process, but for spins and times, which each call slot has for itself.
 *
 * <p>Not for several threads at a time.
 */
final class ShimCounts {
  private final long[] passed = new long[ShimLayout.MAX_NUMBER];
  private final long[] direct = new long[ShimLayout.MAX_NUMBER];
  private final long[] bytes = new long[ShimLayout.MAX_NUMBER];
  private final long[] won = new long[ShimLayout.MAX_NUMBER];
  private final long[] lost = new long[ShimLayout.MAX_NUMBER];
  private final long[] atOnce = new long[ShimLayout.MAX_NUMBER];
  private final DirectTimes times = new DirectTimes();
  private long stayed;

  /**
   * Adds what a process has counted so far.
   *
   * @return how many calls went to the host's kernel
   */
  long add(ShimTable t) {
    long all = 0;
    for (int i = 0; i < ShimLayout.MAX_NUMBER; i++) {
      long calls = t.calls(i);
      passed[i] += calls;
      all += calls;
    }
    // Most programs never have a slot, and counts without one are not worth a look.
    if (t.hasDeviceCalls()) {
      for (int i = 0; i < ShimLayout.MAX_NUMBER; i++) {
        direct[i] += t.deviceCalls(i);
        bytes[i] += t.deviceBytes(i);
        won[i] += t.spinsWon(i);
        lost[i] += t.spinsLost(i);
        atOnce[i] += t.atOnce(i);
      }
    }
    stayed += t.stayedBytes();
    return all;
  }

  /** Adds how long the device has taken for the calls by a slot, unless that is taken back. */
  void add(LentSlot slot) {
    slot.addTimes(times);
  }

  void add(ShimCounts c) {
    for (int i = 0; i < ShimLayout.MAX_NUMBER; i++) {
      passed[i] += c.passed[i];
      direct[i] += c.direct[i];
      bytes[i] += c.bytes[i];
      won[i] += c.won[i];
      lost[i] += c.lost[i];
      atOnce[i] += c.atOnce[i];
    }
    times.add(c.times);
    stayed += c.stayed;
  }

  /** Calls that went to the host's kernel. */
  long passed(int number) {
    return passed[number];
  }

  /** Calls that went to the device. */
  long direct(int number) {
    return direct[number];
  }

  /** The bytes that these moved. */
  long directBytes(int number) {
    return bytes[number];
  }

  /** How many sends were not waited for. */
  long wentAhead() {
    return atOnce[SyscallNumbers.WRITE]
        + atOnce[SyscallNumbers.WRITEV]
        + atOnce[SyscallNumbers.SENDTO]
        + atOnce[SyscallNumbers.SENDFILE];
  }

  /** How many receives took what the device had looked at. */
  long peeked() {
    return atOnce[SyscallNumbers.READ]
        + atOnce[SyscallNumbers.READV]
        + atOnce[SyscallNumbers.RECVFROM];
  }

  /** Those of the calls to the device of which nobody waited for the end. */
  long atOnce(int number) {
    return atOnce[number];
  }

  /** What so many of a hundred of the others did not exceed on the device, in nanoseconds. */
  long directNanos(int number, int percent) {
    return times.percentile(number, percent);
  }

  /** How many bytes of sendfile were of files of the device, where they stay. */
  long stayedBytes() {
    return stayed;
  }

  /** Those of the calls that found their reply while they looked for it, before they slept. */
  long spinsWon(int number) {
    return won[number];
  }

  /** Those that looked in vain. */
  long spinsLost(int number) {
    return lost[number];
  }
}
