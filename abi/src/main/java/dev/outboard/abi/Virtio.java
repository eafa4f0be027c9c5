// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Virtual devices as the virtio 1.3 specification and {@code include/uapi/linux/virtio_*.h} number
 * them.
 */
public final class Virtio {
  /** Device id of a network card (5.1). */
  public static final int ID_NET = 1;

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

  /** Offset of {@code num_buffers}, a u16, in the header. */
  public static final int NET_HEADER_BUFFERS = 10;

  // struct virtio_net_config (5.1.4).
  public static final int NET_CONFIG_MAC = 0;
  public static final int NET_CONFIG_STATUS = 6;
  public static final int NET_CONFIG_QUEUE_PAIRS = 8;
  public static final int NET_CONFIG_MTU = 10;
  public static final int NET_CONFIG_BYTES = 12;
  public static final int NET_STATUS_LINK_UP = 1;

  private Virtio() {}

  /** The mask of a feature number. */
  public static long bit(int feature) {
    return 1L << feature;
  }
}
