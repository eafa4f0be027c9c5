// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A split queue as a hostile kernel sets it up and fills it in. {@code -Pfuzz} looks for one that
 * does harm ({@code SECURITY.md}); {@link RingFuzzTest} replays what is kept.
 *
 * <p>An input is a byte for the size, one for what was negotiated, the places of the three areas in
 * units of their alignments, two bytes each, and the kernel's memory from its beginning.
 */
class RingFuzz {
  static final int HEAD_BYTES = 8;
  private static final int MEMORY_BYTES = 8192;

  private final Arena arena = Arena.ofAuto();
  private final MemorySegment memory = arena.allocate(MEMORY_BYTES, 4096);
  private final GuestMemory guest = new GuestMemory(memory, ModelDriver.BASE);
  private final IoVectors readable = new IoVectors(arena, IoVectors.CALL_LIMIT);
  private final IoVectors writable = new IoVectors(arena, IoVectors.CALL_LIMIT);

  /** Whatever the rings say, only memory of the kernel is named, and no chain is endless. */
  @FuzzTest(maxDuration = "90s")
  void anyRings(byte[] bytes) {
    if (bytes.length < HEAD_BYTES) {
      return;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int exponent = in.get();
    int negotiated = in.get();
    long descriptors = 16L * in.getShort();
    long driver = 2L * in.getShort();
    long device = 4L * in.getShort();
    int length = Math.min(in.remaining(), MEMORY_BYTES);
    memory.asSlice(length).fill((byte) 0);
    MemorySegment.copy(bytes, HEAD_BYTES, memory, ValueLayout.JAVA_BYTE, 0, length);
    try {
      VirtQueue queue =
          new VirtQueue(
              "queue",
              guest,
              exponent < 0 ? exponent : 1 << exponent % 12,
              ModelDriver.BASE + descriptors,
              ModelDriver.BASE + driver,
              ModelDriver.BASE + device,
              (negotiated & 1) != 0,
              (negotiated & 2) != 0,
              (negotiated & 4) != 0);
      use(queue, (negotiated & 8) != 0);
    } catch (RingViolation v) {
      // What a queue is to say of such rings.
    }
  }

  private void use(VirtQueue queue, boolean requests) throws RingViolation {
    // The used ring may lie over the other one, so that there is always more; a device goes on.
    for (int turn = 0; turn < 2 * queue.size(); turn++) {
      readable.clear();
      writable.clear();
      int head = requests ? queue.next(readable, writable) : queue.next(readable);
      if (head == VirtQueue.EMPTY) {
        queue.interruptWanted();
        if (!queue.enableKick()) {
          return;
        }
        continue;
      }
      long bytes = check(queue, readable) + check(queue, writable);
      if (head < 0 || head >= queue.size() || bytes != queue.chainBytes()) {
        throw new AssertionError("head " + head + ", " + bytes + " of " + queue.chainBytes());
      }
      queue.push(head, bytes);
      queue.publish();
      queue.interruptWanted();
      queue.disableKick();
    }
  }

  private long check(VirtQueue queue, IoVectors vectors) {
    if (vectors.count() > queue.size()) {
      throw new AssertionError(vectors.count() + " buffers of " + queue.size());
    }
    long sum = 0;
    for (int i = 0; i < vectors.count(); i++) {
      long offset = vectors.base(i) - memory.address();
      long length = vectors.length(i);
      if (offset < 0 || length <= 0 || offset > MEMORY_BYTES || length > MEMORY_BYTES - offset) {
        throw new AssertionError(length + " bytes at " + offset);
      }
      sum += length;
    }
    return sum;
  }
}
