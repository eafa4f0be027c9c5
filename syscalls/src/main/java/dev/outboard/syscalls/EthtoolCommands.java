// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.MemorySegment;

/**
 * The sub-table of ethtool commands, behind the pointer of SIOCETHTOOL: how long each command's
 * structure is. Commands whose length only the device's driver knows (strings, statistics, register
 * dumps) are left out, as the program's buffer for them would have no bound; programs get them over
 * netlink.
 *
 * <p>Source: {@code include/uapi/linux/ethtool.h}.
 */
final class EthtoolCommands {
  /** No command's structure is longer. */
  static final int LONGEST = 2048;

  /** As much of a command as {@link #bytes} looks at. */
  static final int HEAD_BYTES = 16;

  private EthtoolCommands() {}

  /**
   * The length of a command's structure, whose first {@link #HEAD_BYTES} bytes (or as many as there
   * are) lie in {@code s} at {@code at}; -1 for a command that does not cross.
   */
  static int bytes(MemorySegment s, long at) {
    long bytes =
        switch (s.get(Wire.INT, at)) {
          case 0x01, 0x02 -> 44; // [GS]SET
          case 0x03 -> 196; // GDRVINFO
          case 0x05, 0x06 -> 20; // [GS]WOL
          case 0x07, 0x08 -> 8; // [GS]MSGLVL
          case 0x09 -> 4; // NWAY_RST
          case 0x0a -> 8; // GLINK
          case 0x0e, 0x0f -> 92; // [GS]COALESCE
          case 0x10, 0x11 -> 36; // [GS]RINGPARAM
          case 0x12, 0x13 -> 16; // [GS]PAUSEPARAM
          case 0x14, 0x15, 0x16, 0x17, 0x18, 0x19 -> 8; // [GS]RXCSUM, [GS]TXCSUM, [GS]SG
          case 0x1e, 0x1f, 0x21, 0x22, 0x23, 0x24 -> 8; // [GS]TSO, [GS]UFO, [GS]GSO
          case 0x20 -> counted(s, at, 8, 1); // GPERMADDR
          case 0x25, 0x26, 0x27, 0x28, 0x2b, 0x2c -> 8; // [GS]FLAGS, [GS]PFLAGS, [GS]GRO
          case 0x37 -> 16 + 4L * Long.bitCount(s.get(Wire.LONG, at + 8)); // GSSET_INFO
          case 0x3a -> counted(s, at, 8, 16); // GFEATURES
          case 0x3b -> counted(s, at, 8, 8); // SFEATURES
          case 0x3c, 0x3d -> 36; // [GS]CHANNELS
          case 0x41 -> 44; // GET_TS_INFO
          case 0x42 -> 44; // GMODULEINFO
          case 0x44, 0x45 -> 40; // [GS]EEE
          case 0x4c, 0x4d -> 48 + 12L * Math.max(0, s.get(Wire.BYTE, at + 15)); // [GS]LINKSETTINGS
          case 0x50, 0x51 -> 16; // [GS]FECPARAM
          default -> -1;
        };
    return bytes > LONGEST ? -1 : (int) bytes;
  }

  /** How long a command's head is: what can be read before its length is known. */
  static int headBytes(int command) {
    return switch (command) {
      case 0x20, 0x3a, 0x3b -> 8;
      case 0x37, 0x4c, 0x4d -> HEAD_BYTES;
      default -> 4;
    };
  }

  /** Whether the kernel writes the structure back. */
  static boolean answers(int command) {
    return switch (command) {
      case 0x02, 0x06, 0x08, 0x09, 0x0f, 0x11, 0x13, 0x15, 0x17, 0x19 -> false;
      case 0x1f, 0x22, 0x24, 0x26, 0x28, 0x2c, 0x3b, 0x3d, 0x45, 0x4d, 0x51 -> false;
      default -> true;
    };
  }

  private static long counted(MemorySegment s, long at, int head, int unit) {
    return head + Integer.toUnsignedLong(s.get(Wire.INT, at + 4)) * unit;
  }
}
