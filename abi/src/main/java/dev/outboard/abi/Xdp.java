// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * AF_XDP sockets ({@code include/uapi/linux/if_xdp.h}, {@code Documentation/networking/af_xdp.rst})
 * and what of {@code bpf(2)} leads an interface's frames to one ({@code include/uapi/linux/bpf.h}).
 */
public final class Xdp {
  public static final int AF_XDP = 44;
  public static final int SOL_XDP = 283;

  // Options.
  public static final int MMAP_OFFSETS = 1;
  public static final int RX_RING = 2;
  public static final int TX_RING = 3;
  public static final int UMEM_REG = 4;
  public static final int UMEM_FILL_RING = 5;
  public static final int UMEM_COMPLETION_RING = 6;
  public static final int STATISTICS = 7;
  public static final int OPTIONS = 8;

  // Where mmap(2) finds the rings.
  public static final long PGOFF_RX_RING = 0;
  public static final long PGOFF_TX_RING = 0x8000_0000L;
  public static final long PGOFF_FILL_RING = 0x1_0000_0000L;
  public static final long PGOFF_COMPLETION_RING = 0x1_8000_0000L;

  /** {@code struct xdp_mmap_offsets}: for each of rx, tx, fill, completion a ring's offsets. */
  public static final int MMAP_OFFSETS_BYTES = 128;

  /** {@code struct xdp_ring_offset}: u64 producer, consumer, descriptors, flags. */
  public static final int RING_OFFSET_BYTES = 32;

  /** {@code struct xdp_umem_reg}: u64 address, u64 length, u32 chunk, u32 headroom, u32 flags. */
  public static final int UMEM_REG_BYTES = 32;

  /** The same without flags and what follows, as the first kernels had it. */
  public static final int UMEM_REG_V1_BYTES = 24;

  public static final int UMEM_REG_LENGTH = 8;
  public static final int UMEM_REG_CHUNK = 16;
  public static final int UMEM_REG_HEADROOM = 20;
  public static final int UMEM_REG_FLAGS = 24;

  /** Flag of the memory: frames begin anywhere in it. */
  public static final int UMEM_UNALIGNED_CHUNKS = 1;

  /** Above so many bits of an address there is what is to be added to it, in such memory. */
  public static final int UNALIGNED_OFFSET_SHIFT = 48;

  /** {@code struct xdp_statistics}: six u64. */
  public static final int STATISTICS_BYTES = 48;

  public static final int STATS_DROPPED = 0;
  public static final int STATS_TX_INVALID = 16;
  public static final int STATS_RING_FULL = 24;
  public static final int STATS_FILL_EMPTY = 32;
  public static final int STATS_TX_EMPTY = 40;

  /** {@code struct xdp_options}. */
  public static final int OPTIONS_BYTES = 4;

  /** {@code struct xdp_desc}: u64 address, u32 length, u32 options. */
  public static final int DESC_BYTES = 16;

  public static final int DESC_LENGTH = 8;
  public static final int DESC_OPTIONS = 12;

  /** {@code struct sockaddr_xdp}: u16 family, u16 flags, u32 index, u32 queue, u32 descriptor. */
  public static final int ADDRESS_BYTES = 16;

  public static final int ADDRESS_FLAGS = 2;
  public static final int ADDRESS_INDEX = 4;
  public static final int ADDRESS_QUEUE = 8;

  // Flags of an address.
  public static final int COPY = 2;
  public static final int ZEROCOPY = 4;
  public static final int USE_NEED_WAKEUP = 8;

  /** In a ring's flags: what is in it is looked at when a call says so. */
  public static final int RING_NEED_WAKEUP = 1;

  /** Room that the kernel leaves before a frame in its chunk. */
  public static final int PACKET_HEADROOM = 256;

  // bpf(2), on x86-64.
  public static final int BPF = 321;
  public static final int MAP_CREATE = 0;
  public static final int MAP_UPDATE_ELEM = 2;
  public static final int PROG_LOAD = 5;
  public static final int LINK_CREATE = 28;

  public static final int MAP_TYPE_XSKMAP = 17;
  public static final int PROG_TYPE_XDP = 6;
  public static final int ATTACH_XDP = 37;
  public static final int PSEUDO_MAP_FD = 1;
  public static final int FUNC_REDIRECT_MAP = 51;
  public static final int ACTION_PASS = 2;

  /** Flag of an attachment: the generic mode, which every interface has. */
  public static final int FLAGS_SKB_MODE = 2;

  /** Offset of the queue's number in {@code struct xdp_md}. */
  public static final int MD_RX_QUEUE_INDEX = 16;

  private Xdp() {}
}
