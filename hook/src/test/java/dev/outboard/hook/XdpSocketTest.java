// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.XdpFrame;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * What comes from a device, and what a program says in its rings, both of which may be anything.
 */
class XdpSocketTest {
  private static final int CHUNK = 2048;
  private static final int FRAMES = 8;
  private static final int LENGTH = CHUNK * FRAMES;
  private static final int ENTRIES = 4;
  private static final int FRAME_AT = Xdp.PACKET_HEADROOM;

  private final Arena arena = Arena.ofAuto();
  private final long address =
      Linux.mmap(
          0,
          LENGTH,
          Memory.PROT_READ | Memory.PROT_WRITE,
          Memory.MAP_SHARED | Memory.MAP_ANONYMOUS,
          -1,
          0);
  private final MemorySegment memory = Linux.at(address, LENGTH);
  private long ended;
  private final XdpSocket socket = new XdpSocket((bytes, hadMemory) -> ended += bytes);
  private final MemorySegment receive = ring(XdpSocket.Kind.RECEIVE, ENTRIES);
  private final MemorySegment fill = ring(XdpSocket.Kind.FILL, 2 * FRAMES);
  private final MemorySegment data = arena.allocate(16384, 8);

  XdpSocketTest() {
    int fd = (int) Linux.open(Linux.cString(arena, "/proc/self/mem").address(), Fcntl.O_RDWR);
    assertThat(fd).isPositive();
    assertThat(socket.memory(new XdpMemory(request(CHUNK, 0, 0), fd))).isTrue();
  }

  @AfterEach
  void giveBack() {
    socket.close();
    Linux.munmap(address, LENGTH);
  }

  private XdpMemory.Request request(int chunk, int headroom, int flags) {
    return new XdpMemory.Request(address, LENGTH, chunk, headroom, flags);
  }

  /** A ring as the program has it mapped. */
  private MemorySegment ring(XdpSocket.Kind kind, int entries) {
    XdpRing ring = Objects.requireNonNull(kind.make(entries));
    assertThat(socket.ring(kind, ring)).isTrue();
    int protection = Memory.PROT_READ | Memory.PROT_WRITE;
    long at = Linux.mmap(0, ring.bytes(), protection, Memory.MAP_SHARED, ring.fd(), 0);
    return Linux.at(at, ring.bytes());
  }

  /** Nobody can use the memory from there on; nor can the JVM map something of its own there. */
  private void forbid(int from) {
    int flags = Memory.MAP_SHARED | Memory.MAP_ANONYMOUS | Memory.MAP_FIXED;
    assertThat(Linux.mmap(address + from, LENGTH - from, 0, flags, -1, 0)).isPositive();
  }

  private void fill(long... entries) {
    int at = fill.get(JAVA_INT, XdpRing.PRODUCER);
    for (long entry : entries) {
      fill.set(JAVA_LONG, XdpRing.ENTRIES + (at++ & 2 * FRAMES - 1) * 8L, entry);
    }
    fill.set(JAVA_INT, XdpRing.PRODUCER, at);
  }

  private long put(long at, int before, int length, int first) {
    data.set(JAVA_INT, at + XdpFrame.LENGTH, length);
    data.set(JAVA_INT, at + XdpFrame.BEFORE, before);
    for (int i = 0; i < before + length; i++) {
      data.set(JAVA_BYTE, at + XdpFrame.HEADER_BYTES + i, (byte) (first + i));
    }
    return at + XdpFrame.bytes(before, length);
  }

  private long statistic(int at) {
    MemorySegment s = arena.allocate(Xdp.STATISTICS_BYTES, 8);
    socket.count(s, true);
    return s.get(JAVA_LONG, at);
  }

  private int received() {
    return receive.get(JAVA_INT, XdpRing.PRODUCER);
  }

  private long entry(int index) {
    return receive.get(JAVA_LONG, XdpRing.ENTRIES + (long) index * Xdp.DESC_BYTES);
  }

  @Test
  void framesAreWhereTheFillRingSays() {
    fill(3 * CHUNK + 17, CHUNK);
    long end = put(put(0, 8, 60, 1), 0, 100, 5);
    assertThat(socket.receive(data, end)).isTrue();
    assertThat(received()).isEqualTo(2);
    assertThat(entry(0)).isEqualTo(3 * CHUNK + FRAME_AT);
    assertThat(entry(1)).isEqualTo(CHUNK + FRAME_AT);
    assertThat(receive.get(JAVA_INT, XdpRing.ENTRIES + Xdp.DESC_LENGTH)).isEqualTo(60);
    assertThat(memory.get(JAVA_BYTE, 3 * CHUNK + FRAME_AT - 8)).isEqualTo((byte) 1);
    assertThat(memory.get(JAVA_BYTE, 3 * CHUNK + FRAME_AT)).isEqualTo((byte) 9);
    assertThat(memory.get(JAVA_BYTE, CHUNK + FRAME_AT + 99)).isEqualTo((byte) 104);
    assertThat(fill.get(JAVA_INT, XdpRing.CONSUMER)).isEqualTo(2);
    assertThat(socket.holds()).isTrue();
    receive.set(JAVA_INT, XdpRing.CONSUMER, 2);
    assertThat(socket.holds()).isFalse();
  }

  @Test
  void framesForWhichThereIsNoRoomAreCounted() {
    long one = put(0, 0, 60, 0);
    assertThat(socket.receive(data, one)).isFalse();
    assertThat(statistic(Xdp.STATS_DROPPED)).isEqualTo(1);
    assertThat(statistic(Xdp.STATS_FILL_EMPTY)).isEqualTo(1);
    fill(0, CHUNK, 2 * CHUNK, 3 * CHUNK, 4 * CHUNK, 5 * CHUNK);
    for (int i = 0; i < ENTRIES + 3; i++) {
      socket.receive(data, one);
    }
    assertThat(received()).isEqualTo(ENTRIES);
    assertThat(statistic(Xdp.STATS_RING_FULL)).isEqualTo(3);
    receive.set(JAVA_INT, XdpRing.CONSUMER, ENTRIES);
    // The chunk that was taken out for the first of the three is used now.
    assertThat(socket.receive(data, one)).isTrue();
    assertThat(entry(0)).isEqualTo(4 * CHUNK + FRAME_AT);
    assertThat(socket.receive(data, put(0, 0, CHUNK - FRAME_AT + 1, 0))).isFalse();
    assertThat(statistic(Xdp.STATS_DROPPED)).isEqualTo(2);
  }

  @Test
  void nothingLeadsOutOfTheMemory() {
    long one = put(0, 0, 60, 0);
    fill(LENGTH, -1, -CHUNK, Long.MAX_VALUE, Long.MIN_VALUE, 7 * CHUNK + 5);
    assertThat(socket.receive(data, one)).isTrue();
    assertThat(entry(0)).isEqualTo(7 * CHUNK + FRAME_AT);
    // No index of the program's makes more of a ring than it has.
    fill.set(JAVA_INT, XdpRing.PRODUCER, Integer.MIN_VALUE);
    receive.set(JAVA_INT, XdpRing.CONSUMER, 12345);
    for (int i = 0; i < 100; i++) {
      socket.receive(data, one);
    }
    // The memory itself is gone.
    forbid(0);
    long before = statistic(Xdp.STATS_DROPPED);
    assertThat(socket.receive(data, one)).isFalse();
    assertThat(statistic(Xdp.STATS_DROPPED)).isEqualTo(before + 1);
  }

  @Test
  void whatTheDeviceSaysIsChecked() {
    fill(0, CHUNK, 2 * CHUNK, 3 * CHUNK);
    int[][] headers = {
      {-1, 0}, {0, 0}, {60, -1}, {60, 257}, {1 << 30, 0}, {Integer.MAX_VALUE, 256}
    };
    for (int[] h : headers) {
      put(0, 0, 60, 0);
      data.set(JAVA_INT, XdpFrame.LENGTH, h[0]);
      data.set(JAVA_INT, XdpFrame.BEFORE, h[1]);
      assertThat(socket.receive(data, data.byteSize())).isFalse();
    }
    long end = put(0, 0, 60, 0);
    for (int bytes = 0; bytes < XdpFrame.HEADER_BYTES + 60; bytes++) {
      assertThat(socket.receive(data, bytes)).isFalse();
    }
    assertThat(received()).isZero();
    assertThat(socket.receive(data, end)).isTrue();
  }

  @Test
  void requestsAreCheckedAsByTheKernel() {
    assertThat(request(CHUNK, 0, 0).check()).isZero();
    assertThat(request(4096, 4096 - 256 - 448, 0).check()).isZero();
    assertThat(request(3000, 0, Xdp.UMEM_UNALIGNED_CHUNKS).check()).isZero();
    for (XdpMemory.Request bad :
        new XdpMemory.Request[] {
          request(1024, 0, 0),
          request(8192, 0, 0),
          request(-CHUNK, 0, 0),
          request(3000, 0, 0),
          request(4096, 4096 - 256 - 447, 0),
          request(CHUNK, -1, 0),
          request(CHUNK, 0, 2),
          new XdpMemory.Request(address + 1, LENGTH, CHUNK, 0, 0),
          new XdpMemory.Request(address, LENGTH + 1, CHUNK, 0, 0),
          new XdpMemory.Request(address, 0, CHUNK, 0, 0),
          new XdpMemory.Request(address, -CHUNK, CHUNK, 0, 0),
        }) {
      assertThat(bad.check()).as(bad.toString()).isEqualTo(-Errno.EINVAL);
    }
  }

  @Test
  void framesToBeSentLieInTheMemory() {
    try (XdpMemory m = new XdpMemory(request(CHUNK, 0, 0), -1)) {
      assertThat(m.frame(CHUNK + 100, CHUNK - 100, 0)).isEqualTo(CHUNK + 100);
      assertThat(m.frame(CHUNK + 100, CHUNK - 99, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(LENGTH, 1, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(-1, 1, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(0, 0, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(0, -1, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(0, 60, 1)).isEqualTo(XdpMemory.NONE);
    }
    try (XdpMemory m = new XdpMemory(request(CHUNK, 0, Xdp.UMEM_UNALIGNED_CHUNKS), -1)) {
      assertThat(m.frame(100L | 256L << Xdp.UNALIGNED_OFFSET_SHIFT, 60, 0)).isEqualTo(356);
      assertThat(m.frame(LENGTH - 60, 60, 0)).isEqualTo(LENGTH - 60);
      assertThat(m.frame(LENGTH - 59, 60, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.frame(-1, 60, 0)).isEqualTo(XdpMemory.NONE);
      assertThat(m.chunk(LENGTH - CHUNK)).isEqualTo(LENGTH - CHUNK);
      assertThat(m.chunk(LENGTH - CHUNK + 1)).isEqualTo(XdpMemory.NONE);
    }
  }

  @Test
  void memoryThatIsNotThereIsFoundOut() {
    Path maps = Path.of("/proc/self/maps");
    assertThat(XdpMemory.writable(maps, request(CHUNK, 0, 0))).isZero();
    forbid(LENGTH - 4096);
    assertThat(XdpMemory.writable(maps, request(CHUNK, 0, 0))).isEqualTo(-Errno.ENOMEM);
    forbid(0);
    assertThat(XdpMemory.writable(maps, request(CHUNK, 0, 0))).isEqualTo(-Errno.EFAULT);
  }

  @Test
  void itEndsOnce() {
    socket.close();
    socket.close();
    long rings = receive.byteSize() + fill.byteSize();
    assertThat(ended).isEqualTo(rings);
    assertThat(socket.receive(data, put(0, 0, 60, 0))).isFalse();
    assertThat(socket.memoryOf(XdpSocket.Kind.RECEIVE, 1)).isEqualTo(-Errno.EINVAL);
  }
}
