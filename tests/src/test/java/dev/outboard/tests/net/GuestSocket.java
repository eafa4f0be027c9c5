// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import static dev.outboard.abi.Socket.AF_INET;
import static dev.outboard.abi.Socket.AF_INET6;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.NetInterface;
import dev.outboard.abi.Socket;
import dev.outboard.virtio.InterfaceAddress;
import dev.outboard.virtio.NetworkConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** A socket of the kernel under test. A call that fails is a test that fails. */
final class GuestSocket implements AutoCloseable {
  private static final ValueLayout.OfShort PORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final int ADDRESS_BYTES = 28;
  static final int SET_LINK_BYTES = 40;

  /** IFLA_GSO_MAX_SIZE and IFLA_GSO_IPV4_MAX_SIZE. */
  static final List<Integer> SEGMENT_LIMITS = List.of(41, 63);

  private static final short RTM_SETLINK = 19;
  private static final short NLM_F_REQUEST_ACK = 5;

  private final GuestCalls calls;
  private final int fd;
  private final MemorySegment scratch;

  private GuestSocket(GuestCalls calls, int fd) {
    this.calls = calls;
    this.fd = fd;
    this.scratch = calls.allocate(64);
  }

  static GuestSocket open(GuestCalls calls, int family, int type, int protocol) {
    return new GuestSocket(
        calls,
        (int) checked("socket", calls.call(GuestCalls.SOCKET, family, type, protocol, 0, 0, 0)));
  }

  static GuestSocket tcp(GuestCalls calls) {
    return open(calls, AF_INET, Socket.SOCK_STREAM, 0);
  }

  /** Of the family of an address. */
  static GuestSocket tcp(GuestCalls calls, InetAddress address) {
    return open(calls, address instanceof Inet4Address ? AF_INET : AF_INET6, Socket.SOCK_STREAM, 0);
  }

  /** Gives the interface its addresses and sets it and loopback up. */
  static void configure(GuestCalls calls, String name, NetworkConfig config) {
    try (GuestSocket control = open(calls, AF_INET, Socket.SOCK_DGRAM, 0)) {
      control.up("lo");
      for (InterfaceAddress a : config.addresses()) {
        if (a.address() instanceof Inet4Address) {
          control.address(name, a);
        } else {
          address6(calls, name, a);
        }
      }
      control.up(name);
    }
  }

  /** The interface's flags. */
  int flags(String name) {
    MemorySegment request = request(name);
    ioctl("SIOCGIFFLAGS", NetInterface.SIOCGIFFLAGS, request);
    return request.get(JAVA_SHORT, NetInterface.IFREQ_UNION);
  }

  private void up(String name) {
    int flags = flags(name);
    MemorySegment request = request(name);
    request.set(JAVA_SHORT, NetInterface.IFREQ_UNION, (short) (flags | NetInterface.IFF_UP));
    ioctl("SIOCSIFFLAGS", NetInterface.SIOCSIFFLAGS, request);
  }

  private void address(String name, InterfaceAddress a) {
    MemorySegment request = request(name);
    putAddress(request.asSlice(NetInterface.IFREQ_UNION), a.address(), 0);
    ioctl("SIOCSIFADDR", NetInterface.SIOCSIFADDR, request);
    int mask = -1 << (32 - a.prefixBits());
    request.set(
        ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN),
        NetInterface.IFREQ_UNION + 4,
        mask);
    ioctl("SIOCSIFNETMASK", NetInterface.SIOCSIFNETMASK, request);
  }

  private static void address6(GuestCalls calls, String name, InterfaceAddress a) {
    try (GuestSocket control = open(calls, AF_INET6, Socket.SOCK_DGRAM, 0)) {
      MemorySegment request = calls.allocate(NetInterface.IN6_IFREQ_BYTES);
      MemorySegment.copy(a.address().getAddress(), 0, request, JAVA_BYTE, 0, 16);
      request.set(JAVA_INT, NetInterface.IN6_IFREQ_PREFIX, a.prefixBits());
      request.set(JAVA_INT, NetInterface.IN6_IFREQ_INDEX, control.index(name));
      control.ioctl("SIOCSIFADDR", NetInterface.SIOCSIFADDR, request);
    }
  }

  private MemorySegment request(String name) {
    MemorySegment request = calls.allocate(NetInterface.IFREQ_BYTES);
    byte[] bytes = name.getBytes(StandardCharsets.US_ASCII);
    MemorySegment.copy(bytes, 0, request, JAVA_BYTE, 0, bytes.length);
    return request;
  }

  private void ioctl(String what, int request, MemorySegment argument) {
    checked(what, calls.call(GuestCalls.IOCTL, fd, request, argument.address(), 0, 0, 0));
  }

  /** Sets an attribute of an interface that is a u32 ({@code rtnetlink(7)}, RTM_SETLINK). */
  static void setLink(GuestCalls calls, int index, int attribute, int value) {
    try (GuestSocket s = open(calls, Socket.AF_NETLINK, Socket.SOCK_RAW, Socket.NETLINK_ROUTE)) {
      MemorySegment message = calls.allocate(SET_LINK_BYTES);
      putSetLink(message, index, attribute, value);
      s.send(message);
      MemorySegment answer = calls.allocate(256);
      s.receive(answer);
      checked("RTM_SETLINK " + attribute, answer.get(JAVA_INT, 16));
    }
  }

  /** The message for it: nlmsghdr 16, ifinfomsg 16, attribute 8 bytes. */
  static void putSetLink(MemorySegment message, int index, int attribute, int value) {
    message.set(JAVA_INT, 0, SET_LINK_BYTES);
    message.set(JAVA_SHORT, 4, RTM_SETLINK);
    message.set(JAVA_SHORT, 6, NLM_F_REQUEST_ACK);
    message.set(JAVA_INT, 16 + 4, index);
    message.set(JAVA_SHORT, 32, (short) 8);
    message.set(JAVA_SHORT, 34, (short) attribute);
    message.set(JAVA_INT, 36, value);
  }

  /** The interface's index. */
  int index(String name) {
    MemorySegment request = request(name);
    ioctl("SIOCGIFINDEX", NetInterface.SIOCGIFINDEX, request);
    return request.get(JAVA_INT, NetInterface.IFREQ_UNION);
  }

  int mtu(String name) {
    MemorySegment request = request(name);
    ioctl("SIOCGIFMTU", NetInterface.SIOCGIFMTU, request);
    return request.get(JAVA_INT, NetInterface.IFREQ_UNION);
  }

  private static int putAddress(MemorySegment to, InetAddress address, int port) {
    byte[] raw = address.getAddress();
    boolean v4 = raw.length == 4;
    to.set(ValueLayout.JAVA_SHORT_UNALIGNED, 0, (short) (v4 ? AF_INET : AF_INET6));
    to.set(PORT, 2, (short) port);
    MemorySegment.copy(raw, 0, to, JAVA_BYTE, v4 ? 4 : 8, raw.length);
    return v4 ? 16 : ADDRESS_BYTES;
  }

  /** The result of {@link #connect}'s call, for those who expect a failure. */
  long tryConnect(InetAddress address, int port) {
    int length = putAddress(scratch, address, port);
    return calls.call(GuestCalls.CONNECT, fd, scratch.address(), length, 0, 0, 0);
  }

  void connect(InetAddress address, int port) {
    checked("connect", tryConnect(address, port));
  }

  void bind(InetAddress address, int port) {
    checked("bind", tryBind(address, port));
  }

  /** The result of {@link #bind}'s call. */
  long tryBind(InetAddress address, int port) {
    int length = putAddress(scratch, address, port);
    return calls.call(GuestCalls.BIND, fd, scratch.address(), length, 0, 0, 0);
  }

  void listen() {
    checked("listen", calls.call(GuestCalls.LISTEN, fd, 64, 0, 0, 0, 0));
  }

  GuestSocket accept() {
    long r = calls.call(GuestCalls.ACCEPT, fd, 0, 0, 0, 0, 0);
    return new GuestSocket(calls, (int) checked("accept", r));
  }

  int localPort() {
    MemorySegment length = calls.allocate(4);
    length.set(JAVA_INT, 0, ADDRESS_BYTES);
    checked(
        "getsockname",
        calls.call(GuestCalls.GETSOCKNAME, fd, scratch.address(), length.address(), 0, 0, 0));
    return Short.toUnsignedInt(scratch.get(PORT, 2));
  }

  void option(int level, int name, int value) {
    scratch.set(JAVA_INT, 0, value);
    checked(
        "setsockopt", calls.call(GuestCalls.SETSOCKOPT, fd, level, name, scratch.address(), 4, 0));
  }

  /** Sends all of a piece of memory that calls may point to. */
  void send(MemorySegment data) {
    long at = 0;
    while (at < data.byteSize()) {
      at +=
          checked(
              "write",
              calls.call(GuestCalls.WRITE, fd, data.address() + at, data.byteSize() - at, 0, 0, 0));
    }
  }

  /** Receives once; 0 is the end. */
  long receive(MemorySegment to) {
    return checked("read", calls.call(GuestCalls.READ, fd, to.address(), to.byteSize(), 0, 0, 0));
  }

  /** One datagram to somebody. */
  void sendTo(MemorySegment data, InetAddress address, int port) {
    int length = putAddress(scratch, address, port);
    checked(
        "sendto",
        calls.call(
            GuestCalls.SENDTO, fd, data.address(), data.byteSize(), 0, scratch.address(), length));
  }

  void shutdownOutput() {
    checked("shutdown", calls.call(GuestCalls.SHUTDOWN, fd, Socket.SHUT_WR, 0, 0, 0, 0));
  }

  private static long checked(String what, long result) {
    if (result < 0) {
      throw new AssertionError(what + " on the device: " + Errno.name((int) -result));
    }
    return result;
  }

  @Override
  public void close() {
    calls.call(GuestCalls.CLOSE, fd, 0, 0, 0, 0, 0);
  }
}
