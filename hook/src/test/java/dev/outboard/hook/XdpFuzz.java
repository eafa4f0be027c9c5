// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Xdp;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.XdpFrame;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * An XDP socket between a hostile program, which says anything in its rings, and a hostile device,
 * which brings anything as frames. {@code -Pfuzz} looks for what does harm ({@code SECURITY.md});
 * {@link XdpFuzzTest} replays what is kept.
 *
 * <p>An input is a byte that says what the memory is like, and steps: 0, a ring, an entry of 16
 * bytes, which the program puts in; 1, a ring and which of its indices, the index; 2, how many
 * bytes the input has of the device's data, of how many it speaks, the bytes; 3, a send: of how
 * many frames at most, of which the device takes so many.
 */
class XdpFuzz {
  private static final List<XdpSocket.Kind> KINDS = List.of(XdpSocket.Kind.values());
  private static final int LENGTH = 16384;
  private static final int PAGE = 4096;

  /** What the program's memory is full of at the beginning. */
  private static final byte BYTE = 0x55;

  private static final int CHUNK = 2048;
  private static final int ENTRIES = 4;
  private static final int DATA_BYTES = 8192;
  private static final int MOST_STEPS = 200;
  private static final long OFFSET_MASK = (1L << Xdp.UNALIGNED_OFFSET_SHIFT) - 1;

  private static final Arena ARENA = Arena.ofAuto();

  /** The program's memory: frames, and a page before and behind that is none of the socket's. */
  private static final MemorySegment PROGRAM = program();

  private static final MemorySegment UNTOUCHED = ARENA.allocate(PAGE, 8).fill(BYTE);
  private static final MemorySegment FRAMES = PROGRAM.asSlice(PAGE, LENGTH);
  private static final MemorySegment DATA = ARENA.allocate(DATA_BYTES, 8);
  private static final MemorySegment MEMORY_PATH = Linux.cString(ARENA, "/proc/self/mem");

  private final Map<XdpSocket.Kind, XdpRing> rings = new EnumMap<>(XdpSocket.Kind.class);
  private final Map<XdpSocket.Kind, MemorySegment> seen = new EnumMap<>(XdpSocket.Kind.class);
  private boolean unaligned;

  /** The index of the ring of frames that have come, as the socket has it. */
  private int received;

  private static MemorySegment program() {
    long at =
        Linux.mmap(
            0,
            LENGTH + 2 * PAGE,
            Memory.PROT_READ | Memory.PROT_WRITE,
            Memory.MAP_SHARED | Memory.MAP_ANONYMOUS,
            -1,
            0);
    check(at > 0);
    return Linux.at(at, LENGTH + 2 * PAGE);
  }

  /** Frames go nowhere but to where there is room for frames, and come from nowhere else. */
  @FuzzTest(maxDuration = "90s")
  void anyRingsAndFrames(byte[] bytes) {
    if (bytes.length < 2) {
      return;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int like = in.get();
    unaligned = (like & 1) != 0;
    received = 0;
    int headroom = (like & 2) != 0 ? 100 : 0;
    int fd = (int) Linux.open(MEMORY_PATH.address(), Fcntl.O_RDWR | Fcntl.O_CLOEXEC);
    check(fd >= 0);
    XdpMemory.Request request =
        new XdpMemory.Request(
            FRAMES.address(), LENGTH, CHUNK, headroom, unaligned ? Xdp.UMEM_UNALIGNED_CHUNKS : 0);
    check(request.check() == 0);
    PROGRAM.fill(BYTE);
    try (XdpSocket socket = new XdpSocket((ringBytes, hadMemory) -> {})) {
      check(socket.memory(new XdpMemory(request, fd)));
      for (XdpSocket.Kind kind : KINDS) {
        XdpRing ring = Objects.requireNonNull(kind.make(ENTRIES));
        check(socket.ring(kind, ring));
        rings.put(kind, ring);
        seen.put(kind, mapped(ring));
      }
      check(socket.bound(null));
      for (int steps = 0; in.remaining() >= 2 && steps < MOST_STEPS; steps++) {
        step(socket, in);
        untouched(0);
        untouched(PAGE + LENGTH);
      }
    } finally {
      seen.values().forEach(ring -> Linux.munmap(ring.address(), ring.byteSize()));
      seen.clear();
      rings.clear();
    }
  }

  private static MemorySegment mapped(XdpRing ring) {
    int protection = Memory.PROT_READ | Memory.PROT_WRITE;
    long at = Linux.mmap(0, ring.bytes(), protection, Memory.MAP_SHARED, ring.fd(), 0);
    check(at > 0);
    return Linux.at(at, ring.bytes());
  }

  private void step(XdpSocket socket, ByteBuffer in) {
    switch (in.get() & 3) {
      case 0 -> {
        if (in.remaining() >= 17) {
          enter(KINDS.get(in.get() & 3), in.getLong(), in.getInt(), in.getInt());
        }
      }
      case 1 -> {
        if (in.remaining() >= 5) {
          int which = in.get();
          MemorySegment ring = Objects.requireNonNull(seen.get(KINDS.get(which & 3)));
          int index = (which & 4) == 0 ? XdpRing.PRODUCER : XdpRing.CONSUMER;
          ring.set(JAVA_INT, index, in.getInt());
        }
      }
      case 2 -> {
        if (in.remaining() >= 4) {
          receive(socket, in);
        }
      }
      default -> {
        int most = Byte.toUnsignedInt(in.get());
        int done = in.hasRemaining() ? Byte.toUnsignedInt(in.get()) : 0;
        send(socket, most, done);
      }
    }
  }

  private void enter(XdpSocket.Kind kind, long address, int length, int options) {
    MemorySegment ring = Objects.requireNonNull(seen.get(kind));
    int at = ring.get(JAVA_INT, XdpRing.PRODUCER);
    long entry = XdpRing.ENTRIES + (long) (at & ENTRIES - 1) * kind.width();
    ring.set(JAVA_LONG, entry, address);
    if (kind.width() == Xdp.DESC_BYTES) {
      ring.set(JAVA_INT, entry + Xdp.DESC_LENGTH, length);
      ring.set(JAVA_INT, entry + Xdp.DESC_OPTIONS, options);
    }
    ring.set(JAVA_INT, XdpRing.PRODUCER, at + 1);
  }

  private void receive(XdpSocket socket, ByteBuffer in) {
    int given = Math.min(Short.toUnsignedInt(in.getShort()), DATA_BYTES);
    int said = Math.min(Short.toUnsignedInt(in.getShort()), DATA_BYTES);
    int there = Math.min(given, in.remaining());
    MemorySegment.copy(MemorySegment.ofBuffer(in), 0, DATA, 0, there);
    in.position(in.position() + there);
    MemorySegment ring = Objects.requireNonNull(seen.get(XdpSocket.Kind.RECEIVE));
    if (!socket.receive(DATA.asSlice(0, said), said)) {
      return;
    }
    int now = ring.get(JAVA_INT, XdpRing.PRODUCER);
    int brought = now - received;
    check(brought > 0 && brought <= DATA_BYTES / XdpFrame.HEADER_BYTES);
    received = now;
    // A program that says nonsense of what it has taken out loses entries, and nothing else.
    for (int i = 1; i <= Math.min(brought, ENTRIES); i++) {
      long entry = XdpRing.ENTRIES + (long) (now - i & ENTRIES - 1) * Xdp.DESC_BYTES;
      inside(ring.get(JAVA_LONG, entry), ring.get(JAVA_INT, entry + Xdp.DESC_LENGTH));
    }
  }

  private void inside(long address, int length) {
    long at =
        unaligned ? (address & OFFSET_MASK) + (address >>> Xdp.UNALIGNED_OFFSET_SHIFT) : address;
    check(length > 0 && at >= 0 && at + length <= LENGTH);
  }

  private void send(XdpSocket socket, int most, int done) {
    long bytes = socket.collect(DATA, most);
    check(bytes >= 0 && bytes <= DATA_BYTES);
    int frames = 0;
    for (long at = 0; at < bytes; frames++) {
      int length = DATA.get(JAVA_INT, at + XdpFrame.LENGTH);
      check(length > 0 && length <= CHUNK && DATA.get(JAVA_INT, at + XdpFrame.BEFORE) == 0);
      long next = at + XdpFrame.bytes(0, length);
      check(next <= bytes);
      at = next;
    }
    check(frames <= Math.min(most, ENTRIES));
    socket.complete(Math.min(done, frames));
  }

  private static void untouched(long from) {
    check(PROGRAM.asSlice(from, PAGE).mismatch(UNTOUCHED) < 0);
  }

  private static void check(boolean holds) {
    if (!holds) {
      throw new AssertionError("it took what cannot be");
    }
  }
}
