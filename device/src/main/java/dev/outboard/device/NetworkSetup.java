// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.virtio.InterfaceAddress;
import dev.outboard.virtio.MacAddress;
import dev.outboard.virtio.NetworkConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Configures the network of a library kernel, by the kernel's own ioctls ({@code netdevice(7)})
 * and, for what they cannot say, {@code rtnetlink(7)}: what a machine's start-up scripts do.
 *
 * <p>Runs in a task of the calling thread, which must have none. Nothing here waits.
 */
final class NetworkSetup {
  // linux/sockios.h
  private static final int SIOCADDRT = 0x890b;
  private static final int SIOCGIFNAME = 0x8910;
  private static final int SIOCGIFFLAGS = 0x8913;
  private static final int SIOCSIFFLAGS = 0x8914;
  private static final int SIOCSIFADDR = 0x8916;
  private static final int SIOCSIFNETMASK = 0x891c;
  private static final int SIOCSIFMTU = 0x8922;
  private static final int SIOCGIFHWADDR = 0x8927;

  private static final int IFF_UP = 1;
  private static final int RTF_UP = 1;
  private static final int RTF_GATEWAY = 2;
  private static final int MAX_INTERFACES = 64;

  // struct ifreq: a name of 16 bytes and a union.
  private static final int IFREQ_UNION = 16;

  // struct rtentry of 64-bit machines.
  private static final int RTENTRY_BYTES = 120;
  private static final int RT_DST = 8;
  private static final int RT_GATEWAY = 24;
  private static final int RT_GENMASK = 40;
  private static final int RT_FLAGS = 56;

  // struct in6_rtmsg.
  private static final int RTMSG6_BYTES = 80;
  private static final int RTMSG6_GATEWAY = 32;
  private static final int RTMSG6_METRIC = 56;
  private static final int RTMSG6_FLAGS = 72;
  private static final int RTMSG6_IFINDEX = 76;

  // A message of rtnetlink: nlmsghdr, ifinfomsg, one attribute of four bytes.
  private static final int MESSAGE_BYTES = 40;
  private static final short RTM_SETLINK = 19;
  private static final short NLM_F_REQUEST_AND_ACK = 5;
  private static final int NLMSG_ERROR_AT = 16;
  private static final int IFINFO_INDEX = 20;
  private static final int ATTRIBUTE = 32;

  /** IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE and the same for IPv4: {@code linux/if_link.h}. */
  private static final int[] SEGMENT_LIMITS = {41, 58, 63, 64};

  // Scratch memory: a request, a path, a text.
  private static final int REQUEST = 0;
  private static final int PATH = 512;
  private static final int TEXT = 1024;

  private final Kernel kernel;
  private final MemorySegment scratch;

  private NetworkSetup(Kernel kernel, MemorySegment scratch) {
    this.kernel = kernel;
    this.scratch = scratch;
  }

  /** What must be done in a task; may fail with a sentence. */
  private interface Work {
    void run(NetworkSetup setup) throws DeviceException;
  }

  /**
   * Brings up the loopback, mounts /proc and lets everyone ping.
   *
   * @throws DeviceException if the kernel refuses
   */
  static void base(Kernel kernel) throws DeviceException {
    inTask(kernel, NetworkSetup::base);
  }

  /**
   * Gives the card its addresses, brings it up and sets the default routes.
   *
   * @throws DeviceException if the kernel refuses
   */
  static void card(Kernel kernel, NetworkConfig config) throws DeviceException {
    inTask(kernel, setup -> setup.card(config));
  }

  private static void inTask(Kernel kernel, Work work) throws DeviceException {
    SetupTask.run(kernel, scratch -> work.run(new NetworkSetup(kernel, scratch)));
  }

  private void base() throws DeviceException {
    int fd = socket(Socket.AF_INET);
    request("lo");
    up(fd, "lo");
    close(fd);
    mountProc();
    // As systemd sets it everywhere: who may open a ping socket without a privilege.
    sysctl("net/ipv4/ping_group_range", "0 2147483647");
  }

  private void card(NetworkConfig config) throws DeviceException {
    int fd = socket(Socket.AF_INET);
    try {
      int index = find(fd, config.mac());
      String name = name(fd, index);
      request(name);
      scratch.set(ValueLayout.JAVA_INT, IFREQ_UNION, config.mtu());
      ioctl(fd, SIOCSIFMTU, "MTU " + config.mtu());
      if (config.gso() > 0) {
        for (int limit : SEGMENT_LIMITS) {
          setLink(index, limit, config.gso());
        }
      }
      // The address is ours alone: no one to ask whether it is taken, and no second to wait.
      sysctl("net/ipv6/conf/" + name + "/accept_dad", "0");
      for (InterfaceAddress address : config.addresses()) {
        if (address.address() instanceof Inet4Address) {
          address4(fd, name, address);
        }
      }
      up(fd, name);
      for (InterfaceAddress address : config.addresses()) {
        if (!(address.address() instanceof Inet4Address)) {
          address6(index, address);
        }
      }
      for (InetAddress gateway : config.gateways()) {
        if (gateway instanceof Inet4Address) {
          route4(fd, gateway);
        } else {
          route6(index, gateway);
        }
      }
    } finally {
      close(fd);
    }
  }

  /** The index of the interface that has this hardware address. */
  private int find(int fd, MacAddress mac) throws DeviceException {
    byte[] wanted = mac.bytes();
    for (int index = 1; index <= MAX_INTERFACES; index++) {
      if (name(fd, index).isEmpty()
          || kernel.syscall(
                  Canonical.IOCTL, fd, SIOCGIFHWADDR, scratch.address() + REQUEST, 0, 0, 0)
              < 0) {
        continue;
      }
      byte[] has = scratch.asSlice(IFREQ_UNION + 2, wanted.length).toArray(ValueLayout.JAVA_BYTE);
      if (Arrays.equals(has, wanted)) {
        return index;
      }
    }
    throw new DeviceException("The device's kernel has no network card with address " + mac + ".");
  }

  /** The interface's name, which the request holds afterwards; empty if there is none. */
  private String name(int fd, int index) {
    request("");
    scratch.set(ValueLayout.JAVA_INT, IFREQ_UNION, index);
    long r = kernel.syscall(Canonical.IOCTL, fd, SIOCGIFNAME, scratch.address() + REQUEST, 0, 0, 0);
    return r < 0 ? "" : scratch.getString(REQUEST, StandardCharsets.UTF_8);
  }

  private void address4(int fd, String name, InterfaceAddress address) throws DeviceException {
    request(name);
    socketAddress(IFREQ_UNION, address.address().getAddress());
    ioctl(fd, SIOCSIFADDR, "address " + address);
    request(name);
    int mask = address.prefixBits() == 0 ? 0 : -1 << (32 - address.prefixBits());
    socketAddress(
        IFREQ_UNION,
        new byte[] {(byte) (mask >> 24), (byte) (mask >> 16), (byte) (mask >> 8), (byte) mask});
    ioctl(fd, SIOCSIFNETMASK, "netmask of " + address);
  }

  private void address6(int index, InterfaceAddress address) throws DeviceException {
    int fd = socket(Socket.AF_INET6);
    try {
      // struct in6_ifreq: address, prefix length, interface.
      request("");
      MemorySegment.copy(
          address.address().getAddress(), 0, scratch, ValueLayout.JAVA_BYTE, REQUEST, 16);
      scratch.set(ValueLayout.JAVA_INT, REQUEST + 16, address.prefixBits());
      scratch.set(ValueLayout.JAVA_INT, REQUEST + 20, index);
      ioctl(fd, SIOCSIFADDR, "address " + address);
    } finally {
      close(fd);
    }
  }

  private void route4(int fd, InetAddress gateway) throws DeviceException {
    scratch.asSlice(REQUEST, RTENTRY_BYTES).fill((byte) 0);
    socketAddress(RT_DST, new byte[4]);
    socketAddress(RT_GATEWAY, gateway.getAddress());
    socketAddress(RT_GENMASK, new byte[4]);
    scratch.set(ValueLayout.JAVA_SHORT, RT_FLAGS, (short) (RTF_UP | RTF_GATEWAY));
    ioctl(fd, SIOCADDRT, "default route by " + gateway.getHostAddress());
  }

  private void route6(int index, InetAddress gateway) throws DeviceException {
    int fd = socket(Socket.AF_INET6);
    try {
      scratch.asSlice(REQUEST, RTMSG6_BYTES).fill((byte) 0);
      MemorySegment.copy(
          gateway.getAddress(), 0, scratch, ValueLayout.JAVA_BYTE, REQUEST + RTMSG6_GATEWAY, 16);
      scratch.set(ValueLayout.JAVA_INT, REQUEST + RTMSG6_METRIC, 1024);
      scratch.set(ValueLayout.JAVA_INT, REQUEST + RTMSG6_FLAGS, RTF_UP | RTF_GATEWAY);
      scratch.set(ValueLayout.JAVA_INT, REQUEST + RTMSG6_IFINDEX, index);
      ioctl(fd, SIOCADDRT, "default route by " + gateway.getHostAddress());
    } finally {
      close(fd);
    }
  }

  private void up(int fd, String name) throws DeviceException {
    request(name);
    ioctl(fd, SIOCGIFFLAGS, "flags of " + name);
    short flags = scratch.get(ValueLayout.JAVA_SHORT, IFREQ_UNION);
    scratch.set(ValueLayout.JAVA_SHORT, IFREQ_UNION, (short) (flags | IFF_UP));
    ioctl(fd, SIOCSIFFLAGS, name + " up");
  }

  /** Sets an attribute of an interface, a number. */
  private void setLink(int index, int attribute, int value) throws DeviceException {
    int fd = socket(Socket.AF_NETLINK);
    try {
      MemorySegment message = scratch.asSlice(REQUEST, MESSAGE_BYTES).fill((byte) 0);
      message.set(ValueLayout.JAVA_INT, 0, MESSAGE_BYTES);
      message.set(ValueLayout.JAVA_SHORT, 4, RTM_SETLINK);
      message.set(ValueLayout.JAVA_SHORT, 6, NLM_F_REQUEST_AND_ACK);
      message.set(ValueLayout.JAVA_INT, IFINFO_INDEX, index);
      message.set(ValueLayout.JAVA_SHORT, ATTRIBUTE, (short) (2 * Integer.BYTES));
      message.set(ValueLayout.JAVA_SHORT, ATTRIBUTE + 2, (short) attribute);
      message.set(ValueLayout.JAVA_INT, ATTRIBUTE + 4, value);
      long at = scratch.address() + REQUEST;
      long r = kernel.syscall(Canonical.SENDTO, fd, at, MESSAGE_BYTES, 0, 0, 0);
      if (r >= 0) {
        r = kernel.syscall(Canonical.RECVFROM, fd, at, MESSAGE_BYTES, 0, 0, 0);
      }
      // The answer is a struct nlmsgerr, 0 or -errno at its begin; it is there when the send
      // returns.
      int error = r < 0 ? (int) r : scratch.get(ValueLayout.JAVA_INT, REQUEST + NLMSG_ERROR_AT);
      if (error < 0) {
        throw new DeviceException(
            "The device's kernel refuses segments of "
                + value
                + " bytes on this network: "
                + Errno.name(-error)
                + ". This machine's kernel may be too old for them (Linux 6.6); leave out gso=.");
      }
    } finally {
      close(fd);
    }
  }

  private void mountProc() throws DeviceException {
    text(PATH, "/proc");
    kernel.syscall(Canonical.MKDIRAT, Fcntl.AT_FDCWD, scratch.address() + PATH, 0555, 0, 0, 0);
    text(TEXT, "proc");
    long r =
        kernel.syscall(
            Canonical.MOUNT,
            scratch.address() + TEXT,
            scratch.address() + PATH,
            scratch.address() + TEXT,
            0,
            0,
            0);
    if (r < 0 && r != -Errno.EBUSY) {
      throw new DeviceException(
          "The device's kernel does not mount /proc: " + Errno.name((int) -r) + ".");
    }
  }

  private void sysctl(String name, String value) throws DeviceException {
    text(PATH, "/proc/sys/" + name);
    long fd =
        kernel.syscall(
            Canonical.OPENAT, Fcntl.AT_FDCWD, scratch.address() + PATH, Fcntl.O_WRONLY, 0, 0, 0);
    long r = fd;
    if (fd >= 0) {
      int length = text(TEXT, value);
      r = kernel.syscall(Canonical.WRITE, fd, scratch.address() + TEXT, length, 0, 0, 0);
      close((int) fd);
    }
    if (r < 0) {
      throw new DeviceException(
          "The device's kernel refuses " + name + "=" + value + ": " + Errno.name((int) -r) + ".");
    }
  }

  private int socket(int family) throws DeviceException {
    long fd =
        kernel.syscall(
            Canonical.SOCKET, family, Socket.SOCK_DGRAM | Socket.SOCK_CLOEXEC, 0, 0, 0, 0);
    if (fd < 0) {
      throw new DeviceException(
          "The device's kernel gives no socket: " + Errno.name((int) -fd) + ".");
    }
    return (int) fd;
  }

  private void close(int fd) {
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
  }

  /** Starts a {@code struct ifreq} for an interface. */
  private void request(String name) {
    scratch.asSlice(REQUEST, RTENTRY_BYTES).fill((byte) 0);
    text(REQUEST, name);
  }

  private int text(long at, String s) {
    scratch.setString(at, s, StandardCharsets.UTF_8);
    return s.length();
  }

  private void socketAddress(long at, byte[] address) {
    scratch.set(ValueLayout.JAVA_SHORT, at, (short) Socket.AF_INET);
    MemorySegment.copy(address, 0, scratch, ValueLayout.JAVA_BYTE, at + 4, address.length);
  }

  private void ioctl(int fd, int request, String what) throws DeviceException {
    long r = kernel.syscall(Canonical.IOCTL, fd, request, scratch.address() + REQUEST, 0, 0, 0);
    if (r < 0) {
      throw new DeviceException(
          "The device's kernel refuses " + what + ": " + Errno.name((int) -r) + ".");
    }
  }
}
