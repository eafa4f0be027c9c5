// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Flags of {@code splice(2)}, {@code tee(2)} and {@code vmsplice(2)}.
 *
 * <p>Source: {@code include/linux/splice.h}; the same on every architecture.
 */
public final class Splice {
  public static final int SPLICE_F_MOVE = 1;
  public static final int SPLICE_F_NONBLOCK = 2;
  public static final int SPLICE_F_MORE = 4;
  public static final int SPLICE_F_GIFT = 8;

  /** All flags there are; others are EINVAL. */
  public static final int SPLICE_F_ALL = 15;

  private Splice() {}
}
