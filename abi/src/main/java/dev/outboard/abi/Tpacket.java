// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * The memory mapped rings of packet sockets on 64-bit machines: {@code packet(7)}, {@code
 * Documentation/networking/packet_mmap.rst}, {@code include/uapi/linux/if_packet.h}.
 */
public final class Tpacket {
  // Options at SOL_PACKET.
  public static final int RX_RING = 5;
  public static final int STATISTICS = 6;
  public static final int AUXDATA = 8;
  public static final int VERSION = 10;
  public static final int RESERVE = 12;
  public static final int LOSS = 14;

  public static final int V1 = 0;
  public static final int V2 = 1;
  public static final int V3 = 2;

  /** Headers, frames and packets begin at multiples of this. */
  public static final int ALIGNMENT = 16;

  // struct tpacket_req, and what tpacket_req3 has beyond it.
  public static final int REQ_BLOCK_SIZE = 0;
  public static final int REQ_BLOCK_NR = 4;
  public static final int REQ_FRAME_SIZE = 8;
  public static final int REQ_FRAME_NR = 12;
  public static final int REQ_BYTES = 16;
  public static final int REQ3_RETIRE_TOV = 16;
  public static final int REQ3_SIZEOF_PRIV = 20;
  public static final int REQ3_FEATURES = 24;
  public static final int REQ3_BYTES = 28;

  // struct tpacket_stats_v3; tpacket_stats ends before the last field.
  public static final int STATS_PACKETS = 0;
  public static final int STATS_DROPS = 4;
  public static final int STATS_FREEZES = 8;
  public static final int STATS_BYTES = 12;

  // tp_status and block_status.
  public static final int STATUS_KERNEL = 0;
  public static final int STATUS_USER = 1;
  public static final int STATUS_LOSING = 1 << 2;
  public static final int STATUS_VLAN_VALID = 1 << 4;
  public static final int STATUS_BLK_TMO = 1 << 5;
  public static final int STATUS_VLAN_TPID_VALID = 1 << 6;
  public static final int STATUS_TS_SOFTWARE = 1 << 29;

  // struct tpacket_hdr: the status is a long.
  public static final int H1_STATUS = 0;
  public static final int H1_LEN = 8;
  public static final int H1_SNAPLEN = 12;
  public static final int H1_MAC = 16;
  public static final int H1_NET = 18;
  public static final int H1_SEC = 20;
  public static final int H1_USEC = 24;
  public static final int H1_BYTES = 32;

  // struct tpacket2_hdr
  public static final int H2_STATUS = 0;
  public static final int H2_LEN = 4;
  public static final int H2_SNAPLEN = 8;
  public static final int H2_MAC = 12;
  public static final int H2_NET = 14;
  public static final int H2_SEC = 16;
  public static final int H2_NSEC = 20;
  public static final int H2_VLAN_TCI = 24;
  public static final int H2_VLAN_TPID = 26;
  public static final int H2_PADDING = 28;
  public static final int H2_BYTES = 32;

  // struct tpacket3_hdr
  public static final int H3_NEXT = 0;
  public static final int H3_SEC = 4;
  public static final int H3_NSEC = 8;
  public static final int H3_SNAPLEN = 12;
  public static final int H3_LEN = 16;
  public static final int H3_STATUS = 20;
  public static final int H3_MAC = 24;
  public static final int H3_NET = 26;
  public static final int H3_RXHASH = 28;
  public static final int H3_VLAN_TCI = 32;
  public static final int H3_VLAN_TPID = 36;
  public static final int H3_PADDING = 38;
  public static final int H3_BYTES = 48;

  // struct tpacket_block_desc with its struct tpacket_hdr_v1.
  public static final int BLOCK_VERSION = 0;
  public static final int BLOCK_PRIV_OFFSET = 4;
  public static final int BLOCK_STATUS = 8;
  public static final int BLOCK_PACKETS = 12;
  public static final int BLOCK_FIRST = 16;
  public static final int BLOCK_LEN = 20;
  public static final int BLOCK_SEQUENCE = 24;
  public static final int BLOCK_FIRST_SEC = 32;
  public static final int BLOCK_FIRST_NSEC = 36;
  public static final int BLOCK_LAST_SEC = 40;
  public static final int BLOCK_LAST_NSEC = 44;
  public static final int BLOCK_BYTES = 48;

  /** Packets of a block, and what is before them, are aligned to this. */
  public static final int BLOCK_ALIGNMENT = 8;

  // struct tpacket_auxdata
  public static final int AUX_STATUS = 0;
  public static final int AUX_LEN = 4;
  public static final int AUX_SNAPLEN = 8;
  public static final int AUX_MAC = 12;
  public static final int AUX_NET = 14;
  public static final int AUX_VLAN_TCI = 16;
  public static final int AUX_VLAN_TPID = 18;
  public static final int AUX_BYTES = 20;

  private Tpacket() {}
}
