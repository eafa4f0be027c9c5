// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Virtual devices as the virtio 1.3 specification and {@code include/uapi/linux/virtio_*.h} number
 * them.
 */
public final class Virtio {
  /** Device id of a network card (5.1). */
  public static final int ID_NET = 1;

  /** Device id of a disk (5.2). */
  public static final int ID_BLOCK = 2;

  /** Device id of a file system (5.11). */
  public static final int ID_FS = 26;

  // Device status bits (2.1).
  public static final int STATUS_ACKNOWLEDGE = 1;
  public static final int STATUS_DRIVER = 2;
  public static final int STATUS_DRIVER_OK = 4;
  public static final int STATUS_FEATURES_OK = 8;
  public static final int STATUS_NEEDS_RESET = 64;
  public static final int STATUS_FAILED = 128;

  // Feature bits, by number (5.1.3, 6).
  public static final int NET_F_CSUM = 0;
  public static final int NET_F_GUEST_CSUM = 1;
  public static final int NET_F_MTU = 3;
  public static final int NET_F_MAC = 5;
  public static final int NET_F_GUEST_TSO4 = 7;
  public static final int NET_F_GUEST_TSO6 = 8;
  public static final int NET_F_GUEST_ECN = 9;
  public static final int NET_F_HOST_TSO4 = 11;
  public static final int NET_F_HOST_TSO6 = 12;
  public static final int NET_F_HOST_ECN = 13;
  public static final int NET_F_MRG_RXBUF = 15;
  public static final int NET_F_STATUS = 16;
  public static final int RING_F_INDIRECT_DESC = 28;
  public static final int RING_F_EVENT_IDX = 29;
  public static final int F_VERSION_1 = 32;
  public static final int NET_F_GUEST_USO4 = 54;
  public static final int NET_F_GUEST_USO6 = 55;
  public static final int NET_F_HOST_USO = 56;

  // struct vring_desc (2.7.5), 16 bytes.
  public static final int DESC_BYTES = 16;
  public static final int DESC_ADDRESS = 0;
  public static final int DESC_LENGTH = 8;
  public static final int DESC_FLAGS = 12;
  public static final int DESC_NEXT = 14;
  public static final int DESC_F_NEXT = 1;
  public static final int DESC_F_WRITE = 2;
  public static final int DESC_F_INDIRECT = 4;

  /** Driver area (2.7.6): flags, index, then one u16 per entry, then the used event. */
  public static final int AVAIL_FLAGS = 0;

  public static final int AVAIL_INDEX = 2;
  public static final int AVAIL_RING = 4;
  public static final int AVAIL_F_NO_INTERRUPT = 1;

  /** Device area (2.7.8): flags, index, then {u32 id, u32 bytes} per entry, then avail event. */
  public static final int USED_FLAGS = 0;

  public static final int USED_INDEX = 2;
  public static final int USED_RING = 4;
  public static final int USED_ENTRY_BYTES = 8;
  public static final int USED_F_NO_NOTIFY = 1;

  /** {@code struct virtio_net_hdr_mrg_rxbuf} (5.1.6): before each frame, both ways. */
  public static final int NET_HEADER_BYTES = 12;

  /** Offsets of {@code flags} and {@code gso_type}, a u8 each, in the header. */
  public static final int NET_HEADER_FLAGS = 0;

  public static final int NET_HEADER_GSO_TYPE = 1;

  /** Offsets of {@code hdr_len}, {@code gso_size}, {@code csum_start}, u16s, in the header. */
  public static final int NET_HEADER_HEADERS = 2;

  public static final int NET_HEADER_GSO_SIZE = 4;
  public static final int NET_HEADER_CSUM_START = 6;

  /** In {@code flags}: a checksum is to be finished. */
  public static final int NET_HDR_F_NEEDS_CSUM = 1;

  /** In {@code gso_type}: a TCP segment of IPv6; the bit for one with ECN. */
  public static final int NET_HDR_GSO_TCPV6 = 4;

  public static final int NET_HDR_GSO_ECN = 0x80;

  /** Offset of {@code num_buffers}, a u16, in the header. */
  public static final int NET_HEADER_BUFFERS = 10;

  // struct virtio_net_config (5.1.4).
  public static final int NET_CONFIG_MAC = 0;
  public static final int NET_CONFIG_STATUS = 6;
  public static final int NET_CONFIG_QUEUE_PAIRS = 8;
  public static final int NET_CONFIG_MTU = 10;
  public static final int NET_CONFIG_BYTES = 12;
  public static final int NET_STATUS_LINK_UP = 1;

  // Feature bits of a disk (5.2.3).
  public static final int BLK_F_SEG_MAX = 2;
  public static final int BLK_F_GEOMETRY = 4;
  public static final int BLK_F_RO = 5;
  public static final int BLK_F_BLK_SIZE = 6;
  public static final int BLK_F_FLUSH = 9;
  public static final int BLK_F_TOPOLOGY = 10;
  public static final int BLK_F_DISCARD = 13;
  public static final int BLK_F_WRITE_ZEROES = 14;

  // struct virtio_blk_config (5.2.4).
  public static final int BLK_CONFIG_BYTES = 60;
  public static final int BLK_CONFIG_CAPACITY = 0;
  public static final int BLK_CONFIG_SEG_MAX = 12;
  public static final int BLK_CONFIG_CYLINDERS = 16;
  public static final int BLK_CONFIG_HEADS = 18;
  public static final int BLK_CONFIG_SECTORS = 19;
  public static final int BLK_CONFIG_BLK_SIZE = 20;
  public static final int BLK_CONFIG_PHYSICAL_EXPONENT = 24;
  public static final int BLK_CONFIG_MIN_IO = 26;
  public static final int BLK_CONFIG_OPTIMAL_IO = 28;
  public static final int BLK_CONFIG_DISCARD_SECTORS = 36;
  public static final int BLK_CONFIG_DISCARD_SEGMENTS = 40;
  public static final int BLK_CONFIG_DISCARD_ALIGNMENT = 44;
  public static final int BLK_CONFIG_ZEROES_SECTORS = 48;
  public static final int BLK_CONFIG_ZEROES_SEGMENTS = 52;
  public static final int BLK_CONFIG_ZEROES_MAY_UNMAP = 56;

  // A disk's request (5.2.6): a header, data, a byte of status.
  public static final int BLK_SECTOR_BYTES = 512;
  public static final int BLK_HEADER_BYTES = 16;
  public static final int BLK_HEADER_TYPE = 0;
  public static final int BLK_HEADER_SECTOR = 8;
  public static final int BLK_T_IN = 0;
  public static final int BLK_T_OUT = 1;
  public static final int BLK_T_FLUSH = 4;
  public static final int BLK_T_GET_ID = 8;
  public static final int BLK_T_DISCARD = 11;
  public static final int BLK_T_WRITE_ZEROES = 13;
  public static final int BLK_S_OK = 0;
  public static final int BLK_S_IOERR = 1;
  public static final int BLK_S_UNSUPP = 2;
  public static final int BLK_ID_BYTES = 20;

  /** {@code struct virtio_blk_discard_write_zeroes}: u64 sector, u32 sectors, u32 flags. */
  public static final int BLK_RANGE_BYTES = 16;

  public static final int BLK_RANGE_F_UNMAP = 1;

  // struct virtio_fs_config (5.11.4).
  public static final int FS_CONFIG_BYTES = 40;
  public static final int FS_CONFIG_TAG_BYTES = 36;
  public static final int FS_CONFIG_QUEUES = 36;

  private Virtio() {}

  /** The mask of a feature number. */
  public static long bit(int feature) {
    return 1L << feature;
  }
}
