// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * Where the parts of one frame are in the data of {@link PseudoCall#XDP_RECEIVE} and {@link
 * PseudoCall#XDP_SEND}, counted from its start, little-endian:
 *
 * <pre>
 *   0       4        8          8 + before
 *   +-------+--------+----------+---------+
 *   | bytes | before | metadata | frame   |
 *   +-------+--------+----------+---------+
 * </pre>
 *
 * <p>The metadata are what an XDP program has put in front of the frame; one that is to be sent has
 * none. The next frame begins at a multiple of 8.
 */
public final class XdpFrame {
  public static final int LENGTH = 0;
  public static final int BEFORE = 4;
  public static final int HEADER_BYTES = 8;

  private XdpFrame() {}

  /** From the start of a frame to that of the next. */
  public static long bytes(long before, long length) {
    return HEADER_BYTES + before + length + 7 & -8;
  }
}
