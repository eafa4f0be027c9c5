// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Tpacket;
import dev.outboard.syscalls.ReceivedMessage;
import java.lang.foreign.MemorySegment;
import java.util.function.LongSupplier;

/**
 * A packet as a packet socket's {@code recvmsg} tells of it: what {@code PACKET_AUXDATA}, a
 * timestamp and the sender's address say, and where its bytes are.
 *
 * <p>Reused for packet after packet by one thread. What is read comes from the device: each number
 * is read once, and lengths are cut to what is there.
 */
final class RingPacket {
  /** The longest address that a ring has room for. */
  private static final int MOST_ADDRESS_BYTES = ReceivedMessage.NAME_BYTES;

  private static final long NANOS = 1_000_000_000;

  private final LongSupplier wallNanos;
  private final byte[] address = new byte[MOST_ADDRESS_BYTES];

  private MemorySegment source = MemorySegment.NULL;
  private long at;
  private long available;

  /** Its length on the wire. */
  int length;

  /** How many bytes of it the socket's filter let through. */
  int snapLength;

  /** {@code TP_STATUS_} bits. */
  int status;

  int linkBytes;
  short vlanTci;
  short vlanTpid;
  int seconds;
  int nanos;

  private int addressBytes;
  private int prefix;

  /**
   * @param wallNanos the time since 1970, in nanoseconds, for packets that come without
   */
  RingPacket(LongSupplier wallNanos) {
    this.wallNanos = wallNanos;
  }

  /**
   * Reads a message.
   *
   * @param data the call's data
   * @param start where in it the message starts
   * @param most how many bytes of it were asked for
   * @param prefixBytes how long the header before the packet is, 0 for none
   * @return where the next message starts
   */
  long read(MemorySegment data, long start, long most, int prefixBytes) {
    long room = data.byteSize() - start;
    int received = Math.max(0, data.get(JAVA_INT, start + ReceivedMessage.LENGTH));
    int nameBytes = data.get(JAVA_INT, start + ReceivedMessage.NAME_LENGTH);
    int controlBytes = data.get(JAVA_INT, start + ReceivedMessage.CONTROL_LENGTH);
    long payload = ReceivedMessage.payloadBytes(received, most, room);
    source = data;
    at = start + ReceivedMessage.PAYLOAD;
    available = payload;
    prefix = (int) Math.min(prefixBytes, payload);
    addressBytes = Math.clamp(nameBytes, 0, MOST_ADDRESS_BYTES);
    MemorySegment.copy(data, JAVA_BYTE, start + ReceivedMessage.NAME, address, 0, addressBytes);
    length = received - prefix;
    snapLength = length;
    status = Tpacket.STATUS_USER;
    linkBytes = 0;
    vlanTci = 0;
    vlanTpid = 0;
    seconds = 0;
    nanos = 0;
    control(
        data.asSlice(start + ReceivedMessage.CONTROL, ReceivedMessage.CONTROL_BYTES),
        Math.clamp(controlBytes, 0, ReceivedMessage.CONTROL_BYTES));
    if ((status & Tpacket.STATUS_TS_SOFTWARE) == 0) {
      long now = wallNanos.getAsLong();
      seconds = (int) (now / NANOS);
      nanos = (int) (now % NANOS);
    }
    return start + ReceivedMessage.bytes(payload);
  }

  private void control(MemorySegment c, int bytes) {
    for (long i = 0; i + MessageHeader.CMSG_BYTES <= bytes; ) {
      long length = c.get(JAVA_LONG_UNALIGNED, i + MessageHeader.CMSG_LEN);
      int level = c.get(JAVA_INT_UNALIGNED, i + MessageHeader.CMSG_LEVEL);
      int type = c.get(JAVA_INT_UNALIGNED, i + MessageHeader.CMSG_TYPE);
      if (length < MessageHeader.CMSG_BYTES || length > bytes - i) {
        return;
      }
      long value = i + MessageHeader.CMSG_BYTES;
      if (level == PacketSocket.SOL_PACKET
          && type == Tpacket.AUXDATA
          && length >= MessageHeader.CMSG_BYTES + Tpacket.AUX_BYTES) {
        auxiliary(c, value);
      } else if (level == Socket.SOL_SOCKET && length >= MessageHeader.CMSG_BYTES + 16) {
        boolean nanoseconds = type == Socket.SO_TIMESTAMPNS || type == Socket.SO_TIMESTAMPNS_NEW;
        if (nanoseconds || type == Socket.SO_TIMESTAMP || type == Socket.SO_TIMESTAMP_NEW) {
          long fraction = c.get(JAVA_LONG_UNALIGNED, value + 8);
          seconds = (int) c.get(JAVA_LONG_UNALIGNED, value);
          nanos = (int) (nanoseconds ? fraction : fraction * 1000);
          status |= Tpacket.STATUS_TS_SOFTWARE;
        }
      }
      i += length + 7 & -8;
    }
  }

  private void auxiliary(MemorySegment c, long value) {
    status |= c.get(JAVA_INT_UNALIGNED, value + Tpacket.AUX_STATUS);
    length = c.get(JAVA_INT_UNALIGNED, value + Tpacket.AUX_LEN);
    snapLength = Math.max(0, c.get(JAVA_INT_UNALIGNED, value + Tpacket.AUX_SNAPLEN));
    linkBytes = Short.toUnsignedInt(c.get(JAVA_SHORT_UNALIGNED, value + Tpacket.AUX_NET));
    vlanTci = c.get(JAVA_SHORT_UNALIGNED, value + Tpacket.AUX_VLAN_TCI);
    vlanTpid = c.get(JAVA_SHORT_UNALIGNED, value + Tpacket.AUX_VLAN_TPID);
  }

  /** Copies the packet's first bytes, at most {@code most}; how many are there. */
  int copyTo(MemorySegment to, long offset, int most) {
    int n = (int) Math.min(most, available - prefix);
    MemorySegment.copy(source, at + prefix, to, offset, n);
    return n;
  }

  /** Copies what is before the packet so that it ends at {@code end}, as far as a ring has it. */
  void copyPrefixTo(MemorySegment to, long end) {
    int n = Math.min(prefix, PacketSocket.VNET_HDR_BYTES);
    MemorySegment.copy(source, at, to, end - PacketSocket.VNET_HDR_BYTES, n);
  }

  /** Copies the {@code sockaddr_ll}. */
  void copyAddressTo(MemorySegment to, long offset) {
    MemorySegment.copy(address, 0, to, JAVA_BYTE, offset, addressBytes);
  }
}
