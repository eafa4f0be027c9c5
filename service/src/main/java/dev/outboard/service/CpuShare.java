// SPDX-License-Identifier: MIT
package dev.outboard.service;

/**
 * What CPU time each kernel of a service gets.
 *
 * @param apart each has a control group of its own, so that all get the same of a busy machine,
 *     whatever number of threads they have
 * @param percent of one processor at most, over any longer time; 0: as much as is left
 */
public record CpuShare(boolean apart, int percent) {
  /** Less, and a kernel's process would be too slow for the times that its sessions allow. */
  public static final int LEAST_PERCENT = 5;

  /** As much as 1024 processors. */
  public static final int MOST_PERCENT = 102_400;

  /** Control groups where they can be made; without, kernels share as processes do. */
  public static final CpuShare FAIR = new CpuShare(true, 0);

  /** No control groups. */
  public static final CpuShare NONE = new CpuShare(false, 0);

  /**
   * {@code 50%}, {@code fair} or {@code none}.
   *
   * @throws IllegalArgumentException if it is nothing of these; the message is for the user
   */
  public static CpuShare parse(String text) {
    if (text.equals("fair")) {
      return FAIR;
    }
    if (text.equals("none")) {
      return NONE;
    }
    if (text.matches("[0-9]{1,6}%")) {
      int percent = Integer.parseInt(text.substring(0, text.length() - 1));
      if (percent >= LEAST_PERCENT && percent <= MOST_PERCENT) {
        return new CpuShare(true, percent);
      }
    }
    throw new IllegalArgumentException(
        "'"
            + text
            + "' is not a part of one processor from "
            + LEAST_PERCENT
            + "% to "
            + MOST_PERCENT
            + "%, fair or none");
  }

  /** Whether a service without the right to make control groups cannot do what is asked. */
  boolean needsGroup() {
    return percent > 0;
  }
}
