// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * An interface of the device's machine through an AF_XDP socket ({@code
 * Documentation/networking/af_xdp.rst}), in the generic mode that every interface has.
 *
 * <p>The kernel puts frames into memory that is registered once, behind room for itself; the
 * driver's buffers lie where it likes, so each frame is copied between the two. There are no
 * checksums and no segmentation: one frame is one packet.
 *
 * <p>All frames of the interface are the device's, by a BPF program that goes with this process:
 * the machine sees none of them.
 */
final class XdpBackend implements NetBackend {
  /** Bytes of one frame's place, and of the frame itself. */
  private static final int CHUNK_BYTES = 4096;

  private static final int FRAME_BYTES = CHUNK_BYTES - Xdp.PACKET_HEADROOM;
  private static final int MAX_MTU = FRAME_BYTES - 18;

  /** Entries of each of the four rings, a power of two; as many frames each way. */
  private static final int ENTRIES = 1024;

  private static final long UMEM_BYTES = 2L * ENTRIES * CHUNK_BYTES;

  /** The driver's buffers, whose addresses have been checked by {@link VirtQueue}. */
  private static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  private final Socketed socket;
  private final NetworkConfig config;

  // Chunks that no ring has, for transmission; a stack.
  private final long[] free = new long[ENTRIES];
  private int freeCount;

  private XdpBackend(Socketed socket, NetworkConfig config) {
    this.socket = socket;
    this.config = config;
    for (int i = 0; i < ENTRIES; i++) {
      socket.fill.put(JAVA_LONG, i, (long) i * CHUNK_BYTES);
      free[freeCount++] = (long) (ENTRIES + i) * CHUNK_BYTES;
    }
    socket.fill.produce(ENTRIES);
  }

  /**
   * Takes the interface's frames and sets it up; when the socket is gone, so is all of it.
   *
   * @throws NetException if it is not there, not permitted or not possible
   */
  static XdpBackend open(NetSpec.Link spec, Resolver resolver) throws NetException {
    HostInterface host = HostInterface.present(spec.name());
    long index = host.index();
    long mtu = spec.mtu() == 0 ? host.mtu() : spec.mtu();
    NetException.check("read the MTU of " + spec.name(), mtu);
    if (mtu > MAX_MTU) {
      throw new NetException(
          "--net xdp carries frames up to an MTU of "
              + MAX_MTU
              + "; give mtu= or lower "
              + spec.name()
              + "'s");
    }
    oneQueue(spec.name());
    MacAddress mac = spec.mac() == null ? host.hardwareAddress() : spec.mac();
    if (mac == null) {
      throw new NetException("the interface " + spec.name() + " is no Ethernet");
    }
    NetException.check("set " + spec.name() + " up", host.setUp());
    NetworkConfig config = NetworkConfig.of(spec, mac, (int) mtu, resolver);
    return new XdpBackend(Socketed.open((int) index, spec.name()), config);
  }

  /** A socket has the frames of one receive queue; those of others would go to the machine. */
  private static void oneQueue(String name) throws NetException {
    int queues = 0;
    try (DirectoryStream<Path> found =
        Files.newDirectoryStream(Path.of("/sys/class/net", name, "queues"), "rx-*")) {
      for (Path ignored : found) {
        queues++;
      }
    } catch (IOException e) {
      // No sysfs in this namespace: nothing to be told by.
      return;
    }
    if (queues > 1) {
      throw new NetException(
          name + " has " + queues + " receive queues; run: ethtool -L " + name + " combined 1");
    }
  }

  @Override
  public NetworkConfig config() {
    return config;
  }

  @Override
  public long features() {
    return 0;
  }

  @Override
  public void accept(long features) {
    // There is nothing to choose.
  }

  @Override
  public int descriptor() {
    return socket.fd;
  }

  @Override
  public int lookMillis() {
    // The end of the interface wakes nobody who waits for frames.
    return 1000;
  }

  @Override
  public boolean isThere() {
    // Frames do not come this way; but it says whether the socket is still bound.
    return Linux.recv(socket.fd, 0, 0, Socket.MSG_DONTWAIT) != -Errno.ENXIO;
  }

  @Override
  public long receive(IoVectors vectors) {
    Ring ring = socket.receive;
    if (ring.available() == 0) {
      return AGAIN;
    }
    long at = ring.at(ring.consumer);
    long chunk = ring.memory.get(JAVA_LONG, at);
    int length = ring.memory.get(JAVA_INT, at + Xdp.DESC_LENGTH);
    copyIn(vectors, socket.umem, chunk, length);
    ring.consume(1);
    // As many entries as chunks: there is always room for the one that came.
    socket.fill.put(JAVA_LONG, 0, chunk & -CHUNK_BYTES);
    socket.fill.produce(1);
    return (long) NET_HEADER_BYTES + length;
  }

  /** An empty header, which says that there is nothing to say, and the frame. */
  private static void copyIn(IoVectors to, MemorySegment umem, long from, int length) {
    long at = -NET_HEADER_BYTES;
    for (int i = 0; at < length; i++) {
      long base = to.base(i);
      long room = to.length(i);
      long header = Math.clamp(-at, 0, room);
      for (long k = 0; k < header; k++) {
        MEMORY.set(ValueLayout.JAVA_BYTE, base + k, (byte) 0);
      }
      at += header;
      long part = Math.min(room - header, length - at);
      if (part > 0) {
        MemorySegment.copy(umem, from + at, MEMORY, base + header, part);
        at += part;
      }
    }
  }

  @Override
  public long transmit(IoVectors vectors) {
    reclaim();
    if (freeCount == 0) {
      return AGAIN;
    }
    long chunk = free[--freeCount];
    int length = 0;
    long skip = NET_HEADER_BYTES;
    for (int i = 0; i < vectors.count(); i++) {
      long skipped = Math.min(skip, vectors.length(i));
      long part = vectors.length(i) - skipped;
      MemorySegment.copy(MEMORY, vectors.base(i) + skipped, socket.umem, chunk + length, part);
      skip -= skipped;
      length += (int) part;
    }
    Ring ring = socket.transmit;
    long at = ring.at(ring.producer);
    ring.memory.set(JAVA_LONG, at, chunk);
    ring.memory.set(JAVA_LONG, at + Xdp.DESC_LENGTH, length);
    ring.produce(1);
    return (long) NET_HEADER_BYTES + length;
  }

  private void reclaim() {
    Ring ring = socket.completion;
    int n = ring.available();
    for (int i = 0; i < n; i++) {
      free[freeCount++] = ring.memory.get(JAVA_LONG, ring.at(ring.consumer + i));
    }
    ring.consume(n);
  }

  @Override
  public boolean flush() {
    // The kernel sends some at a time, and only when it is called.
    for (int left = socket.transmit.pending(); left > 0; ) {
      long r = Linux.send(socket.fd, 0, 0, Socket.MSG_DONTWAIT);
      int now = socket.transmit.pending();
      if (now == left) {
        // It has no room (or no interface, when nothing will be sent any more).
        return r != -Errno.EAGAIN && r != -Errno.EBUSY && r != -Errno.ENOBUFS;
      }
      left = now;
    }
    return true;
  }

  @Override
  public int largestReceived() {
    return FRAME_BYTES + NET_HEADER_BYTES;
  }

  @Override
  public int largestSent() {
    return FRAME_BYTES + NET_HEADER_BYTES;
  }

  @Override
  public String epitaph() {
    return "the interface was removed";
  }

  @Override
  public void close() {
    socket.close();
  }

  /** The socket, its memory and rings, and the program that leads the frames to it. */
  private static final class Socketed implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final int[] descriptors = new int[4];
    private final long[] mappings = new long[5];
    private final long[] lengths = new long[5];
    private int opened;
    private int mapped;

    int fd;
    MemorySegment umem = MemorySegment.NULL;
    Ring receive = Ring.NONE;
    Ring transmit = Ring.NONE;
    Ring fill = Ring.NONE;
    Ring completion = Ring.NONE;

    static Socketed open(int index, String name) throws NetException {
      Socketed s = new Socketed();
      try {
        s.socket(index, name);
        s.program(index, name);
        return s;
      } catch (NetException e) {
        s.close();
        throw e;
      }
    }

    private int keep(String what, long descriptor) throws NetException {
      NetException.check(what, descriptor);
      descriptors[opened++] = (int) descriptor;
      return (int) descriptor;
    }

    private MemorySegment map(String what, long bytes, int flags, int of, long offset)
        throws NetException {
      long r = Linux.mmap(0, bytes, Memory.PROT_READ | Memory.PROT_WRITE, flags, of, offset);
      NetException.check(what, r);
      mappings[mapped] = r;
      lengths[mapped++] = bytes;
      return Linux.at(r, bytes);
    }

    private void socket(int index, String name) throws NetException {
      fd =
          keep(
              "make an AF_XDP socket (CAP_NET_RAW)",
              Linux.socket(Xdp.AF_XDP, Socket.SOCK_RAW | Socket.SOCK_CLOEXEC, 0));
      umem =
          map(
              "have memory for frames",
              UMEM_BYTES,
              Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS,
              -1,
              0);
      MemorySegment region = arena.allocate(Xdp.UMEM_REG_BYTES, 8);
      region.set(JAVA_LONG, 0, umem.address());
      region.set(JAVA_LONG, 8, UMEM_BYTES);
      region.set(JAVA_INT, Xdp.UMEM_REG_CHUNK, CHUNK_BYTES);
      option("register memory for frames", Xdp.UMEM_REG, region);
      MemorySegment entries = arena.allocateFrom(JAVA_INT, ENTRIES);
      for (int ring :
          new int[] {Xdp.RX_RING, Xdp.TX_RING, Xdp.UMEM_FILL_RING, Xdp.UMEM_COMPLETION_RING}) {
        option("make a ring of an AF_XDP socket", ring, entries);
      }
      MemorySegment offsets = arena.allocate(Xdp.MMAP_OFFSETS_BYTES, 8);
      MemorySegment length = arena.allocateFrom(JAVA_INT, Xdp.MMAP_OFFSETS_BYTES);
      NetException.check(
          "find the rings of an AF_XDP socket",
          Linux.getsockopt(fd, Xdp.SOL_XDP, Xdp.MMAP_OFFSETS, offsets.address(), length.address()));
      receive = ring(offsets, 0, Xdp.PGOFF_RX_RING, Xdp.DESC_BYTES);
      transmit = ring(offsets, 1, Xdp.PGOFF_TX_RING, Xdp.DESC_BYTES);
      fill = ring(offsets, 2, Xdp.PGOFF_FILL_RING, Long.BYTES);
      completion = ring(offsets, 3, Xdp.PGOFF_COMPLETION_RING, Long.BYTES);

      MemorySegment address = arena.allocate(Xdp.ADDRESS_BYTES, 8);
      address.set(JAVA_SHORT, 0, (short) Xdp.AF_XDP);
      address.set(JAVA_SHORT, Xdp.ADDRESS_FLAGS, (short) Xdp.COPY);
      address.set(JAVA_INT, Xdp.ADDRESS_INDEX, index);
      NetException.check(
          "bind an AF_XDP socket to " + name, Linux.bind(fd, address.address(), Xdp.ADDRESS_BYTES));
    }

    private void option(String what, int name, MemorySegment value) throws NetException {
      NetException.check(
          what, Linux.setsockopt(fd, Xdp.SOL_XDP, name, value.address(), (int) value.byteSize()));
    }

    private Ring ring(MemorySegment offsets, int which, long pageOffset, int entryBytes)
        throws NetException {
      long at = (long) which * Xdp.RING_OFFSET_BYTES;
      long entries = offsets.get(JAVA_LONG, at + 16);
      MemorySegment memory =
          map(
              "map a ring of an AF_XDP socket",
              entries + (long) ENTRIES * entryBytes,
              Memory.MAP_SHARED,
              fd,
              pageOffset);
      return new Ring(
          memory, offsets.get(JAVA_LONG, at), offsets.get(JAVA_LONG, at + 8), entries, entryBytes);
    }

    /** {@code return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS)}. */
    private void program(int index, String name) throws NetException {
      MemorySegment attributes = arena.allocate(128, 8);
      int[] map = {Xdp.MAP_TYPE_XSKMAP, 4, 4, 1};
      MemorySegment.copy(map, 0, attributes, JAVA_INT, 0, map.length);
      int mapFd = keep("make a BPF map (CAP_BPF)", bpf(Xdp.MAP_CREATE, attributes));

      MemorySegment key = arena.allocate(JAVA_INT);
      MemorySegment value = arena.allocateFrom(JAVA_INT, fd);
      attributes.fill((byte) 0);
      attributes.set(JAVA_INT, 0, mapFd);
      attributes.set(JAVA_LONG, 8, key.address());
      attributes.set(JAVA_LONG, 16, value.address());
      NetException.check("enter a socket into a BPF map", bpf(Xdp.MAP_UPDATE_ELEM, attributes));

      MemorySegment code = arena.allocate(6 * 8, 8);
      instruction(code, 0, 0x61, 2, 1, Xdp.MD_RX_QUEUE_INDEX, 0); // r2 = *(u32 *)(r1 + index)
      instruction(code, 1, 0x18, 1, Xdp.PSEUDO_MAP_FD, 0, mapFd); // r1 = map, in two
      instruction(code, 3, 0xb7, 3, 0, 0, Xdp.ACTION_PASS); // r3 = XDP_PASS
      instruction(code, 4, 0x85, 0, 0, 0, Xdp.FUNC_REDIRECT_MAP); // call
      instruction(code, 5, 0x95, 0, 0, 0, 0); // exit
      MemorySegment licence = Linux.cString(arena, "MIT");
      attributes.fill((byte) 0);
      attributes.set(JAVA_INT, 0, Xdp.PROG_TYPE_XDP);
      attributes.set(JAVA_INT, 4, 6);
      attributes.set(JAVA_LONG, 8, code.address());
      attributes.set(JAVA_LONG, 16, licence.address());
      int program =
          keep("load an XDP program (CAP_BPF and CAP_NET_ADMIN)", bpf(Xdp.PROG_LOAD, attributes));

      attributes.fill((byte) 0);
      int[] link = {program, index, Xdp.ATTACH_XDP, Xdp.FLAGS_SKB_MODE};
      MemorySegment.copy(link, 0, attributes, JAVA_INT, 0, link.length);
      keep("attach an XDP program to " + name, bpf(Xdp.LINK_CREATE, attributes));
    }

    private static void instruction(
        MemorySegment code, int at, int operation, int to, int from, int offset, int immediate) {
      code.set(ValueLayout.JAVA_BYTE, at * 8L, (byte) operation);
      code.set(ValueLayout.JAVA_BYTE, at * 8L + 1, (byte) (to | from << 4));
      code.set(JAVA_SHORT, at * 8L + 2, (short) offset);
      code.set(JAVA_INT, at * 8L + 4, immediate);
    }

    private static long bpf(int command, MemorySegment attributes) {
      return Linux.syscall(Xdp.BPF, command, attributes.address(), attributes.byteSize());
    }

    @Override
    public void close() {
      // The attachment first: no frame is led to a socket that is going.
      while (opened > 0) {
        Linux.close(descriptors[--opened]);
      }
      while (mapped > 0) {
        mapped--;
        Linux.munmap(mappings[mapped], lengths[mapped]);
      }
      arena.close();
    }
  }

  /**
   * A ring of one producer and one consumer, one of which is the kernel. One thread of ours; the
   * partners of the ordered accesses are in {@code net/xdp/xsk_queue.h}.
   */
  private static final class Ring {
    static final Ring NONE = new Ring(MemorySegment.NULL, 0, 0, 0, 0);

    private static final VarHandle INT = JAVA_INT.varHandle().withInvokeExactBehavior();

    final MemorySegment memory;
    private final long producerAt;
    private final long consumerAt;
    private final long entriesAt;
    private final int entryBytes;

    /** The side that is ours, of which the other one has seen no more than this. */
    int producer;

    int consumer;

    Ring(MemorySegment memory, long producerAt, long consumerAt, long entriesAt, int entryBytes) {
      this.memory = memory;
      this.producerAt = producerAt;
      this.consumerAt = consumerAt;
      this.entriesAt = entriesAt;
      this.entryBytes = entryBytes;
    }

    long at(int index) {
      return entriesAt + (long) (index & (ENTRIES - 1)) * entryBytes;
    }

    /** Writes the entry {@code ahead} of the ones produced. */
    void put(ValueLayout.OfLong layout, int ahead, long value) {
      memory.set(layout, at(producer + ahead), value);
    }

    /** Shows the kernel {@code n} more entries. */
    void produce(int n) {
      producer += n;
      INT.setRelease(memory, producerAt, producer);
    }

    /** Entries that the kernel has produced. */
    int available() {
      return (int) INT.getAcquire(memory, producerAt) - consumer;
    }

    /** Gives the kernel {@code n} entries back. */
    void consume(int n) {
      consumer += n;
      INT.setRelease(memory, consumerAt, consumer);
    }

    /** Entries that were produced and that the kernel has not consumed. */
    int pending() {
      return producer - (int) INT.getAcquire(memory, consumerAt);
    }
  }
}
