// SPDX-License-Identifier: MIT
package dev.outboard.relay;

/**
 * How far a call's data go, in the flags of its frame: from bit 16 on in units of {@value #UNIT}
 * bytes, rounded up; 0 means to the end of the slot's data. What lies behind is not compared, and
 * need not be the same at both ends.
 */
final class Extent {
  /** The flags below. */
  static final int OTHER_FLAGS = 0xffff;

  static final int UNIT = 16;
  private static final int SHIFT = 16;

  private Extent() {}

  /** The flags for so many bytes. */
  static int flags(long bytes) {
    return (int) Math.max(1, (bytes + UNIT - 1) / UNIT) << SHIFT;
  }

  /**
   * What the flags say.
   *
   * @param size the bytes of a slot's data, a multiple of {@value #UNIT}
   * @return the bytes, or -1 if there are not so many
   */
  static long of(int flags, long size) {
    long bytes = (long) (flags >>> SHIFT) * UNIT;
    return bytes == 0 ? size : bytes <= size ? bytes : -1;
  }
}
