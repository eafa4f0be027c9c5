// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Tpacket;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * A ring of blocks, each with packets one behind the other: TPACKET_V3.
 *
 * <p>One block is <em>active</em>: packets go there until one does not fit, or the block's time is
 * over and it has some; then it is the program's and the next one is opened. If the program has
 * that one still, the ring is <em>frozen</em>, and packets are dropped, until it gives it back.
 * (The functions named {@code prb_} of the source.)
 */
final class BlockRing extends PacketRing {
  private static final int VLAN = Tpacket.STATUS_VLAN_VALID | Tpacket.STATUS_VLAN_TPID_VALID;
  private static final long NANOS = 1_000_000_000;

  private final LongSupplier wallNanos;
  private final long period;

  private int active;
  private int lastActive;
  private long sequence = 1;
  private boolean frozen;
  private int freezes;
  private long expires;

  // The active block's.
  private int packets;
  private int length;
  private long next;
  private long previous;
  private int previousSeconds;
  private int previousNanos;

  /** A block was given to the program since the flag was cleared. */
  private boolean closed;

  /**
   * @param wallNanos the time since 1970, in nanoseconds
   */
  BlockRing(MemorySegment memory, RingRequest request, LongSupplier wallNanos, long now) {
    super(memory, request);
    this.wallNanos = wallNanos;
    this.period = TimeUnit.MILLISECONDS.toNanos(request.retireMillis());
    open(now);
  }

  @Override
  boolean put(RingPacket p, long now) {
    closed = tick(now);
    if (!place(p)) {
      drop();
      return closed;
    }
    int snap = p.snapLength;
    boolean prefixed = request.prefix() > 0;
    if (macOffset + snap > request.longest()) {
      snap = request.longest() - macOffset;
      if (snap < 0) {
        snap = 0;
        macOffset = request.longest();
        prefixed = false;
      }
    }
    // What the call did not carry cannot be shown.
    long header = reserve(macOffset + snap, now);
    if (header < 0) {
      drop();
      return closed;
    }
    if (prefixed) {
      p.copyPrefixTo(memory, header + macOffset);
    }
    snap = p.copyTo(memory, header + macOffset, snap);
    setInt(header + Tpacket.H3_SEC, p.seconds);
    setInt(header + Tpacket.H3_NSEC, p.nanos);
    setInt(header + Tpacket.H3_SNAPLEN, snap);
    setInt(header + Tpacket.H3_LEN, p.length);
    setInt(header + Tpacket.H3_STATUS, p.status);
    setShort(header + Tpacket.H3_MAC, macOffset);
    setShort(header + Tpacket.H3_NET, netOffset);
    setInt(header + Tpacket.H3_RXHASH, 0);
    boolean vlan = (p.status & VLAN) != 0;
    setInt(header + Tpacket.H3_VLAN_TCI, vlan ? Short.toUnsignedInt(p.vlanTci) : 0);
    setShort(header + Tpacket.H3_VLAN_TPID, vlan ? p.vlanTpid : 0);
    memory
        .asSlice(header + Tpacket.H3_PADDING, Tpacket.H3_BYTES - Tpacket.H3_PADDING)
        .fill((byte) 0);
    p.copyAddressTo(memory, header + request.addressOffset());
    previousSeconds = p.seconds;
    previousNanos = p.nanos;
    return closed;
  }

  /** Room for a packet: {@code __packet_lookup_frame_in_block()}; -1 if there is none. */
  private long reserve(int bytes, long now) {
    if (frozen) {
      if (inUse()) {
        return -1;
      }
      open(now);
    }
    int padded = bytes + Tpacket.BLOCK_ALIGNMENT - 1 & -Tpacket.BLOCK_ALIGNMENT;
    if (next + padded >= start() + request.blockSize()) {
      retire(0);
      if (!dispatch(now)) {
        return -1;
      }
    }
    long header = next;
    setInt(header + Tpacket.H3_NEXT, padded);
    previous = header;
    next += padded;
    length += padded;
    packets++;
    setInt(start() + Tpacket.BLOCK_LEN, length);
    setInt(start() + Tpacket.BLOCK_PACKETS, packets);
    return header;
  }

  @Override
  boolean readable() {
    long block = (long) (active == 0 ? request.blocks() - 1 : active - 1) * request.blockSize();
    return status(block) != Tpacket.STATUS_KERNEL;
  }

  @Override
  long deadline() {
    boolean idle = packets == 0 && !frozen && lastActive == active;
    return idle ? Long.MAX_VALUE : expires;
  }

  /** {@code prb_retire_rx_blk_timer_expired()}, as often as it was due. */
  @Override
  boolean tick(long now) {
    closed = false;
    if (now - expires < 0) {
      return false;
    }
    if (lastActive == active) {
      if (frozen && !inUse()) {
        open(now);
        return false;
      }
      if (!frozen && packets > 0) {
        retire(Tpacket.STATUS_BLK_TMO);
        if (dispatch(now)) {
          return closed;
        }
      }
    }
    // Where nothing happened it would have come due again and again in the same rhythm.
    expires += ((now - expires) / period + 1) * period;
    lastActive = active;
    return closed;
  }

  @Override
  int takeFreezes() {
    int n = freezes;
    freezes = 0;
    return n;
  }

  private long start() {
    return (long) active * request.blockSize();
  }

  private int status(long block) {
    // Acquire: the program has read its block before it gave it back by this word.
    return (int) INT.getAcquire(memory, block + Tpacket.BLOCK_STATUS);
  }

  private boolean inUse() {
    return (status(start()) & Tpacket.STATUS_USER) != 0;
  }

  private void open(long now) {
    long block = start();
    packets = 0;
    length = (int) request.beforePackets();
    next = block + length;
    previous = next;
    setInt(block + Tpacket.BLOCK_VERSION, request.version());
    setInt(block + Tpacket.BLOCK_PRIV_OFFSET, Tpacket.BLOCK_BYTES);
    setInt(block + Tpacket.BLOCK_PACKETS, 0);
    setInt(block + Tpacket.BLOCK_FIRST, length);
    setInt(block + Tpacket.BLOCK_LEN, length);
    memory.set(ValueLayout.JAVA_LONG, block + Tpacket.BLOCK_SEQUENCE, sequence++);
    long wall = wallNanos.getAsLong();
    setInt(block + Tpacket.BLOCK_FIRST_SEC, (int) (wall / NANOS));
    setInt(block + Tpacket.BLOCK_FIRST_NSEC, (int) (wall % NANOS));
    frozen = false;
    expires = now + period;
    lastActive = active;
  }

  private void retire(int why) {
    long block = start();
    if (status(block) != Tpacket.STATUS_KERNEL) {
      return;
    }
    setInt(previous + Tpacket.H3_NEXT, 0);
    if (packets == 0) {
      long wall = wallNanos.getAsLong();
      previousSeconds = (int) (wall / NANOS);
      previousNanos = (int) (wall % NANOS);
    }
    setInt(block + Tpacket.BLOCK_LAST_SEC, previousSeconds);
    setInt(block + Tpacket.BLOCK_LAST_NSEC, previousNanos);
    int status = Tpacket.STATUS_USER | why | (losing() ? Tpacket.STATUS_LOSING : 0);
    // Release: the program that sees the status sees the block.
    INT.setRelease(memory, block + Tpacket.BLOCK_STATUS, status);
    active = active + 1 == request.blocks() ? 0 : active + 1;
    closed = true;
  }

  private boolean dispatch(long now) {
    if (inUse()) {
      frozen = true;
      freezes++;
      return false;
    }
    open(now);
    return true;
  }
}
