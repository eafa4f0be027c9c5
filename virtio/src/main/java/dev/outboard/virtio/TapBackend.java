// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.NetInterface.IFF_NO_PI;
import static dev.outboard.abi.NetInterface.IFF_TAP;
import static dev.outboard.abi.NetInterface.IFF_VNET_HDR;
import static dev.outboard.abi.NetInterface.TUNGETIFF;
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
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.NetInterface;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A TAP or macvtap interface of the device's machine, with virtio's own headers, so that segments
 * of up to 64 KiB and unfinished checksums cross it as they are: {@code
 * Documentation/networking/tuntap.rst}, {@code drivers/net/tun.c}.
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

  /** A macvtap's end wakes nobody. */
  private final boolean macvtap;

  private final MemorySegment request = Arena.ofAuto().allocate(NetInterface.IFREQ_BYTES, 8);

  private TapBackend(
      boolean macvtap,
      int fd,
      NetworkConfig config,
      long features,
      HostInterface host,
      List<InterfaceAddress> toRemove) {
    this.macvtap = macvtap;
    this.fd = fd;
    this.config = config;
    this.features = features;
    this.host = host;
    this.toRemove = toRemove;
  }

  /**
   * Opens, and if need be makes, a TAP; gives the host's end its addresses and sets it up.
   *
   * @throws NetException if it is not permitted or not possible; nothing is left behind then
   */
  static TapBackend open(NetSpec.Link spec, Resolver resolver) throws NetException {
    HostInterface host = new HostInterface(spec.name());
    boolean existed = host.index() >= 0;
    long r = openFile(DEVICE);
    if (r < 0) {
      throw new NetException(cannotOpen(r));
    }
    int fd = (int) r;
    try {
      attach(fd, spec.name());
      long features = spec.offload() ? offloads(fd) : 0;
      List<InterfaceAddress> toRemove = configure(host, spec, existed);
      MacAddress mac = spec.mac();
      NetworkConfig config =
          NetworkConfig.of(spec, mac == null ? MacAddress.random() : mac, spec.mtu(), resolver);
      return new TapBackend(false, fd, config, features, host, toRemove);
    } catch (NetException e) {
      Linux.close(fd);
      throw e;
    }
  }

  /**
   * Opens a macvtap: an interface on top of another one, with an address of its own, which an
   * administrator has made and which stays. Its file is {@code /dev/tapN}, N its index ({@code
   * drivers/net/macvtap.c}); who may open it needs no privilege.
   *
   * @throws NetException if it is not there or not permitted
   */
  static TapBackend openMacvtap(NetSpec.Link spec, Resolver resolver) throws NetException {
    HostInterface host = new HostInterface(spec.name());
    long index = host.index();
    if (index < 0) {
      throw new NetException(
          "there is no interface "
              + spec.name()
              + "; make it by: ip link add link LOWER name "
              + spec.name()
              + " type macvtap mode bridge");
    }
    String file = "/dev/tap" + index;
    long r = openFile(file);
    if (r < 0) {
      throw new NetException(
          switch ((int) -r) {
            case Errno.ENOENT, Errno.ENXIO ->
                file
                    + " is missing: "
                    + spec.name()
                    + " is not a macvtap, or not in this namespace";
            case Errno.EACCES, Errno.EPERM -> "not permitted to open " + file + "; run as root";
            case Errno.EBUSY -> "the macvtap " + spec.name() + " is used by another process";
            default -> "cannot open " + file + ": " + Errno.name((int) -r);
          });
    }
    int fd = (int) r;
    try {
      attach(fd, spec.name());
      // The interface below leads frames to this address alone.
      MacAddress mac = host.hardwareAddress();
      if (mac == null) {
        throw new NetException("the interface " + spec.name() + " is no Ethernet");
      }
      long mtu = spec.mtu() == 0 ? host.mtu() : spec.mtu();
      check("read the MTU of " + spec.name(), mtu);
      check("set " + spec.name() + " up", host.setUp());
      NetworkConfig config = NetworkConfig.of(spec, mac, (int) mtu, resolver);
      return new TapBackend(true, fd, config, spec.offload() ? offloads(fd) : 0, host, List.of());
    } catch (NetException e) {
      Linux.close(fd);
      throw e;
    }
  }

  private static long openFile(String path) {
    try (Arena arena = Arena.ofConfined()) {
      return Linux.open(
          Linux.cString(arena, path).address(), Fcntl.O_RDWR | Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK);
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

  /** What can cross; UDP segments since Linux 6.2. Leaves the TAP without offloads. */
  private static long offloads(int fd) {
    boolean uso = Linux.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;
    // What it hands to a driver that has not agreed yet must be finished packets.
    Linux.ioctl(fd, TUNSETOFFLOAD, 0);
    return uso ? CHECKSUM_AND_TSO | USO : CHECKSUM_AND_TSO;
  }

  private static List<InterfaceAddress> configure(
      HostInterface host, NetSpec.Link spec, boolean existed) throws NetException {
    List<InterfaceAddress> toRemove = new ArrayList<>();
    check("set the MTU of the TAP " + spec.name() + " to " + spec.mtu(), host.setMtu(spec.mtu()));
    addAddress(host, spec, spec.address(), spec.gateway(), existed, toRemove);
    addAddress(host, spec, spec.address6(), spec.gateway6(), existed, toRemove);
    check("set the TAP " + spec.name() + " up", host.setUp());
    return toRemove;
  }

  private static void addAddress(
      HostInterface host,
      NetSpec.Link spec,
      @Nullable InterfaceAddress device,
      @Nullable InetAddress gateway,
      boolean existed,
      List<InterfaceAddress> toRemove)
      throws NetException {
    if (device == null || gateway == null || (existed && host.hasAddress(gateway))) {
      return;
    }
    InterfaceAddress address = new InterfaceAddress(gateway, device.prefixBits());
    check(
        "give the TAP " + spec.name() + " the address " + address,
        host.addAddress(address, !existed));
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
  public int largestReceived() {
    return (features & CHECKSUM_AND_TSO) == 0 ? LARGEST_FRAME : BigTcp.LARGEST_RECEIVED;
  }

  @Override
  public int largestSent() {
    return (features & CHECKSUM_AND_TSO) == 0 ? LARGEST_FRAME : BigTcp.largestFrame();
  }

  @Override
  public boolean splitsJumbo() {
    // A macvtap's segments are checked by the interface below; a TAP's go to this machine at once.
    return macvtap;
  }

  @Override
  public int lookMillis() {
    return macvtap ? 1000 : -1;
  }

  @Override
  public boolean isThere() {
    return Linux.ioctl(fd, TUNGETIFF, request.address()) != -Errno.ENOLINK;
  }

  @Override
  public String epitaph() {
    return macvtap ? "the macvtap was removed" : "the TAP was removed";
  }

  @Override
  public void close() {
    for (InterfaceAddress address : toRemove) {
      host.removeAddress(address);
    }
    Linux.close(fd);
  }
}
