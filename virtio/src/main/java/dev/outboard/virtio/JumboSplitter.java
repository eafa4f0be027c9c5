// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.NET_HDR_F_NEEDS_CSUM;
import static dev.outboard.abi.Virtio.NET_HDR_GSO_ECN;
import static dev.outboard.abi.Virtio.NET_HDR_GSO_TCPV6;
import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static dev.outboard.abi.Virtio.NET_HEADER_CSUM_START;
import static dev.outboard.abi.Virtio.NET_HEADER_FLAGS;
import static dev.outboard.abi.Virtio.NET_HEADER_GSO_SIZE;
import static dev.outboard.abi.Virtio.NET_HEADER_GSO_TYPE;
import static dev.outboard.abi.Virtio.NET_HEADER_HEADERS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Makes several segments of up to 64 KiB of one above it, for IPv6 where that does not cross: what
 * is above has its length in a hop-by-hop option (RFC 2675), which Linux takes off when it checks a
 * segment of a process ({@code ipv6_gso_segment()}), and then its own receiving side finds the
 * length 0.
 *
 * <p>The data is not touched: a piece is headers of its own, and a part of the driver's buffers.
 * The headers are copied before they are checked. One thread; a piece is good until the next.
 */
final class JumboSplitter {
  private static final int ETHERNET = NET_HEADER_BYTES;
  private static final int ETHERNET_BYTES = 14;
  private static final int IP = ETHERNET + ETHERNET_BYTES;
  private static final int IP_BYTES = 40;
  private static final int OPTION = IP + IP_BYTES;
  private static final int OPTION_BYTES = 8;
  private static final int TCP = OPTION + OPTION_BYTES;
  private static final int TCP_MIN_BYTES = 20;
  private static final int TCP_MAX_BYTES = 60;

  private static final int ETH_P_IPV6 = 0x86dd;
  private static final int PROTOCOL_TCP = 6;

  /** Type, length of the data (RFC 2675, 2). */
  private static final int JUMBO = 0xc204;

  private static final int FIN_AND_PSH = 0x09;
  private static final int CWR = 0x80;

  private static final ValueLayout.OfChar BE16 =
      ValueLayout.JAVA_CHAR_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final ValueLayout.OfInt BE32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final ValueLayout.OfChar LE16 =
      ValueLayout.JAVA_CHAR_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final GuestMemory memory;
  private final MemorySegment original;
  private final MemorySegment headers;
  private final IoVectors piece;

  private int tcpBytes;
  private int gsoSize;
  private long sequence;
  private int flags;
  private long dataBytes;
  private long mostBytes;
  private long at;

  /**
   * @param memory what the frames lie in
   * @param parts of the longest frame
   */
  JumboSplitter(Arena arena, GuestMemory memory, int parts) {
    this.memory = memory;
    this.original = arena.allocate(TCP + TCP_MAX_BYTES, 8);
    this.headers = arena.allocate(TCP - OPTION_BYTES + TCP_MAX_BYTES, 8);
    this.piece = new IoVectors(arena, parts + 1);
  }

  /**
   * Takes a frame of {@code bytes} bytes, virtio's header first, if it is such a segment.
   *
   * @return whether it is, so that {@link #next} gives its pieces
   */
  boolean take(IoVectors frame, long bytes) {
    if (bytes < TCP + TCP_MIN_BYTES) {
      return false;
    }
    frame.copyOut(memory, original, Math.min(bytes, original.byteSize()));
    int type = original.get(JAVA_BYTE, NET_HEADER_GSO_TYPE) & 0xff & ~NET_HDR_GSO_ECN;
    if (type != NET_HDR_GSO_TCPV6
        || original.get(JAVA_BYTE, NET_HEADER_FLAGS) != NET_HDR_F_NEEDS_CSUM
        || original.get(LE16, NET_HEADER_CSUM_START) != TCP - ETHERNET
        || original.get(BE16, ETHERNET + 12) != ETH_P_IPV6
        || original.get(BE16, IP + 4) != 0
        || original.get(JAVA_BYTE, IP + 6) != 0
        || original.get(BE16, OPTION) != PROTOCOL_TCP << 8
        || original.get(BE16, OPTION + 2) != JUMBO) {
      return false;
    }
    tcpBytes = (original.get(JAVA_BYTE, TCP + 12) >> 4 & 0xf) * 4;
    gsoSize = original.get(LE16, NET_HEADER_GSO_SIZE);
    dataBytes = bytes - TCP - tcpBytes;
    // An interface takes less than 64 KiB, Ethernet's header included.
    int room = 65535 - ETHERNET_BYTES - IP_BYTES - tcpBytes;
    if (tcpBytes < TCP_MIN_BYTES || gsoSize == 0 || gsoSize > room || dataBytes <= 0) {
      return false;
    }
    int most = room - room % gsoSize;
    mostBytes = most;
    sequence = Integer.toUnsignedLong(original.get(BE32, TCP + 4));
    flags = original.get(JAVA_BYTE, TCP + 13) & 0xff;
    MemorySegment.copy(original, 0, headers, 0, OPTION);
    MemorySegment.copy(original, TCP, headers, OPTION, tcpBytes);
    headers.set(LE16, NET_HEADER_CSUM_START, (char) (OPTION - ETHERNET));
    headers.set(LE16, NET_HEADER_HEADERS, (char) (OPTION - ETHERNET + tcpBytes));
    headers.set(JAVA_BYTE, IP + 6, (byte) PROTOCOL_TCP);
    at = 0;
    return true;
  }

  /** Whether {@link #next} has another piece. */
  boolean hasNext() {
    return at < dataBytes;
  }

  /**
   * The next piece of the frame that was taken.
   *
   * @param frame the same again
   */
  IoVectors next(IoVectors frame) {
    long bytes = Math.min(mostBytes, dataBytes - at);
    boolean last = at + bytes == dataBytes;
    int payload = (int) bytes + tcpBytes;
    if (bytes <= gsoSize) {
      // Linux refuses a segment that is one packet.
      headers.set(JAVA_BYTE, NET_HEADER_GSO_TYPE, (byte) 0);
      headers.set(LE16, NET_HEADER_GSO_SIZE, (char) 0);
    }
    headers.set(BE16, IP + 4, (char) payload);
    headers.set(BE32, OPTION + 4, (int) (sequence + at));
    headers.set(
        JAVA_BYTE, OPTION + 13, (byte) (flags & ~(last ? 0 : FIN_AND_PSH) & ~(at == 0 ? 0 : CWR)));
    headers.set(BE16, OPTION + 16, pseudoHeader(payload));
    piece.clear();
    piece.add(headers.address(), OPTION + tcpBytes);
    piece.addPart(frame, (long) TCP + tcpBytes + at, bytes);
    at += bytes;
    return piece;
  }

  /** Bytes of the piece that {@link #next} gave last, virtio's header included. */
  long bytes() {
    return piece.bytes();
  }

  /** What an unfinished checksum begins with: RFC 8200, 8.1, not complemented. */
  private char pseudoHeader(int payload) {
    long sum = (long) payload + PROTOCOL_TCP;
    for (int i = IP + 8; i < IP + IP_BYTES; i += 2) {
      sum += headers.get(BE16, i);
    }
    sum = (sum & 0xffff) + (sum >>> 16);
    return (char) (sum + (sum >>> 16));
  }
}
