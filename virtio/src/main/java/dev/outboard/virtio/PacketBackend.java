// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

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
import dev.outboard.abi.PacketSocket;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * An interface of the device's machine through a packet socket with virtio's headers ({@code
 * packet(7)}, {@code net/packet/af_packet.c}): one end of a veth pair, or a network card.
 *
 * <p>The card has an address of its own and the interface takes frames for any, so that the
 * machine's own network does not answer for the device. Unfinished checksums and segments come in
 * whether they are wanted or not, so the driver must take them.
 */
final class PacketBackend implements NetBackend {
  private static final long INCOMING =
      bit(NET_F_GUEST_CSUM)
          | bit(NET_F_GUEST_TSO4)
          | bit(NET_F_GUEST_TSO6)
          | bit(NET_F_GUEST_ECN)
          | bit(NET_F_GUEST_USO4)
          | bit(NET_F_GUEST_USO6);
  private static final long OUTGOING =
      bit(NET_F_CSUM)
          | bit(NET_F_HOST_TSO4)
          | bit(NET_F_HOST_TSO6)
          | bit(NET_F_HOST_ECN)
          | bit(NET_F_HOST_USO);

  /** Nobody waits for room in this buffer, so it holds a round trip's worth of segments. */
  private static final int BUFFER_BYTES = 16 << 20;

  /** Times, and milliseconds each, that a removal may take after the interface went down. */
  private static final int REMOVAL_LOOKS = 25;

  private static final int REMOVAL_MILLIS = 20;

  private final int fd;
  private final HostInterface host;
  private final long index;
  private final NetworkConfig config;
  private final Arena arena = Arena.ofShared();

  // Where the kernel's header is shorter than the device's (before Linux 6.6), else null.
  private final @Nullable IoVectors splitIn;
  private final @Nullable IoVectors splitOut;

  private PacketBackend(
      int fd, HostInterface host, long index, NetworkConfig config, boolean shortHeader) {
    this.fd = fd;
    this.host = host;
    this.index = index;
    this.config = config;
    this.splitIn = shortHeader ? new IoVectors(arena, IoVectors.CALL_LIMIT) : null;
    this.splitOut = shortHeader ? new IoVectors(arena, IoVectors.CALL_LIMIT) : null;
  }

  /**
   * Takes the interface's frames and sets it up; with the socket that ends.
   *
   * @throws NetException if it is not there or not permitted
   */
  static PacketBackend open(NetSpec.Link spec, Resolver resolver) throws NetException {
    return open(spec, resolver, false);
  }

  /**
   * @param shortHeader whether to do without the header's full length, as before Linux 6.6
   */
  static PacketBackend open(NetSpec.Link spec, Resolver resolver, boolean shortHeader)
      throws NetException {
    HostInterface host = HostInterface.present(spec.name());
    long index = host.index();
    long mtu = spec.mtu() == 0 ? host.mtu() : spec.mtu();
    NetException.check("read the MTU of " + spec.name(), mtu);
    NetException.check("set " + spec.name() + " up", host.setUp());
    // Bound before it hears anything: without a protocol nothing comes.
    long r =
        Linux.socket(
            Socket.AF_PACKET, Socket.SOCK_RAW | Socket.SOCK_NONBLOCK | Socket.SOCK_CLOEXEC, 0);
    NetException.check("make a packet socket (CAP_NET_RAW)", r);
    int fd = (int) r;
    try {
      boolean split = configure(fd, (int) index, shortHeader);
      MacAddress mac = spec.mac();
      NetworkConfig config =
          NetworkConfig.of(spec, mac == null ? MacAddress.random() : mac, (int) mtu, resolver);
      return new PacketBackend(fd, host, index, config, split);
    } catch (NetException e) {
      Linux.close(fd);
      throw e;
    }
  }

  /** Whether the header is the short one. */
  private static boolean configure(int fd, int index, boolean shortHeader) throws NetException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(JAVA_INT);
      boolean split =
          shortHeader || option(fd, PacketSocket.VNET_HDR_SZ, value, NET_HEADER_BYTES) < 0;
      if (split) {
        NetException.check(
            "exchange virtio's headers with a packet socket",
            option(fd, PacketSocket.VNET_HDR, value, 1));
      }
      NetException.check(
          "leave out what this machine sends (Linux 4.20)",
          option(fd, PacketSocket.IGNORE_OUTGOING, value, 1));
      value.set(JAVA_INT, 0, BUFFER_BYTES);
      // A refusal leaves smaller ones, with which it works, but slower.
      Linux.setsockopt(fd, Socket.SOL_SOCKET, Socket.SO_RCVBUFFORCE, value.address(), 4);
      Linux.setsockopt(fd, Socket.SOL_SOCKET, Socket.SO_SNDBUFFORCE, value.address(), 4);

      MemorySegment address = arena.allocate(PacketSocket.ADDRESS_BYTES, 8);
      address.set(JAVA_SHORT, 0, (short) Socket.AF_PACKET);
      address.set(
          JAVA_SHORT,
          PacketSocket.ADDRESS_PROTOCOL,
          Short.reverseBytes((short) PacketSocket.ETH_P_ALL));
      address.set(JAVA_INT, PacketSocket.ADDRESS_INDEX, index);
      NetException.check(
          "bind a packet socket", Linux.bind(fd, address.address(), PacketSocket.ADDRESS_BYTES));

      MemorySegment membership = arena.allocate(PacketSocket.MREQ_BYTES, 8);
      membership.set(JAVA_INT, 0, index);
      membership.set(JAVA_SHORT, PacketSocket.MREQ_TYPE, (short) PacketSocket.MR_PROMISC);
      NetException.check(
          "take the frames for any address",
          Linux.setsockopt(
              fd,
              PacketSocket.SOL_PACKET,
              PacketSocket.ADD_MEMBERSHIP,
              membership.address(),
              PacketSocket.MREQ_BYTES));
      return split;
    }
  }

  private static long option(int fd, int name, MemorySegment value, int setting) {
    value.set(JAVA_INT, 0, setting);
    return Linux.setsockopt(fd, PacketSocket.SOL_PACKET, name, value.address(), 4);
  }

  @Override
  public NetworkConfig config() {
    return config;
  }

  @Override
  public long features() {
    return INCOMING | OUTGOING;
  }

  @Override
  public long needed() {
    return INCOMING;
  }

  @Override
  public void accept(long features) {
    // What comes in is in features that are needed; what goes out says itself what it is.
  }

  @Override
  public int descriptor() {
    return fd;
  }

  @Override
  public long receive(IoVectors vectors) {
    long n;
    if (splitIn == null) {
      n = Linux.readv(fd, vectors.address(), Math.min(vectors.count(), IoVectors.CALL_LIMIT));
    } else {
      leaveOut(vectors, splitIn);
      n = Linux.readv(fd, splitIn.address(), splitIn.count());
      n += n > 0 ? NET_HEADER_BYTES - PacketSocket.VNET_HDR_BYTES : 0;
    }
    return n == -Errno.ENETDOWN && !isRemoved() ? AGAIN : n;
  }

  @Override
  public long transmit(IoVectors vectors) {
    if (splitOut == null) {
      return Linux.writev(fd, vectors.address(), vectors.count());
    }
    leaveOut(vectors, splitOut);
    return Linux.writev(fd, splitOut.address(), splitOut.count());
  }

  /** The same memory without those bytes of the header which the kernel does not know. */
  private static void leaveOut(IoVectors vectors, IoVectors to) {
    to.clear();
    long at = 0;
    for (int i = 0; i < vectors.count() && to.room() >= 2; i++) {
      long base = vectors.base(i);
      long length = vectors.length(i);
      long before = Math.clamp(PacketSocket.VNET_HDR_BYTES - at, 0, length);
      if (before > 0) {
        to.add(base, before);
      }
      long after = Math.clamp(NET_HEADER_BYTES - at, 0, length);
      if (after < length) {
        to.add(base + after, length - after);
      }
      at += length;
    }
  }

  /** After the interface went down, which is also the first step of its removal. */
  private boolean isRemoved() {
    for (int i = 0; i < REMOVAL_LOOKS; i++) {
      if (host.index() != index) {
        return true;
      }
      if (host.isUp()) {
        return false;
      }
      // Nothing can come in meanwhile.
      Linux.poll(0, 0, REMOVAL_MILLIS);
    }
    return false;
  }

  @Override
  public int largestReceived() {
    return BigTcp.LARGEST_RECEIVED;
  }

  @Override
  public int largestSent() {
    return BigTcp.largestFrame();
  }

  @Override
  public boolean splitsJumbo() {
    return true;
  }

  @Override
  public String epitaph() {
    return "the interface was removed";
  }

  @Override
  public void close() {
    Linux.close(fd);
    arena.close();
  }
}
