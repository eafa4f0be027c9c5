// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JumboSplitterTest {
  private static final int MSS = 1428;
  private static final int TCP_BYTES = 32;
  private static final int HEADERS = 12 + 14 + 40 + 8 + TCP_BYTES;
  private static final int SEQUENCE = 0xffff_8000;
  private static final int DATA = 200_000;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment ram = arena.allocate(1 << 20, 4096);
  private final GuestMemory guest = new GuestMemory(ram, 0);
  private final JumboSplitter splitter = new JumboSplitter(arena, guest, 64);

  @AfterEach
  void free() {
    arena.close();
  }

  /** A segment of IPv6 above 64 KiB, by RFC 2675, behind virtio's header. */
  private static byte[] segment() {
    return segment(DATA);
  }

  private static byte[] segment(int data) {
    byte[] frame = new byte[HEADERS + data];
    new Random(1).nextBytes(frame);
    ByteBuffer b = ByteBuffer.wrap(frame);
    b.order(ByteOrder.LITTLE_ENDIAN);
    b.put((byte) 1).put((byte) 0x84).putShort((short) (HEADERS - 12));
    b.putShort((short) MSS).putShort((short) 62).putShort((short) 16).putShort((short) 0);
    b.order(ByteOrder.BIG_ENDIAN).position(12 + 12).putShort((short) 0x86dd);
    b.putInt(0x6000_0000).putShort((short) 0).put((byte) 0).put((byte) 64);
    b.position(12 + 14 + 40).put((byte) 6).put((byte) 0).put((byte) 0xc2).put((byte) 4);
    b.putInt(8 + TCP_BYTES + data);
    // Ports, sequence, acknowledgement, 8 words, CWR PSH ACK FIN.
    b.putInt(0x1234_0050).putInt(SEQUENCE).putInt(77).put((byte) 0x80).put((byte) 0x99);
    return frame;
  }

  /** Puts a frame into buffers of odd sizes. */
  private IoVectors scattered(byte[] frame) {
    IoVectors vectors = new IoVectors(arena, 64);
    int at = 0;
    for (int n = 7; at < frame.length; n = 33_333) {
      int part = Math.min(n, frame.length - at);
      MemorySegment.copy(frame, at, ram, ValueLayout.JAVA_BYTE, at + 100L, part);
      vectors.add(ram.address() + at + 100, part);
      at += part;
    }
    return vectors;
  }

  private static byte[] gathered(IoVectors vectors) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (int i = 0; i < vectors.count(); i++) {
      all.writeBytes(
          MemorySegment.ofAddress(vectors.base(i))
              .reinterpret(vectors.length(i))
              .toArray(ValueLayout.JAVA_BYTE));
    }
    return all.toByteArray();
  }

  @Test
  void makesSegmentsThatSayTheSame() {
    byte[] frame = segment();
    IoVectors vectors = scattered(frame);
    assertThat(splitter.take(vectors, frame.length)).isTrue();
    List<byte[]> pieces = new ArrayList<>();
    while (splitter.hasNext()) {
      byte[] piece = gathered(splitter.next(vectors));
      assertThat((long) piece.length).isEqualTo(splitter.bytes());
      pieces.add(piece);
    }
    assertThat(pieces).hasSize(4);
    int at = 0;
    for (int i = 0; i < pieces.size(); i++) {
      byte[] piece = pieces.get(i);
      boolean last = i == pieces.size() - 1;
      ByteBuffer b = ByteBuffer.wrap(piece);
      int data = piece.length - (HEADERS - 8);
      assertThat(piece.length - 12).as("what an interface takes").isLessThan(65536);
      assertThat(last || (data % MSS == 0 && data > 65535 - 2 * MSS)).isTrue();
      b.order(ByteOrder.LITTLE_ENDIAN);
      assertThat(b.get(1)).isEqualTo((byte) 0x84);
      assertThat(b.getShort(4)).isEqualTo((short) MSS);
      assertThat(b.getShort(6)).isEqualTo((short) 54);
      b.order(ByteOrder.BIG_ENDIAN);
      assertThat(Short.toUnsignedInt(b.getShort(12 + 14 + 4))).isEqualTo(TCP_BYTES + data);
      assertThat(b.get(12 + 14 + 6)).isEqualTo((byte) 6);
      int tcp = 12 + 14 + 40;
      assertThat(b.getInt(tcp)).isEqualTo(0x1234_0050);
      assertThat(b.getInt(tcp + 4)).isEqualTo(SEQUENCE + at);
      assertThat(b.get(tcp + 13)).isEqualTo((byte) (i == 0 ? 0x90 : last ? 0x19 : 0x10));
      assertThat(b.getShort(tcp + 16)).isEqualTo(pseudoHeader(piece, TCP_BYTES + data));
      assertThat(Arrays.copyOfRange(piece, tcp + 18, tcp + TCP_BYTES))
          .isEqualTo(Arrays.copyOfRange(frame, tcp + 8 + 18, HEADERS));
      assertThat(
              Arrays.equals(
                  piece, HEADERS - 8, piece.length, frame, HEADERS + at, HEADERS + at + data))
          .isTrue();
      at += data;
    }
    assertThat(at).isEqualTo(DATA);
  }

  /** What is left for the last piece may be one packet: that is no segment. */
  @Test
  void endsWithAPacket() {
    int whole = (65535 - 14 - 40 - TCP_BYTES) / MSS * MSS;
    for (int rest : new int[] {1, MSS, MSS + 1}) {
      byte[] frame = segment(whole + rest);
      IoVectors vectors = scattered(frame);
      assertThat(splitter.take(vectors, frame.length)).isTrue();
      assertThat(gathered(splitter.next(vectors))[1]).isEqualTo((byte) 0x84);
      byte[] last = gathered(splitter.next(vectors));
      assertThat(splitter.hasNext()).isFalse();
      assertThat(last).hasSize(HEADERS - 8 + rest);
      assertThat(last[1]).isEqualTo((byte) (rest > MSS ? 0x84 : 0));
      assertThat(last[4] != 0).isEqualTo(rest > MSS);
    }
  }

  /** As RFC 8200, 8.1 has it: a pseudo-header of 40 bytes, in one's complement. */
  private static short pseudoHeader(byte[] piece, int length) {
    ByteBuffer pseudo = ByteBuffer.allocate(40);
    pseudo.put(piece, 12 + 14 + 8, 32).putInt(length).putInt(6).flip();
    int sum = 0;
    while (pseudo.hasRemaining()) {
      sum += Short.toUnsignedInt(pseudo.getShort());
      sum = (sum & 0xffff) + (sum >>> 16);
    }
    return (short) sum;
  }

  /** What is no such segment, or not as it has to be, is left as it is. */
  @ParameterizedTest
  @CsvSource({
    "0, 0", // the checksum is finished
    "1, 1", // IPv4
    "1, 5", // UDP
    "4, 0", // pieces of no size, with the next byte
    "6, 54", // where the checksum begins
    "24, 8", // no IPv6
    "31, 1", // a length in IP's header
    "32, 6", // no option
    "66, 17", // not TCP
    "67, 1", // a longer option
    "68, 5", // another option
    "86, 64", // a short TCP header
  })
  void leavesOthersAlone(int offset, int value) {
    byte[] frame = segment();
    frame[offset] = (byte) value;
    if (offset == 4) {
      frame[5] = 0;
    }
    assertThat(splitter.take(scattered(frame), frame.length)).isFalse();
  }

  @Test
  void leavesShortOnesAlone() {
    byte[] frame = segment();
    for (int bytes : new int[] {0, 12, 93, HEADERS}) {
      assertThat(splitter.take(scattered(Arrays.copyOf(frame, bytes)), bytes)).isFalse();
    }
  }
}
