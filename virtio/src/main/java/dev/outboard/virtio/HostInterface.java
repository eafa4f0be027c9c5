// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.NetInterface.IFF_UP;
import static dev.outboard.abi.NetInterface.IFREQ_BYTES;
import static dev.outboard.abi.NetInterface.IFREQ_UNION;
import static dev.outboard.abi.NetInterface.IN6_IFREQ_BYTES;
import static dev.outboard.abi.NetInterface.IN6_IFREQ_INDEX;
import static dev.outboard.abi.NetInterface.IN6_IFREQ_PREFIX;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.NetInterface;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A network interface of this machine, by the ioctls of {@code netdevice(7)} and {@code ipv6(7)}.
 *
 * <p>Each method makes a socket for itself, and returns zero or more, or {@code -errno}. Any
 * thread.
 */
final class HostInterface {
  private final String name;

  HostInterface(String name) {
    this.name = name;
  }

  /**
   * An interface that is there.
   *
   * @throws NetException if it is not
   */
  static HostInterface present(String name) throws NetException {
    HostInterface found = new HostInterface(name);
    if (found.index() < 0) {
      throw new NetException("there is no interface " + name + " on this machine");
    }
    return found;
  }

  /** Writes the name at the start of a {@code struct ifreq}. */
  static void putName(MemorySegment request, String name) {
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    request.asSlice(0, NetInterface.IFNAMSIZ).fill((byte) 0);
    MemorySegment.copy(bytes, 0, request, JAVA_BYTE, 0, bytes.length);
  }

  /** The interface's index, or {@code -ENODEV}. */
  long index() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFINDEX, request);
      return r < 0 ? r : request.get(JAVA_INT, IFREQ_UNION);
    }
  }

  /** The interface's MTU in bytes. */
  long mtu() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFMTU, request);
      return r < 0 ? r : request.get(JAVA_INT, IFREQ_UNION);
    }
  }

  /** The interface's hardware address; null if it has none of Ethernet's. */
  @Nullable MacAddress hardwareAddress() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFHWADDR, request);
      if (r < 0 || request.get(JAVA_SHORT, IFREQ_UNION) != NetInterface.ARPHRD_ETHER) {
        return null;
      }
      return MacAddress.of(request.asSlice(IFREQ_UNION + 2, 6).toArray(JAVA_BYTE));
    }
  }

  /** Whether it is set up; false if it is not there. */
  boolean isUp() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFFLAGS, request);
      return r >= 0 && (request.get(JAVA_SHORT, IFREQ_UNION) & IFF_UP) != 0;
    }
  }

  /** Sets the MTU if it is another. */
  long setMtu(int bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFMTU, request);
      if (r < 0 || request.get(JAVA_INT, IFREQ_UNION) == bytes) {
        return r;
      }
      request.set(JAVA_INT, IFREQ_UNION, bytes);
      return call(Socket.AF_INET, NetInterface.SIOCSIFMTU, request);
    }
  }

  /** Sets the interface up if it is not; its other flags stay. */
  long setUp() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = request(arena);
      long r = call(Socket.AF_INET, NetInterface.SIOCGIFFLAGS, request);
      if (r < 0) {
        return r;
      }
      int flags = request.get(JAVA_SHORT, IFREQ_UNION);
      if ((flags & IFF_UP) != 0) {
        return 0;
      }
      request.set(JAVA_SHORT, IFREQ_UNION, (short) (flags | IFF_UP));
      return call(Socket.AF_INET, NetInterface.SIOCSIFFLAGS, request);
    }
  }

  /**
   * Gives the interface an address; its link's route comes with it. Having it already is right.
   *
   * @param ours whether nobody on the link can have it: an IPv6 address is good at once then,
   *     otherwise when the link has been asked, one to two seconds later (RFC 4862)
   */
  long addAddress(InterfaceAddress address, boolean ours) {
    try (Arena arena = Arena.ofConfined()) {
      if (address.address() instanceof Inet4Address) {
        return addIpv4(arena, address);
      }
      long r = addIpv6(arena, address, ours);
      return r == -Errno.EEXIST ? 0 : r;
    }
  }

  /** Takes an address away that {@link #addAddress} gave to an interface that stays. */
  long removeAddress(InterfaceAddress address) {
    try (Arena arena = Arena.ofConfined()) {
      if (address.address() instanceof Inet4Address) {
        MemorySegment request = request(arena);
        putIpv4(request, new byte[4]);
        return call(Socket.AF_INET, NetInterface.SIOCSIFADDR, request);
      }
      return call(Socket.AF_INET6, NetInterface.SIOCDIFADDR, request6(arena, address));
    }
  }

  /** Whether the interface has an address already. */
  boolean hasAddress(InetAddress address) {
    try {
      NetworkInterface found = NetworkInterface.getByName(name);
      // A link-local address comes with a scope, which is no part of it here.
      return found != null
          && found
              .inetAddresses()
              .anyMatch(a -> Arrays.equals(a.getAddress(), address.getAddress()));
    } catch (SocketException e) {
      return false;
    }
  }

  private long addIpv4(Arena arena, InterfaceAddress address) {
    MemorySegment request = request(arena);
    putIpv4(request, address.address().getAddress());
    long r = call(Socket.AF_INET, NetInterface.SIOCSIFADDR, request);
    if (r < 0) {
      return r;
    }
    int mask = (int) (0xffff_ffffL << (32 - address.prefixBits()));
    putIpv4(
        request,
        new byte[] {(byte) (mask >> 24), (byte) (mask >> 16), (byte) (mask >> 8), (byte) mask});
    return call(Socket.AF_INET, NetInterface.SIOCSIFNETMASK, request);
  }

  /** By rtnetlink(7), as the ioctl has no flags. */
  private long addIpv6(Arena arena, InterfaceAddress address, boolean ours) {
    int bytes = NetInterface.NEW_ADDRESS_BYTES;
    MemorySegment m = arena.allocate(bytes, 8);
    m.set(JAVA_INT, 0, bytes);
    m.set(JAVA_SHORT, 4, NetInterface.RTM_NEWADDR);
    m.set(JAVA_SHORT, 6, NetInterface.NETLINK_CREATE);
    m.set(JAVA_BYTE, NetInterface.NEW_ADDRESS_FAMILY, (byte) Socket.AF_INET6);
    m.set(JAVA_BYTE, NetInterface.NEW_ADDRESS_PREFIX, (byte) address.prefixBits());
    m.set(JAVA_BYTE, NetInterface.NEW_ADDRESS_FLAGS, ours ? NetInterface.IFA_F_NODAD : 0);
    m.set(JAVA_INT, NetInterface.NEW_ADDRESS_INDEX, (int) Math.max(0, index()));
    int attribute = NetInterface.NEW_ADDRESS_ATTRIBUTE;
    m.set(JAVA_SHORT, attribute, (short) (bytes - attribute));
    m.set(JAVA_SHORT, attribute + 2, NetInterface.IFA_LOCAL);
    byte[] value = address.address().getAddress();
    MemorySegment.copy(value, 0, m, JAVA_BYTE, NetInterface.NEW_ADDRESS, value.length);
    long fd =
        Linux.socket(
            Socket.AF_NETLINK, Socket.SOCK_RAW | Socket.SOCK_CLOEXEC, Socket.NETLINK_ROUTE);
    if (fd < 0) {
      return fd;
    }
    // The kernel has answered when the write ends.
    long r = Linux.write((int) fd, m.address(), bytes);
    r = r < 0 ? r : Linux.read((int) fd, m.address(), bytes);
    Linux.close((int) fd);
    return r < 0 ? r : m.get(JAVA_INT, NetInterface.NETLINK_ERROR);
  }

  /** A {@code struct sockaddr_in} in the union of a {@code struct ifreq}. */
  private static void putIpv4(MemorySegment request, byte[] address) {
    request.asSlice(IFREQ_UNION).fill((byte) 0);
    request.set(JAVA_SHORT, IFREQ_UNION, (short) Socket.AF_INET);
    MemorySegment.copy(address, 0, request, JAVA_BYTE, IFREQ_UNION + 4, 4);
  }

  private MemorySegment request(Arena arena) {
    MemorySegment request = arena.allocate(IFREQ_BYTES, 8);
    putName(request, name);
    return request;
  }

  private MemorySegment request6(Arena arena, InterfaceAddress address) {
    MemorySegment request = arena.allocate(IN6_IFREQ_BYTES, 8);
    MemorySegment.copy(address.address().getAddress(), 0, request, JAVA_BYTE, 0, 16);
    request.set(JAVA_INT, IN6_IFREQ_PREFIX, address.prefixBits());
    request.set(JAVA_INT, IN6_IFREQ_INDEX, (int) Math.max(0, index()));
    return request;
  }

  private static long call(int family, int request, MemorySegment argument) {
    long fd = Linux.socket(family, Socket.SOCK_DGRAM | Socket.SOCK_CLOEXEC, 0);
    if (fd < 0) {
      return fd;
    }
    long r = Linux.ioctl((int) fd, request, argument.address());
    Linux.close((int) fd);
    return r;
  }
}
