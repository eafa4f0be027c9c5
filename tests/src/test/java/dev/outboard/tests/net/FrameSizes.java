// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.UnknownHostException;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Listens to an interface of this machine and keeps the size of the largest TCP frame that each
 * address sent.
 */
final class FrameSizes implements AutoCloseable {
  private static final int HEADERS = 14 + 40 + 8;
  private static final int TCP = 6;
  private static final int HOP_BY_HOP = 0;
  private static final int ETH_P_IPV6 = 0x86dd;
  private static final ValueLayout.OfChar TYPE =
      ValueLayout.JAVA_CHAR_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  private final int fd;
  private final Thread thread;
  private final Map<InetAddress, Integer> largest = new ConcurrentHashMap<>();
  private volatile boolean closing;

  private FrameSizes(int fd) {
    this.fd = fd;
    this.thread = Thread.ofPlatform().name("capture").daemon().start(this::listen);
  }

  static FrameSizes capture(String name) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      int fd = (int) checked(Linux.socket(Socket.AF_PACKET, Socket.SOCK_RAW, 0));
      // Ends a wait, so that the thread can see that it is to end.
      MemorySegment timeout = arena.allocate(16, 8);
      timeout.set(ValueLayout.JAVA_LONG, 8, 100_000);
      checked(Linux.setsockopt(fd, Socket.SOL_SOCKET, Socket.SO_RCVTIMEO, timeout.address(), 16));
      MemorySegment address = arena.allocate(PacketSocket.ADDRESS_BYTES, 8);
      address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_PACKET);
      address.set(
          ValueLayout.JAVA_SHORT,
          PacketSocket.ADDRESS_PROTOCOL,
          Short.reverseBytes((short) PacketSocket.ETH_P_ALL));
      int index = NetworkInterface.getByName(name).getIndex();
      address.set(ValueLayout.JAVA_INT, PacketSocket.ADDRESS_INDEX, index);
      checked(Linux.bind(fd, address.address(), PacketSocket.ADDRESS_BYTES));
      return new FrameSizes(fd);
    }
  }

  private static long checked(long result) {
    assertThat(result).isNotNegative();
    return result;
  }

  private void listen() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment frame = arena.allocate(HEADERS, 8);
      while (!closing) {
        long n = Linux.recv(fd, frame.address(), HEADERS, Socket.MSG_TRUNC);
        if (n == -Errno.EAGAIN || n == -Errno.EINTR || n == -Errno.ENETDOWN) {
          continue;
        }
        if (n < 0) {
          return;
        }
        if (n > HEADERS) {
          note(frame, (int) n);
        }
      }
    }
  }

  private void note(MemorySegment frame, int bytes) {
    boolean v6 = frame.get(TYPE, 12) == ETH_P_IPV6;
    int protocol = frame.get(ValueLayout.JAVA_BYTE, 14 + (v6 ? 6 : 9));
    if (v6 && protocol == HOP_BY_HOP) {
      // That of a segment above 64 KiB has its length.
      protocol = frame.get(ValueLayout.JAVA_BYTE, 14 + 40);
    }
    if (protocol == TCP) {
      byte[] source = frame.asSlice(14 + (v6 ? 8 : 12), v6 ? 16 : 4).toArray(ValueLayout.JAVA_BYTE);
      try {
        largest.merge(InetAddress.getByAddress(source), bytes, Math::max);
      } catch (UnknownHostException e) {
        throw new AssertionError(e);
      }
    }
  }

  /** Bytes of the largest TCP frame that came from this address, its headers included. */
  int largestFrom(InetAddress address) {
    return largest.getOrDefault(address, 0);
  }

  @Override
  public String toString() {
    return "largest frames " + largest;
  }

  @Override
  public void close() {
    closing = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Linux.close(fd);
  }
}
