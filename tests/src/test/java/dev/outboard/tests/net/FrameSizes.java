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
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Listens to an interface of this machine and keeps the size of the largest TCP frame that each
 * address sent.
 */
final class FrameSizes implements AutoCloseable {
  private static final int HEADERS = 14 + 20;
  private static final int TCP = 6;

  private final int fd;
  private final Thread thread;
  private final Map<Integer, Integer> largest = new ConcurrentHashMap<>();
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
        if (n > HEADERS && frame.get(ValueLayout.JAVA_BYTE, 14 + 9) == TCP) {
          int source = frame.get(ValueLayout.JAVA_INT_UNALIGNED, 14 + 12);
          largest.merge(source, (int) n, Math::max);
        }
      }
    }
  }

  /** Bytes of the largest TCP frame that came from this IPv4 address, its headers included. */
  int largestFrom(InetAddress address) {
    int key = MemorySegment.ofArray(address.getAddress()).get(ValueLayout.JAVA_INT_UNALIGNED, 0);
    return largest.getOrDefault(key, 0);
  }

  @Override
  public String toString() {
    return "largest frames " + largest.values();
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
