// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.NetInterface.IFF_NO_PI;
import static dev.outboard.abi.NetInterface.IFF_TAP;
import static dev.outboard.abi.NetInterface.IFF_VNET_HDR;
import static dev.outboard.abi.NetInterface.TUNSETIFF;
import static dev.outboard.abi.NetInterface.TUNSETOFFLOAD;
import static dev.outboard.abi.NetInterface.TUNSETVNETHDRSZ;
import static dev.outboard.abi.NetInterface.TUN_F_CSUM;
import static dev.outboard.abi.NetInterface.TUN_F_TSO4;
import static dev.outboard.abi.NetInterface.TUN_F_TSO6;
import static dev.outboard.abi.NetInterface.TUN_F_TSO_ECN;
import static dev.outboard.abi.NetInterface.TUN_F_USO4;
import static dev.outboard.abi.NetInterface.TUN_F_USO6;
import static dev.outboard.abi.Virtio.NET_F_CSUM;
import static dev.outboard.abi.Virtio.NET_F_GUEST_CSUM;
import static dev.outboard.abi.Virtio.NET_F_GUEST_ECN;
import static dev.outboard.abi.Virtio.NET_F_GUEST_TSO4;
import static dev.outboard.abi.Virtio.NET_F_GUEST_TSO6;
import static dev.outboard.abi.Virtio.NET_F_GUEST_USO4;
import static dev.outboard.abi.Virtio.NET_F_GUEST_USO6;
import static dev.outboard.abi.Virtio.NET_F_HOST_ECN;
import static dev.outboard.abi.Virtio.NET_F_HOST_TSO4;
import static dev.outboard.abi.Virtio.NET_F_HOST_TSO6;
import static dev.outboard.abi.Virtio.NET_F_HOST_USO;
import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static dev.outboard.abi.Virtio.bit;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.File;
import dev.outboard.abi.NetInterface;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;

/**
 * A TAP interface of the device's machine, with virtio's own headers, so that segments of up to 64
 * KiB and unfinished checksums cross it as they are: {@code Documentation/networking/tuntap.rst},
 * {@code drivers/net/tun.c}.
 *
 * <p>The interface lives as long as its descriptor, so it goes however this process ends, and its
 * address and routes with it. One that somebody made persistent before is used as it is found: an
 * address that it lacks is added, and taken away by {@link #close} (but not by a kill).
 */
final class TapBackend implements NetBackend {
  private static final String DEVICE = "/dev/net/tun";

  private static final long CHECKSUM_AND_TSO =
      bit(NET_F_CSUM)
          | bit(NET_F_GUEST_CSUM)
          | bit(NET_F_HOST_TSO4)
          | bit(NET_F_HOST_TSO6)
          | bit(NET_F_HOST_ECN)
          | bit(NET_F_GUEST_TSO4)
          | bit(NET_F_GUEST_TSO6)
          | bit(NET_F_GUEST_ECN);
  private static final long USO =
      bit(NET_F_HOST_USO) | bit(NET_F_GUEST_USO4) | bit(NET_F_GUEST_USO6);

  private final int fd;
  private final NetworkConfig config;
  private final long features;
  private final HostInterface host;
  private final List<InterfaceAddress> toRemove;

  private TapBackend(
      int fd,
      NetworkConfig config,
      long features,
      HostInterface host,
      List<InterfaceAddress> toRemove) {
    this.fd = fd;
    this.config = config;
    this.features = features;
    this.host = host;
    this.toRemove = toRemove;
  }

  /**
   * Opens, and if need be makes, the interface; gives the host's end its addresses and sets it up.
   *
   * @throws NetException if it is not permitted or not possible; nothing is left behind then
   */
  static TapBackend open(NetSpec.Tap spec, Resolver resolver) throws NetException {
    HostInterface host = new HostInterface(spec.name());
    boolean existed = host.index() >= 0;
    int fd;
    try (Arena arena = Arena.ofConfined()) {
      long r =
          Linux.open(
              Linux.cString(arena, DEVICE).address(),
              File.O_RDWR | File.O_CLOEXEC | File.O_NONBLOCK);
      if (r < 0) {
        throw new NetException(cannotOpen(r));
      }
      fd = (int) r;
    }
    try {
      attach(fd, spec.name());
      long features = probeOffloads(fd) ? CHECKSUM_AND_TSO | USO : CHECKSUM_AND_TSO;
      List<InterfaceAddress> toRemove = configure(host, spec, existed);
      return new TapBackend(fd, config(spec, resolver), features, host, toRemove);
    } catch (NetException e) {
      Linux.close(fd);
      throw e;
    }
  }

  private static String cannotOpen(long error) {
    return switch ((int) -error) {
      case Errno.ENOENT, Errno.ENODEV, Errno.ENXIO ->
          "cannot make a TAP: " + DEVICE + " is missing; load the module 'tun' (modprobe tun)";
      case Errno.EACCES, Errno.EPERM ->
          "not permitted to open " + DEVICE + "; run as root, or use --net passt";
      default -> "cannot open " + DEVICE + ": " + Errno.name((int) -error);
    };
  }

  private static void attach(int fd, String name) throws NetException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment request = arena.allocate(NetInterface.IFREQ_BYTES, 8);
      HostInterface.putName(request, name);
      request.set(
          JAVA_SHORT, NetInterface.IFREQ_UNION, (short) (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR));
      long r = Linux.ioctl(fd, TUNSETIFF, request.address());
      if (r < 0) {
        throw new NetException(
            switch ((int) -r) {
              case Errno.EPERM ->
                  "not permitted to make the TAP "
                      + name
                      + "; run as root or with CAP_NET_ADMIN, have an administrator make it (ip tuntap"
                      + " add "
                      + name
                      + " mode tap vnet_hdr user $USER), or use --net passt";
              case Errno.EBUSY ->
                  "the TAP " + name + " is used by another process; choose another name";
              case Errno.EINVAL ->
                  "there is an interface " + name + " that is not a TAP; choose another name";
              default -> "cannot make the TAP " + name + ": " + Errno.name((int) -r);
            });
      }
      MemorySegment bytes = arena.allocate(JAVA_INT);
      bytes.set(JAVA_INT, 0, NET_HEADER_BYTES);
      r = Linux.ioctl(fd, TUNSETVNETHDRSZ, bytes.address());
      if (r < 0) {
        throw new NetException(
            "the TAP " + name + " does not take virtio's headers: " + Errno.name((int) -r));
      }
    }
  }

  /** Whether UDP segments can cross too (Linux 6.2). Leaves the TAP without offloads. */
  private static boolean probeOffloads(int fd) {
    boolean uso = Linux.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;
    // What it hands to a driver that has not agreed yet must be finished packets.
    Linux.ioctl(fd, TUNSETOFFLOAD, 0);
    return uso;
  }

  private static List<InterfaceAddress> configure(
      HostInterface host, NetSpec.Tap spec, boolean existed) throws NetException {
    List<InterfaceAddress> toRemove = new ArrayList<>();
    check("set the MTU of the TAP " + spec.name() + " to " + spec.mtu(), host.setMtu(spec.mtu()));
    addAddress(host, spec, spec.address(), spec.gateway(), existed, toRemove);
    InterfaceAddress address6 = spec.address6();
    InetAddress gateway6 = spec.gateway6();
    if (address6 != null && gateway6 != null) {
      addAddress(host, spec, address6, gateway6, existed, toRemove);
    }
    check("set the TAP " + spec.name() + " up", host.setUp());
    return toRemove;
  }

  private static void addAddress(
      HostInterface host,
      NetSpec.Tap spec,
      InterfaceAddress device,
      InetAddress gateway,
      boolean existed,
      List<InterfaceAddress> toRemove)
      throws NetException {
    if (existed && host.hasAddress(gateway)) {
      return;
    }
    InterfaceAddress address = new InterfaceAddress(gateway, device.prefixBits());
    check("give the TAP " + spec.name() + " the address " + address, host.addAddress(address));
    if (existed) {
      toRemove.add(address);
    }
  }

  private static void check(String what, long result) throws NetException {
    if (result == -Errno.EPERM) {
      // A TAP that an administrator made for this user, who may open it, but not change it.
      throw new NetException(
          "not permitted to " + what + "; have an administrator do it, or use --net passt");
    }
    if (result < 0) {
      throw new NetException("cannot " + what + ": " + Errno.name((int) -result));
    }
  }

  private static NetworkConfig config(NetSpec.Tap spec, Resolver resolver) {
    List<InterfaceAddress> addresses = new ArrayList<>(List.of(spec.address()));
    List<InetAddress> gateways = new ArrayList<>(List.of(spec.gateway()));
    InterfaceAddress address6 = spec.address6();
    InetAddress gateway6 = spec.gateway6();
    if (address6 != null && gateway6 != null) {
      addresses.add(address6);
      gateways.add(gateway6);
    }
    MacAddress mac = spec.mac();
    return new NetworkConfig(
        mac == null ? MacAddress.random() : mac,
        spec.mtu(),
        addresses,
        gateways,
        resolver.nameservers(),
        resolver.searchDomains(),
        resolver.notices());
  }

  @Override
  public NetworkConfig config() {
    return config;
  }

  @Override
  public long features() {
    return features;
  }

  @Override
  public void accept(long accepted) {
    long flags = 0;
    if ((accepted & bit(NET_F_GUEST_CSUM)) != 0) {
      flags |= TUN_F_CSUM;
      flags |= (accepted & bit(NET_F_GUEST_TSO4)) != 0 ? TUN_F_TSO4 : 0;
      flags |= (accepted & bit(NET_F_GUEST_TSO6)) != 0 ? TUN_F_TSO6 : 0;
      flags |= (accepted & bit(NET_F_GUEST_ECN)) != 0 ? TUN_F_TSO_ECN : 0;
      long uso = bit(NET_F_GUEST_USO4) | bit(NET_F_GUEST_USO6);
      flags |= (accepted & uso) == uso ? TUN_F_USO4 | TUN_F_USO6 : 0;
    }
    // A refusal leaves finished packets, which are right for any driver.
    Linux.ioctl(fd, TUNSETOFFLOAD, flags);
  }

  @Override
  public int descriptor() {
    return fd;
  }

  @Override
  public long receive(IoVectors vectors) {
    return Linux.readv(fd, vectors.address(), Math.min(vectors.count(), IoVectors.CALL_LIMIT));
  }

  @Override
  public long transmit(IoVectors vectors) {
    return Linux.writev(fd, vectors.address(), vectors.count());
  }

  @Override
  public int largestFrame() {
    // The largest IP packet, an Ethernet header with a VLAN tag, and virtio's header.
    return 65535 + 18 + NET_HEADER_BYTES;
  }

  @Override
  public String epitaph() {
    return "the TAP was removed";
  }

  @Override
  public void close() {
    for (InterfaceAddress address : toRemove) {
      host.removeAddress(address);
    }
    Linux.close(fd);
  }
}
