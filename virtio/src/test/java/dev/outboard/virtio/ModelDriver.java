// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.List;

/**
 * The driver's side of a split queue, slow and simple, in a memory of its own: written from the
 * specification, not from the device's code. One thread.
 */
final class ModelDriver {
  static final long BASE = 0x40_0000;
  static final int MEMORY_BYTES = 4 << 20;

  /** A buffer: physical address, length, whether the device writes it. */
  record Buffer(long address, long length, boolean write) {}

  /** An entry of the used ring. */
  record Used(int head, long length) {}

  final MemorySegment memory;
  final GuestMemory guest;
  final int size;
  final long descriptors;
  final long available;
  final long used;
  private int nextDescriptor;
  private int seen;
  int published;

  ModelDriver(Arena arena, int size, long at) {
    this(arena.allocate(MEMORY_BYTES, 4096), size, at);
  }

  ModelDriver(MemorySegment memory, int size, long at) {
    this.memory = memory;
    this.guest = new GuestMemory(memory, BASE);
    this.size = size;
    descriptors = at;
    available = descriptors + 16L * size;
    used = (available + 6 + 2L * size + 3) & ~3L;
  }

  /** Tells a device, by its registers, where its queue {@code index} lies: this one. */
  void offer(RegisterPage page, int index) {
    int at = RegisterPage.QUEUES + index * RegisterPage.QUEUE_BYTES;
    page.set(at + RegisterPage.QUEUE_SIZE, size);
    page.setLong(at + RegisterPage.QUEUE_DESCRIPTORS, BASE + descriptors);
    page.setLong(at + RegisterPage.QUEUE_DRIVER_AREA, BASE + available);
    page.setLong(at + RegisterPage.QUEUE_DEVICE_AREA, BASE + used);
    page.set(at + RegisterPage.QUEUE_READY, 1);
  }

  /** Bytes from the start of the descriptor table to the end of the used ring. */
  long end() {
    return used + 6 + 8L * size;
  }

  VirtQueue queue(boolean deviceWrites, boolean eventIndex) throws RingViolation {
    return new VirtQueue(
        "test queue",
        guest,
        size,
        BASE + descriptors,
        BASE + available,
        BASE + used,
        deviceWrites,
        eventIndex);
  }

  void descriptor(int index, long address, long length, int flags, int next) {
    long at = descriptors + 16L * index;
    memory.set(JAVA_LONG_UNALIGNED, at, address);
    memory.set(JAVA_INT_UNALIGNED, at + 8, (int) length);
    memory.set(JAVA_SHORT_UNALIGNED, at + 12, (short) flags);
    memory.set(JAVA_SHORT_UNALIGNED, at + 14, (short) next);
  }

  /** Makes a chain of the next descriptors in a circle available; the caller counts the free. */
  int add(List<Buffer> chain) {
    int head = nextDescriptor;
    for (int i = 0; i < chain.size(); i++) {
      Buffer b = chain.get(i);
      int index = nextDescriptor;
      nextDescriptor = (nextDescriptor + 1) % size;
      int flags = (b.write ? 2 : 0) | (i < chain.size() - 1 ? 1 : 0);
      descriptor(index, b.address, b.length, flags, nextDescriptor);
    }
    offer(head);
    return head;
  }

  /** Puts a head into the available ring and publishes it. */
  void offer(int head) {
    memory.set(JAVA_SHORT_UNALIGNED, available + 4 + 2L * (published % size), (short) head);
    VarHandle.releaseFence();
    published++;
    setAvailableIndex(published);
    VarHandle.fullFence();
  }

  void setAvailableIndex(int index) {
    memory.set(JAVA_SHORT_UNALIGNED, available + 2, (short) index);
  }

  void setUsedEvent(int index) {
    memory.set(JAVA_SHORT_UNALIGNED, available + 4 + 2L * size, (short) index);
  }

  int availableEvent() {
    return Short.toUnsignedInt(memory.get(JAVA_SHORT_UNALIGNED, used + 4 + 8L * size));
  }

  void setNoInterrupt(boolean on) {
    memory.set(JAVA_SHORT_UNALIGNED, available, (short) (on ? 1 : 0));
  }

  int usedFlags() {
    return Short.toUnsignedInt(memory.get(JAVA_SHORT_UNALIGNED, used));
  }

  /** The next used entry, or null. */
  @org.jspecify.annotations.Nullable
  Used take() {
    int index = Short.toUnsignedInt(memory.get(JAVA_SHORT_UNALIGNED, used + 2));
    VarHandle.acquireFence();
    if ((short) index == (short) seen) {
      return null;
    }
    long at = used + 4 + 8L * (seen % size);
    seen++;
    return new Used(
        memory.get(JAVA_INT_UNALIGNED, at),
        Integer.toUnsignedLong(memory.get(JAVA_INT_UNALIGNED, at + 4)));
  }
}
