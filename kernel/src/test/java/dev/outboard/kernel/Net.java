// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Sockets of a guest. */
final class Net {
  static final int AF_INET = 2;
  static final int SOCK_STREAM = 1;
  static final int SOCK_DGRAM = 2;
  static final int LOOPBACK = 0x7f000001;

  private static final ValueLayout.OfShort PORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final ValueLayout.OfInt ADDRESS =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  private Net() {}

  /** A struct sockaddr_in. */
  static MemorySegment address(Guest g, int ip, int port) {
    MemorySegment a = g.allocate(16);
    a.set(ValueLayout.JAVA_SHORT, 0, (short) AF_INET);
    a.set(PORT, 2, (short) port);
    a.set(ADDRESS, 4, ip);
    return a;
  }

  /** Brings an interface up, by SIOCGIFFLAGS and SIOCSIFFLAGS. */
  static void up(Guest g, String name) {
    int s = (int) g.ok(Nr.SOCKET, AF_INET, SOCK_DGRAM, 0);
    MemorySegment ifr = g.allocate(40);
    ifr.setString(0, name);
    g.ok(Nr.IOCTL, s, 0x8913, ifr.address());
    ifr.set(ValueLayout.JAVA_SHORT, 16, (short) (ifr.get(ValueLayout.JAVA_SHORT, 16) | 1));
    g.ok(Nr.IOCTL, s, 0x8914, ifr.address());
    g.ok(Nr.CLOSE, s);
  }

  static void loopbackUp(Guest g) {
    up(g, "lo");
  }

  static int listen(Guest g, int port) {
    int s = (int) g.ok(Nr.SOCKET, AF_INET, SOCK_STREAM, 0);
    MemorySegment one = g.allocate(4);
    one.set(ValueLayout.JAVA_INT, 0, 1);
    // SO_REUSEADDR
    g.ok(Nr.SETSOCKOPT, s, 1, 2, one.address(), 4);
    g.ok(Nr.BIND, s, address(g, LOOPBACK, port).address(), 16);
    g.ok(Nr.LISTEN, s, 128);
    return s;
  }

  static int connect(Guest g, int port) {
    int s = (int) g.ok(Nr.SOCKET, AF_INET, SOCK_STREAM, 0);
    g.ok(Nr.CONNECT, s, address(g, LOOPBACK, port).address(), 16);
    return s;
  }
}
