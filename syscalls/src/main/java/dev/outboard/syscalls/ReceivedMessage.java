// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * Where the parts of one message are in the data of {@link PseudoCall#RECEIVE}, counted from the
 * message's start, little-endian:
 *
 * <pre>
 *   0       4       8            12              16     48         256
 *   +-------+-------+------------+---------------+------+----------+---------+
 *   | bytes | flags | name bytes | control bytes | name | control  | payload |
 *   +-------+-------+------------+---------------+------+----------+---------+
 * </pre>
 *
 * <p>{@code bytes} is how long the message was, {@code flags} is {@code msg_flags}; name and
 * control are in the kernel's form. The payload is as much of the message as there was room for:
 * the first message of a call may have been cut to what the data hold, each to what was asked for.
 */
public final class ReceivedMessage {
  public static final int LENGTH = 0;
  public static final int FLAGS = 4;
  public static final int NAME_LENGTH = 8;
  public static final int CONTROL_LENGTH = 12;
  public static final int NAME = 16;
  public static final int NAME_BYTES = 32;
  public static final int CONTROL = 48;
  public static final int CONTROL_BYTES = 208;
  public static final int PAYLOAD = 256;

  private static final int ALIGNMENT = 8;

  private ReceivedMessage() {}

  /**
   * How many bytes of a message are in the data.
   *
   * @param length the message's own
   * @param most what was asked for
   * @param room the bytes of the data from the message's start on
   */
  public static long payloadBytes(long length, long most, long room) {
    return Math.max(0, Math.min(Math.min(length, most), room - PAYLOAD));
  }

  /** From the start of a message to that of the next. */
  public static long bytes(long payloadBytes) {
    return PAYLOAD + payloadBytes + ALIGNMENT - 1 & -ALIGNMENT;
  }
}
