// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Packet sockets: {@code packet(7)}, {@code include/uapi/linux/if_packet.h}, {@code
 * include/uapi/linux/if_ether.h}.
 */
public final class PacketSocket {
  public static final int SOL_PACKET = 263;

  public static final int ADD_MEMBERSHIP = 1;
  public static final int VNET_HDR = 15;
  public static final int IGNORE_OUTGOING = 23;

  /** Linux 6.6 and later: the header's length. */
  public static final int VNET_HDR_SZ = 24;

  /** What {@link #VNET_HDR} alone gives: {@code struct virtio_net_hdr}. */
  public static final int VNET_HDR_BYTES = 10;

  public static final int MR_PROMISC = 1;

  /** {@code struct packet_mreq}: int index, u16 type, u16 length, 8 bytes of address. */
  public static final int MREQ_BYTES = 16;

  public static final int MREQ_TYPE = 4;

  public static final int ETH_P_ALL = 3;

  // struct sockaddr_ll
  public static final int ADDRESS_BYTES = 20;
  public static final int ADDRESS_PROTOCOL = 2;
  public static final int ADDRESS_INDEX = 4;

  private PacketSocket() {}
}
