// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Tpacket;
import dev.outboard.syscalls.ReceivedMessage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

/** Rings without a program and without a device: what is where, and when it is whose. */
class PacketRingTest {
  private static final long MILLIS = 1_000_000;
  private static final long WALL = 1_700_000_000_123_456_789L;
  private static final int LINK = 14;

  private final Arena arena = Arena.ofAuto();
  private final MemorySegment message = arena.allocate(8192, 8);
  private final RingPacket packet = new RingPacket(() -> WALL);

  private static RingRequest request(int version, int blockSize, int blocks, int frameSize) {
    int frames = frameSize == 0 ? 0 : blockSize / frameSize * blocks;
    return new RingRequest(version, blockSize, blocks, frameSize, frames, 10, 0, 0, false, 0);
  }

  private MemorySegment memory(RingRequest r) {
    return arena.allocate(r.bytes(), 4096);
  }

  /** A packet as the device tells of it: {@code bytes} bytes, the first of them {@code first}. */
  private RingPacket packet(int bytes, int first, int status) {
    message.fill((byte) 0);
    message.set(JAVA_INT, ReceivedMessage.LENGTH, bytes);
    message.set(JAVA_INT, ReceivedMessage.NAME_LENGTH, 20);
    message.set(JAVA_SHORT, ReceivedMessage.NAME, (short) Socket.AF_PACKET);
    message.set(JAVA_INT, ReceivedMessage.NAME + PacketSocket.ADDRESS_INDEX, 7);
    long c = ReceivedMessage.CONTROL;
    c = control(c, Socket.SOL_SOCKET, Socket.SO_TIMESTAMPNS, 16);
    message.set(JAVA_LONG, c - 16, 1234);
    message.set(JAVA_LONG, c - 8, 5678);
    long aux = c + MessageHeader.CMSG_BYTES;
    c = control(c, PacketSocket.SOL_PACKET, Tpacket.AUXDATA, Tpacket.AUX_BYTES);
    message.set(JAVA_INT, aux + Tpacket.AUX_STATUS, Tpacket.STATUS_USER | status);
    message.set(JAVA_INT, aux + Tpacket.AUX_LEN, bytes + 5);
    message.set(JAVA_INT, aux + Tpacket.AUX_SNAPLEN, bytes);
    message.set(JAVA_SHORT, aux + Tpacket.AUX_NET, (short) LINK);
    message.set(JAVA_SHORT, aux + Tpacket.AUX_VLAN_TCI, (short) 9);
    message.set(JAVA_SHORT, aux + Tpacket.AUX_VLAN_TPID, (short) 0x8100);
    message.set(JAVA_INT, ReceivedMessage.CONTROL_LENGTH, (int) (c - ReceivedMessage.CONTROL));
    for (int i = 0; i < bytes; i++) {
      message.set(JAVA_BYTE, ReceivedMessage.PAYLOAD + i, (byte) (first + i));
    }
    assertThat(packet.read(message, 0, 1 << 20, 0)).isEqualTo(ReceivedMessage.bytes(bytes));
    return packet;
  }

  private long control(long at, int level, int type, int bytes) {
    message.set(JAVA_LONG, at, MessageHeader.CMSG_BYTES + bytes);
    message.set(JAVA_INT, at + MessageHeader.CMSG_LEVEL, level);
    message.set(JAVA_INT, at + MessageHeader.CMSG_TYPE, type);
    return at + (MessageHeader.CMSG_BYTES + bytes + 7 & -8);
  }

  @Test
  void requestsAreCheckedAsByTheKernel() {
    assertThat(request(Tpacket.V2, 4096, 4, 2048).check()).isZero();
    assertThat(request(Tpacket.V2, 4096, 4, 64).check()).isZero();
    for (RingRequest bad :
        new RingRequest[] {
          request(Tpacket.V2, 4095, 4, 2048), // not a page
          request(Tpacket.V2, -4096, 4, 2048),
          request(Tpacket.V2, 4096, 4, 48), // shorter than a header
          request(Tpacket.V2, 4096, 4, 1000), // not aligned
          request(Tpacket.V2, 4096, 4, 8192), // no frame in a block
          request(Tpacket.V2, 4096, 4, 0),
          new RingRequest(Tpacket.V2, 4096, 4, 2048, 9, 0, 0, 0, false, 0), // another number
          new RingRequest(Tpacket.V2, 4096, 4, 64, 256, 0, 0, 16, false, 0), // no room for reserve
          new RingRequest(Tpacket.V2, 4096, 0, 0, 1, 0, 0, 0, false, 0),
          new RingRequest(Tpacket.V3, 4096, 4, 2048, 8, 0, 3985, 0, false, 0), // private
          new RingRequest(Tpacket.V2, 1 << 30, 1 << 24, 16 << 10, 0, 0, 0, 0, false, 0), // wraps
        }) {
      assertThat(bad.check()).as("%s", bad).isEqualTo(-Errno.EINVAL);
    }
    assertThat(new RingRequest(Tpacket.V2, 0, 0, 0, 0, 0, 0, 0, false, 0).check()).isZero();
    assertThat(new RingRequest(Tpacket.V3, 4096, 4, 2048, 8, 0, 3976, 0, false, 0).check())
        .isZero();
  }

  @Test
  void framesOfVersion2() {
    RingRequest r = request(Tpacket.V2, 4096, 2, 2048);
    MemorySegment m = memory(r);
    PacketRing ring = new FrameRing(m, r);
    assertThat(ring.readable()).isFalse();
    assertThat(ring.put(packet(100, 1, Tpacket.STATUS_VLAN_VALID), 0)).isTrue();
    assertThat(ring.readable()).isTrue();
    int status = Tpacket.STATUS_USER | Tpacket.STATUS_VLAN_VALID | Tpacket.STATUS_TS_SOFTWARE;
    assertThat(m.get(JAVA_INT, Tpacket.H2_STATUS)).isEqualTo(status);
    assertThat(m.get(JAVA_INT, Tpacket.H2_LEN)).isEqualTo(105);
    assertThat(m.get(JAVA_INT, Tpacket.H2_SNAPLEN)).isEqualTo(100);
    assertThat(m.get(JAVA_SHORT, Tpacket.H2_MAC)).isEqualTo((short) 66);
    assertThat(m.get(JAVA_SHORT, Tpacket.H2_NET)).isEqualTo((short) 80);
    assertThat(m.get(JAVA_INT, Tpacket.H2_SEC)).isEqualTo(1234);
    assertThat(m.get(JAVA_INT, Tpacket.H2_NSEC)).isEqualTo(5678);
    assertThat(m.get(JAVA_SHORT, Tpacket.H2_VLAN_TCI)).isEqualTo((short) 9);
    assertThat(m.get(JAVA_INT, 32 + PacketSocket.ADDRESS_INDEX)).isEqualTo(7);
    assertThat(m.get(JAVA_BYTE, 66)).isEqualTo((byte) 1);
    assertThat(m.get(JAVA_BYTE, 165)).isEqualTo((byte) 100);

    // A packet that is longer than a frame is cut.
    assertThat(ring.put(packet(4000, 0, 0), 0)).isTrue();
    assertThat(m.get(JAVA_INT, 2048 + Tpacket.H2_SNAPLEN)).isEqualTo(2048 - 66);
    assertThat(m.get(JAVA_INT, 2048 + Tpacket.H2_LEN)).isEqualTo(4005);
    assertThat(ring.put(packet(60, 0, 0), 0)).isTrue();
    assertThat(ring.put(packet(60, 0, 0), 0)).isTrue();

    // All four are the program's: two are lost, and the next says so.
    assertThat(ring.put(packet(60, 0, 0), 0)).isFalse();
    assertThat(ring.put(packet(60, 0, 0), 0)).isFalse();
    m.set(JAVA_INT, Tpacket.H2_STATUS, Tpacket.STATUS_KERNEL);
    assertThat(ring.put(packet(60, 0, 0), 0)).isTrue();
    assertThat(m.get(JAVA_INT, 0) & Tpacket.STATUS_LOSING).isNotZero();
    assertThat(ring.takeDrops()).isEqualTo(2);
    assertThat(ring.takeDrops()).isZero();
    m.set(JAVA_INT, 0, Tpacket.STATUS_KERNEL);
    assertThat(ring.readable()).isFalse();
  }

  @Test
  void framesOfVersion1() {
    RingRequest r = request(Tpacket.V1, 4096, 1, 1024);
    MemorySegment m = memory(r);
    PacketRing ring = new FrameRing(m, r);
    assertThat(ring.put(packet(100, 1, Tpacket.STATUS_VLAN_VALID), 0)).isTrue();
    assertThat(m.get(JAVA_LONG, 0))
        .isEqualTo(Tpacket.STATUS_USER | Tpacket.STATUS_TS_SOFTWARE); // knows nothing of VLANs
    assertThat(m.get(JAVA_INT, Tpacket.H1_LEN)).isEqualTo(105);
    assertThat(m.get(JAVA_SHORT, Tpacket.H1_MAC)).isEqualTo((short) 66);
    assertThat(m.get(JAVA_INT, Tpacket.H1_USEC)).isEqualTo(5);
    assertThat(m.get(JAVA_BYTE, 66)).isEqualTo((byte) 1);
  }

  @Test
  void blocksCloseWhenFullOrWhenTheirTimeIsOver() {
    RingRequest r = request(Tpacket.V3, 4096, 3, 2048);
    MemorySegment m = memory(r);
    PacketRing ring = new BlockRing(m, r, () -> WALL, 0);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_VERSION)).isEqualTo(Tpacket.V3);
    assertThat(m.get(JAVA_LONG, Tpacket.BLOCK_SEQUENCE)).isEqualTo(1);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_FIRST)).isEqualTo(48);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_FIRST_NSEC)).isEqualTo(123_456_789);
    // An empty block has no end, and its time runs on in a rhythm.
    assertThat(ring.deadline()).isEqualTo(Long.MAX_VALUE);
    assertThat(ring.put(packet(100, 1, 0), 25 * MILLIS)).isFalse();
    assertThat(ring.readable()).isFalse();
    assertThat(ring.deadline()).isEqualTo(30 * MILLIS);
    assertThat(ring.put(packet(200, 1, Tpacket.STATUS_VLAN_VALID), 26 * MILLIS)).isFalse();
    assertThat(ring.tick(29 * MILLIS)).isFalse();
    assertThat(ring.tick(30 * MILLIS)).isTrue();
    assertThat(ring.readable()).isTrue();
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_STATUS))
        .isEqualTo(Tpacket.STATUS_USER | Tpacket.STATUS_BLK_TMO);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_PACKETS)).isEqualTo(2);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_LAST_SEC)).isEqualTo(1234);
    // The first header: 68 bytes of header and address, the link header before an aligned packet.
    int first = 48;
    assertThat(m.get(JAVA_SHORT, first + Tpacket.H3_MAC)).isEqualTo((short) 82);
    assertThat(m.get(JAVA_SHORT, first + Tpacket.H3_NET)).isEqualTo((short) 96);
    assertThat(m.get(JAVA_INT, first + Tpacket.H3_NEXT)).isEqualTo(184);
    assertThat(m.get(JAVA_INT, first + Tpacket.H3_VLAN_TCI)).isZero();
    assertThat(m.get(JAVA_INT, first + 48 + PacketSocket.ADDRESS_INDEX)).isEqualTo(7);
    int second = first + 184;
    assertThat(m.get(JAVA_INT, second + Tpacket.H3_NEXT)).isZero();
    assertThat(m.get(JAVA_INT, second + Tpacket.H3_SNAPLEN)).isEqualTo(200);
    assertThat(m.get(JAVA_INT, second + Tpacket.H3_VLAN_TCI)).isEqualTo(9);
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_LEN)).isEqualTo(48 + 184 + 288);
    assertThat(m.get(JAVA_BYTE, second + 82)).isEqualTo((byte) 1);

    // The second block fills up: 3 times 1,184 bytes do not leave room for a fourth.
    for (int i = 0; i < 3; i++) {
      assertThat(ring.put(packet(1100, i, 0), 31 * MILLIS)).isFalse();
    }
    assertThat(ring.put(packet(1100, 3, 0), 31 * MILLIS)).isTrue();
    assertThat(m.get(JAVA_INT, 4096 + Tpacket.BLOCK_STATUS)).isEqualTo(Tpacket.STATUS_USER);
    assertThat(m.get(JAVA_LONG, 8192 + Tpacket.BLOCK_SEQUENCE)).isEqualTo(3);
  }

  @Test
  void aRingFreezesUntilItsNextBlockIsGivenBack() {
    RingRequest r = request(Tpacket.V3, 4096, 2, 2048);
    MemorySegment m = memory(r);
    PacketRing ring = new BlockRing(m, r, () -> WALL, 0);
    for (int i = 0; i < 6; i++) {
      ring.put(packet(1100, i, 0), 0);
    }
    // Both blocks are full; the seventh closes the second, and finds the first in use.
    assertThat(ring.put(packet(1100, 6, 0), 0)).isTrue();
    assertThat(ring.put(packet(1100, 7, 0), 0)).isFalse();
    assertThat(ring.takeFreezes()).isEqualTo(1);
    assertThat(ring.readable()).isTrue();
    assertThat(ring.deadline()).isEqualTo(10 * MILLIS);
    assertThat(ring.tick(10 * MILLIS)).isFalse();
    m.set(JAVA_INT, Tpacket.BLOCK_STATUS, Tpacket.STATUS_KERNEL);
    assertThat(ring.put(packet(100, 8, 0), 11 * MILLIS)).isFalse();
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_PACKETS)).isEqualTo(1);
    assertThat(ring.readable()).isTrue(); // the second block is the program's still
    m.set(JAVA_INT, 4096 + Tpacket.BLOCK_STATUS, Tpacket.STATUS_KERNEL);
    assertThat(ring.readable()).isFalse();
    assertThat(ring.tick(30 * MILLIS)).isTrue();
    assertThat(m.get(JAVA_INT, Tpacket.BLOCK_STATUS))
        .isEqualTo(Tpacket.STATUS_USER | Tpacket.STATUS_BLK_TMO | Tpacket.STATUS_LOSING);
    assertThat(ring.takeDrops()).isEqualTo(2);
  }

  @Test
  void whatTheDeviceSaysCannotReachOutsideOfTheRing() {
    java.util.Random random = new java.util.Random(1);
    RingRequest[] requests = {
      request(Tpacket.V1, 4096, 2, 128),
      request(Tpacket.V2, 4096, 2, 128),
      request(Tpacket.V3, 4096, 3, 1024),
      new RingRequest(Tpacket.V3, 4096, 3, 1024, 12, 1, 3000, 100, false, 10)
    };
    for (RingRequest r : requests) {
      MemorySegment m = memory(r);
      PacketRing ring =
          r.version() == Tpacket.V3 ? new BlockRing(m, r, () -> WALL, 0) : new FrameRing(m, r);
      for (int i = 0; i < 20_000; i++) {
        for (long at = 0; at < ReceivedMessage.PAYLOAD; at += 4) {
          message.set(JAVA_INT, at, random.nextInt(4) == 0 ? random.nextInt() : random.nextInt(99));
        }
        message.set(
            JAVA_LONG, ReceivedMessage.CONTROL, MessageHeader.CMSG_BYTES + Tpacket.AUX_BYTES);
        message.set(
            JAVA_INT, ReceivedMessage.CONTROL + MessageHeader.CMSG_LEVEL, PacketSocket.SOL_PACKET);
        message.set(JAVA_INT, ReceivedMessage.CONTROL + MessageHeader.CMSG_TYPE, Tpacket.AUXDATA);
        packet.read(message, 0, 1 << 20, r.prefix());
        ring.put(packet, i * MILLIS);
        if (random.nextInt(3) == 0) {
          m.set(JAVA_INT, 4L * random.nextInt((int) (r.bytes() / 4)), random.nextInt());
        }
        if (random.nextInt(10) == 0) {
          m.fill((byte) 0);
        }
      }
    }
  }
}
