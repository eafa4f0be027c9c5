// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.CallSlot;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ReceivedMessage;
import java.lang.foreign.MemorySegment;

/**
 * Fills one packet ring: takes packets out of the device's socket and puts them into memory that
 * the program has mapped.
 *
 * <p>It owns the ring's memory and descriptor as well, which are given back when it ends.
 */
final class RingFeed extends Feed {
  /** The bytes of a packet that are taken at most: all that a call's data have room for. */
  private static final long MOST_BYTES = Integer.MAX_VALUE;

  private final PacketRing ring;
  private final RingPacket packet;
  private final int memory;
  private final Runnable ended;

  // Guarded by this.
  private int error;

  /** What PACKET_AUXDATA is for the program; for the device it is on. */
  private int auxiliary;

  /**
   * @param slot for this object alone
   * @param memory a descriptor of the ring's memory
   * @param ended called on the thread when all is given back
   */
  RingFeed(
      Hook.Services hook,
      OpenFile file,
      Placeholder placeholder,
      CallSlot slot,
      PacketRing ring,
      RingPacket packet,
      int memory,
      int auxiliary,
      Runnable ended) {
    super(hook, file, placeholder, slot);
    this.ring = ring;
    this.packet = packet;
    this.memory = memory;
    this.auxiliary = auxiliary;
    this.ended = ended;
  }

  /** What the socket holds now is thrown away, as the kernel does when a ring is set up. */
  @Override
  void start() {
    drain();
    super.start();
  }

  RingRequest request() {
    return ring.request;
  }

  /** The descriptor of the ring's memory, as long as the feed has not ended. */
  int memory() {
    return memory;
  }

  synchronized int auxiliary() {
    return auxiliary;
  }

  synchronized void auxiliary(int value) {
    auxiliary = value;
  }

  /** As {@link PacketRing#takeDrops}. */
  synchronized int takeDrops() {
    return ring.takeDrops();
  }

  /** As {@link PacketRing#takeFreezes}. */
  synchronized int takeFreezes() {
    return ring.takeFreezes();
  }

  /** The socket's error that came in the place of packets, once; 0 for none. */
  synchronized int takeError() {
    int e = error;
    error = 0;
    return e;
  }

  @Override
  void receive(Call c, boolean waits) {
    c.start(PseudoCall.RECEIVE);
    c.args[0] = file().handle();
    c.args[1] = MOST_BYTES;
    c.args[2] = waits ? 1 : 0;
    c.carried = c.data.byteSize();
    c.receives = true;
  }

  @Override
  boolean put(MemorySegment data, long bytes) {
    long end = bytes - ReceivedMessage.PAYLOAD;
    long now = System.nanoTime();
    boolean more = false;
    for (long at = 0; at <= end; ) {
      at = packet.read(data, at, MOST_BYTES, ring.request.prefix());
      more |= ring.put(packet, now);
    }
    return more;
  }

  @Override
  boolean holds() {
    return error != 0 || ring.readable();
  }

  /** An error is the socket's own, such as ENETDOWN of its interface; it goes on all the same. */
  @Override
  boolean failed(int errno) {
    error = errno;
    return true;
  }

  @Override
  long deadline() {
    return ring.deadline();
  }

  @Override
  boolean tick(long now) {
    return ring.tick(now);
  }

  @Override
  void ended() {
    Linux.munmap(ring.memory.address(), ring.memory.byteSize());
    Linux.close(memory);
    ended.run();
  }
}
