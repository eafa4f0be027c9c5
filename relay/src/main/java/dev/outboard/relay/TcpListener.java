// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteOrder;
import java.nio.channels.ClosedChannelException;

/**
 * A TCP socket that listens, whose connections are descriptors. One thread accepts, any closes.
 *
 * <p>Sources: {@code ip(7)}, {@code ipv6(7)}.
 */
final class TcpListener implements AutoCloseable {
  private static final int SOCKADDR_BYTES = 28;
  private static final int PORT = 2;
  private static final int ADDRESS_4 = 4;
  private static final int ADDRESS_6 = 8;
  private static final int SCOPE_6 = 24;
  private static final int IPV6_V6ONLY = 26;
  private static final ValueLayout.OfShort BIG_ENDIAN =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  /** A connection that was accepted. */
  record Accepted(int fd, InetSocketAddress from) {}

  private final SocketDescriptor socket;

  private TcpListener(int fd) {
    this.socket = new SocketDescriptor(fd);
  }

  /**
   * Listens.
   *
   * @param at a wildcard address stands for those of IPv4 and IPv6, where there is both
   * @throws IOException if that cannot be listened at
   */
  static TcpListener open(InetSocketAddress at, int backlog) throws IOException {
    InetAddress address = at.getAddress();
    if (address == null) {
      throw new IOException("there is no machine called " + at.getHostString());
    }
    if (address.isAnyLocalAddress()) {
      try {
        return open(Socket.AF_INET6, InetAddress.getByAddress(new byte[16]), at.getPort(), backlog);
      } catch (NoIpv6 e) {
        return open(Socket.AF_INET, InetAddress.getByAddress(new byte[4]), at.getPort(), backlog);
      }
    }
    int family = address instanceof Inet4Address ? Socket.AF_INET : Socket.AF_INET6;
    return open(family, address, at.getPort(), backlog);
  }

  /** A machine without IPv6. */
  private static final class NoIpv6 extends IOException {
    private static final long serialVersionUID = 1L;

    NoIpv6(String message) {
      super(message);
    }
  }

  private static TcpListener open(int family, InetAddress address, int port, int backlog)
      throws IOException {
    long fd = Linux.socket(family, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0);
    if (fd == -Errno.EAFNOSUPPORT && family == Socket.AF_INET6 && address.isAnyLocalAddress()) {
      throw new NoIpv6(Errno.name((int) -fd));
    }
    if (fd < 0) {
      throw failure(fd);
    }
    boolean done = false;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocateFrom(ValueLayout.JAVA_INT, 1);
      Linux.setsockopt(
          (int) fd, Socket.SOL_SOCKET, Socket.SO_REUSEADDR, value.address(), Integer.BYTES);
      MemorySegment to = arena.allocate(SOCKADDR_BYTES, 8);
      to.set(ValueLayout.JAVA_SHORT, 0, (short) family);
      to.set(BIG_ENDIAN, PORT, (short) port);
      byte[] bytes = address.getAddress();
      int length = 16;
      if (family == Socket.AF_INET) {
        MemorySegment.copy(bytes, 0, to, ValueLayout.JAVA_BYTE, ADDRESS_4, bytes.length);
      } else {
        length = SOCKADDR_BYTES;
        // Of an IPv4 address in IPv6's form the JDK makes one of IPv4: these are 16 bytes, or none.
        if (bytes.length == 16) {
          MemorySegment.copy(bytes, 0, to, ValueLayout.JAVA_BYTE, ADDRESS_6, bytes.length);
        }
        if (address instanceof Inet6Address six) {
          to.set(ValueLayout.JAVA_INT, SCOPE_6, six.getScopeId());
        }
        value.set(ValueLayout.JAVA_INT, 0, address.isAnyLocalAddress() ? 0 : 1);
        Linux.setsockopt((int) fd, Socket.SOL_IPV6, IPV6_V6ONLY, value.address(), Integer.BYTES);
      }
      long r = Linux.bind((int) fd, to.address(), length);
      if (r == 0) {
        r = Linux.listen((int) fd, backlog);
      }
      if (r == -Errno.EADDRNOTAVAIL && family == Socket.AF_INET6 && address.isAnyLocalAddress()) {
        throw new NoIpv6(Errno.name((int) -r));
      }
      if (r < 0) {
        throw failure(r);
      }
      done = true;
      return new TcpListener((int) fd);
    } finally {
      if (!done) {
        Linux.close((int) fd);
      }
    }
  }

  /** Where it listens. */
  InetSocketAddress address() throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocate(SOCKADDR_BYTES, 8);
      MemorySegment length = arena.allocateFrom(ValueLayout.JAVA_INT, SOCKADDR_BYTES);
      int fd = socket.enter();
      long r;
      try {
        r = Linux.syscall(SyscallNumbers.GETSOCKNAME, fd, name.address(), length.address());
      } finally {
        socket.leave();
      }
      if (r < 0) {
        throw failure(r);
      }
      return address(name);
    }
  }

  private static InetSocketAddress address(MemorySegment name) throws IOException {
    boolean four = name.get(ValueLayout.JAVA_SHORT, 0) == Socket.AF_INET;
    byte[] bytes = new byte[four ? 4 : 16];
    MemorySegment.copy(
        name, ValueLayout.JAVA_BYTE, four ? ADDRESS_4 : ADDRESS_6, bytes, 0, bytes.length);
    int scope = four ? 0 : name.get(ValueLayout.JAVA_INT, SCOPE_6);
    // Of an IPv4 address in IPv6's form this makes one of IPv4.
    InetAddress address =
        scope == 0
            ? InetAddress.getByAddress(bytes)
            : Inet6Address.getByAddress(null, bytes, scope);
    return new InetSocketAddress(address, Short.toUnsignedInt(name.get(BIG_ENDIAN, PORT)));
  }

  /**
   * Waits for a connection.
   *
   * @return what the caller owns from here on
   * @throws ClosedChannelException once this is closed
   * @throws IOException if there is none for now, as for want of descriptors
   */
  Accepted accept() throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocate(SOCKADDR_BYTES, 8);
      MemorySegment length = arena.allocate(ValueLayout.JAVA_INT);
      while (true) {
        length.set(ValueLayout.JAVA_INT, 0, SOCKADDR_BYTES);
        int fd = socket.enter();
        long r;
        try {
          r =
              Linux.syscall(
                  SyscallNumbers.ACCEPT4,
                  fd,
                  name.address(),
                  length.address(),
                  Socket.SOCK_CLOEXEC,
                  0,
                  0);
        } finally {
          socket.leave();
        }
        if (r >= 0) {
          return new Accepted((int) r, address(name));
        }
        if (socket.isClosed()) {
          throw new ClosedChannelException();
        }
        if (r != -Errno.EINTR && r != -Errno.ECONNABORTED) {
          throw failure(r);
        }
      }
    }
  }

  private static IOException failure(long negative) {
    return new IOException(Errno.name((int) -negative));
  }

  /** Who accepts comes back, and whoever connects from now on finds nobody. Repeatable. */
  @Override
  public void close() {
    socket.close();
  }
}
