// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Tpacket;
import java.lang.foreign.MemorySegment;

/** A ring of frames of one size, each for one packet: TPACKET_V1 and V2. */
final class FrameRing extends PacketRing {
  private static final int VLAN = Tpacket.STATUS_VLAN_VALID | Tpacket.STATUS_VLAN_TPID_VALID;

  private int head;

  FrameRing(MemorySegment memory, RingRequest request) {
    super(memory, request);
  }

  @Override
  boolean put(RingPacket p, long now) {
    long frame = frame(head);
    if (!place(p) || status(frame) != Tpacket.STATUS_KERNEL) {
      return drop();
    }
    int snap = p.snapLength;
    boolean prefixed = request.prefix() > 0;
    if (macOffset + snap > request.frameSize()) {
      snap = Math.max(0, request.frameSize() - macOffset);
      prefixed &= request.frameSize() >= macOffset;
    }
    int status = p.status | (losing() ? Tpacket.STATUS_LOSING : 0);
    if (prefixed) {
      p.copyPrefixTo(memory, frame + macOffset);
    }
    snap = p.copyTo(memory, frame + macOffset, snap);
    if (request.version() == Tpacket.V1) {
      setInt(frame + Tpacket.H1_LEN, p.length);
      setInt(frame + Tpacket.H1_SNAPLEN, snap);
      setShort(frame + Tpacket.H1_MAC, macOffset);
      setShort(frame + Tpacket.H1_NET, netOffset);
      setInt(frame + Tpacket.H1_SEC, p.seconds);
      setInt(frame + Tpacket.H1_USEC, p.nanos / 1000);
    } else {
      setInt(frame + Tpacket.H2_LEN, p.length);
      setInt(frame + Tpacket.H2_SNAPLEN, snap);
      setShort(frame + Tpacket.H2_MAC, macOffset);
      setShort(frame + Tpacket.H2_NET, netOffset);
      setInt(frame + Tpacket.H2_SEC, p.seconds);
      setInt(frame + Tpacket.H2_NSEC, p.nanos);
      setShort(frame + Tpacket.H2_VLAN_TCI, p.vlanTci);
      setShort(frame + Tpacket.H2_VLAN_TPID, p.vlanTpid);
      setInt(frame + Tpacket.H2_PADDING, 0);
    }
    p.copyAddressTo(memory, frame + request.addressOffset());
    give(frame, status);
    head = head + 1 == request.frames() ? 0 : head + 1;
    return true;
  }

  @Override
  boolean readable() {
    return status(frame(head == 0 ? request.frames() - 1 : head - 1)) != Tpacket.STATUS_KERNEL;
  }

  private long frame(int index) {
    int perBlock = request.framesPerBlock();
    return (long) (index / perBlock) * request.blockSize()
        + (long) (index % perBlock) * request.frameSize();
  }

  private long status(long frame) {
    // Acquire: the program has read its frame before it gave it back by this word.
    return request.version() == Tpacket.V1
        ? (long) LONG.getAcquire(memory, frame + Tpacket.H1_STATUS)
        : (int) INT.getAcquire(memory, frame + Tpacket.H2_STATUS);
  }

  /** Release: the program that sees the status sees the frame. */
  private void give(long frame, int status) {
    if (request.version() == Tpacket.V1) {
      LONG.setRelease(memory, frame + Tpacket.H1_STATUS, (long) (status & ~VLAN));
    } else {
      INT.setRelease(memory, frame + Tpacket.H2_STATUS, status);
    }
  }
}
