// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * What lies in a call's data beside plain buffers. All numbers are little-endian; every object
 * starts on a multiple of 16.
 *
 * <p>A message of sendmsg and recvmsg, at {@code args[1]}; offsets are {@link Call#NULL} for null:
 *
 * <pre>
 *   0             8          12          16            24
 *   +-------------+----------+-----------+-------------+------------+
 *   | name offset | name len | msg_flags | data offset | data bytes |
 *   +-------------+----------+-----------+-------------+------------+
 *   32               40              48
 *   +----------------+---------------+
 *   | control offset | control bytes |
 *   +----------------+---------------+
 * </pre>
 *
 * <p>Structures that hold a pointer (sock_fprog, ifconf, ifreq with ifr_data, rtentry) keep their
 * layout, with the offset of what is pointed to in the pointer's place.
 */
final class Wire {
  static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
  static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  static final int MSG_NAME = 0;
  static final int MSG_NAME_BYTES = 8;
  static final int MSG_FLAGS = 12;
  static final int MSG_DATA = 16;
  static final int MSG_DATA_BYTES = 24;
  static final int MSG_CONTROL = 32;
  static final int MSG_CONTROL_BYTES = 40;
  static final int MSG_BYTES = 48;

  /** sizeof(struct sockaddr_storage): no address is longer. */
  static final int ADDRESS_BYTES = 128;

  /** Longest control data that a call carries, the kernel's old default of optmem_max. */
  static final int CONTROL_BYTES = 20480;

  /** The kernel's MAX_RW_COUNT: it cuts every transfer to that. */
  static final long TRANSFER_BYTES = 0x7ffff000L;

  /** The kernel's PATH_MAX, the NUL included. */
  static final int PATH_BYTES = 4096;

  /** The kernel's UIO_MAXIOV. */
  static final int VECTORS = 1024;

  private Wire() {}

  /** The next offset at which an object may start. */
  static long align(long offset) {
    return (offset + 15) & ~15L;
  }
}
