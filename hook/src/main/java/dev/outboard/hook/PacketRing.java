// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;

/**
 * A receive ring in memory that the program has mapped: takes packets as the kernel's {@code
 * tpacket_rcv()} would.
 *
 * <p>Shared with the program are the status words: a frame or block is the ring's while its status
 * is 0, and the program's otherwise; who gives it away does so by a release store, which pairs with
 * the other's acquire load. All else that the program could write there is never read.
 *
 * <p>Not thread-safe: the owner's lock orders all calls. Times are of {@link System#nanoTime}.
 * Source: {@code net/packet/af_packet.c}.
 */
abstract sealed class PacketRing permits FrameRing, BlockRing {
  static final VarHandle INT = ValueLayout.JAVA_INT.varHandle();
  static final VarHandle LONG = ValueLayout.JAVA_LONG.varHandle();

  /** A header is a number of 16 bits away from its packet. */
  private static final int MOST_OFFSET = 0xffff;

  final MemorySegment memory;
  final RingRequest request;

  /** Packets for which there was no room since somebody asked. */
  private int drops;

  // Of the packet that is being placed.
  int macOffset;
  int netOffset;

  PacketRing(MemorySegment memory, RingRequest request) {
    this.memory = memory;
    this.request = request;
  }

  /**
   * Puts a packet into the ring, or drops it for lack of room.
   *
   * @return whether something is the program's now that was not before
   */
  abstract boolean put(RingPacket p, long now);

  /** Whether a poll finds the socket readable: what was given to the program last it has still. */
  abstract boolean readable();

  /** When {@link #tick} is due; {@link Long#MAX_VALUE} for never, as long as nothing is put. */
  long deadline() {
    return Long.MAX_VALUE;
  }

  /**
   * Does what is due by now.
   *
   * @return as {@link #put}
   */
  boolean tick(long now) {
    return false;
  }

  /** How often the ring stood still for lack of a block since the last time. */
  int takeFreezes() {
    return 0;
  }

  /** The packets dropped since the last time. */
  final int takeDrops() {
    int n = drops;
    drops = 0;
    return n;
  }

  final boolean drop() {
    drops++;
    return false;
  }

  final boolean losing() {
    return drops != 0;
  }

  /** Finds out where a packet lies behind its header; false if it is too far to be told. */
  final boolean place(RingPacket p) {
    netOffset = request.netOffset(p.linkBytes);
    macOffset = request.datagrams() ? netOffset : netOffset - p.linkBytes;
    return netOffset <= MOST_OFFSET && netOffset >= 0;
  }

  final void setInt(long at, int value) {
    memory.set(ValueLayout.JAVA_INT, at, value);
  }

  final void setShort(long at, int value) {
    memory.set(ValueLayout.JAVA_SHORT, at, (short) value);
  }
}
