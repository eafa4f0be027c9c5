// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Tpacket;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a program asks for by PACKET_RX_RING, and what else decides where packets lie in the ring.
 *
 * @param version {@link Tpacket#V1}, V2 or V3
 * @param blockSize bytes, as all sizes here
 * @param retireMillis V3: when a block that is not full is given to the program all the same
 * @param privateBytes V3: room for the program at the start of each block
 * @param reserve PACKET_RESERVE: room for the program before each packet
 * @param datagrams the socket is of SOCK_DGRAM: packets have no link header
 * @param prefix the length of PACKET_VNET_HDR's header, 0 for none
 */
record RingRequest(
    int version,
    int blockSize,
    int blocks,
    int frameSize,
    int frames,
    int retireMillis,
    int privateBytes,
    int reserve,
    boolean datagrams,
    int prefix) {
  /** What the kernel takes for "some". */
  private static final int DEFAULT_RETIRE_MILLIS = 8;

  private static final int PAGE = 4096;
  private static final int ADDRESS_BYTES = 20;

  /** Reads a {@code struct tpacket_req}, or {@code tpacket_req3} if the version has that. */
  static RingRequest read(
      MemorySegment from, int version, int reserve, boolean datagrams, int prefix) {
    boolean blocks = version == Tpacket.V3;
    // The kernel keeps 16 bits of it.
    int retire =
        blocks ? from.get(ValueLayout.JAVA_INT, Tpacket.REQ3_RETIRE_TOV) : DEFAULT_RETIRE_MILLIS;
    return new RingRequest(
        version,
        from.get(ValueLayout.JAVA_INT, Tpacket.REQ_BLOCK_SIZE),
        from.get(ValueLayout.JAVA_INT, Tpacket.REQ_BLOCK_NR),
        from.get(ValueLayout.JAVA_INT, Tpacket.REQ_FRAME_SIZE),
        from.get(ValueLayout.JAVA_INT, Tpacket.REQ_FRAME_NR),
        retire == 0 ? DEFAULT_RETIRE_MILLIS : Math.max(1, retire & 0xffff),
        blocks ? from.get(ValueLayout.JAVA_INT, Tpacket.REQ3_SIZEOF_PRIV) : 0,
        reserve,
        datagrams,
        prefix);
  }

  /** The structure's size for a version. */
  static int bytes(int version) {
    return version == Tpacket.V3 ? Tpacket.REQ3_BYTES : Tpacket.REQ_BYTES;
  }

  /** Whether it asks for a ring to be given up. */
  boolean frees() {
    return blocks == 0;
  }

  /** The checks of {@code packet_set_ring()}: 0, or -EINVAL. */
  long check() {
    if (frees()) {
      return frames == 0 ? 0 : -Errno.EINVAL;
    }
    long least = headerBytes() + Integer.toUnsignedLong(reserve);
    long perBlock =
        frameSize == 0 ? 0 : Integer.toUnsignedLong(blockSize) / Integer.toUnsignedLong(frameSize);
    boolean good =
        blockSize > 0
            && blockSize % PAGE == 0
            && (version != Tpacket.V3 || blockSize >= beforePackets() + least)
            && Integer.toUnsignedLong(frameSize) >= least
            && frameSize % Tpacket.ALIGNMENT == 0
            && perBlock > 0
            && perBlock * Integer.toUnsignedLong(blocks) == Integer.toUnsignedLong(frames);
    return good ? 0 : -Errno.EINVAL;
  }

  /** The ring's size. Checked requests only, as all below. */
  long bytes() {
    return (long) blockSize * Integer.toUnsignedLong(blocks);
  }

  int framesPerBlock() {
    return blockSize / frameSize;
  }

  /** {@code TPACKET_HDRLEN} of the version: header and address. */
  int headerBytes() {
    return addressOffset() + ADDRESS_BYTES;
  }

  /** Where a packet's {@code sockaddr_ll} is, counted from its header. */
  int addressOffset() {
    return version == Tpacket.V3 ? Tpacket.H3_BYTES : Tpacket.H2_BYTES;
  }

  /** V3: what is in a block before its first packet. */
  long beforePackets() {
    return Tpacket.BLOCK_BYTES
        + (Integer.toUnsignedLong(privateBytes) + Tpacket.BLOCK_ALIGNMENT - 1
            & -Tpacket.BLOCK_ALIGNMENT);
  }

  /** V3: the longest packet, its header counted. */
  int longest() {
    return (int) (blockSize - beforePackets());
  }

  /**
   * Where a packet's network header is, counted from its own header in the ring.
   *
   * @param linkBytes the length of its link header
   */
  int netOffset(int linkBytes) {
    if (datagrams) {
      return align(headerBytes()) + 16 + reserve;
    }
    return align(headerBytes() + Math.max(16, linkBytes)) + reserve + prefix;
  }

  private static int align(int n) {
    return n + Tpacket.ALIGNMENT - 1 & -Tpacket.ALIGNMENT;
  }
}
