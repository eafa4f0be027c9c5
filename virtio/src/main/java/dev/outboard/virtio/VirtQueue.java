// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.AVAIL_FLAGS;
import static dev.outboard.abi.Virtio.AVAIL_F_NO_INTERRUPT;
import static dev.outboard.abi.Virtio.AVAIL_INDEX;
import static dev.outboard.abi.Virtio.AVAIL_RING;
import static dev.outboard.abi.Virtio.DESC_ADDRESS;
import static dev.outboard.abi.Virtio.DESC_BYTES;
import static dev.outboard.abi.Virtio.DESC_FLAGS;
import static dev.outboard.abi.Virtio.DESC_F_INDIRECT;
import static dev.outboard.abi.Virtio.DESC_F_NEXT;
import static dev.outboard.abi.Virtio.DESC_F_WRITE;
import static dev.outboard.abi.Virtio.DESC_LENGTH;
import static dev.outboard.abi.Virtio.DESC_NEXT;
import static dev.outboard.abi.Virtio.USED_ENTRY_BYTES;
import static dev.outboard.abi.Virtio.USED_FLAGS;
import static dev.outboard.abi.Virtio.USED_F_NO_NOTIFY;
import static dev.outboard.abi.Virtio.USED_INDEX;
import static dev.outboard.abi.Virtio.USED_RING;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * The device's side of a split virtqueue (virtio 1.3, 2.7).
 *
 * <p>The driver is treated as hostile: the ring's place is checked once, each index, length and
 * address when it is read, and each is read once. A broken rule is a {@link RingViolation}, after
 * which the queue must not be used any more. What the driver does later with memory that it has
 * handed over changes only the bytes that are sent, never where they are.
 *
 * <p>One thread uses a queue at a time. Nothing is allocated but for a violation.
 */
final class VirtQueue {
  /** Result of {@link #next}: the driver has made nothing available. */
  static final int EMPTY = -1;

  private static final VarHandle SHORT =
      ValueLayout.JAVA_SHORT
          .withOrder(ByteOrder.LITTLE_ENDIAN)
          .varHandle()
          .withInvokeExactBehavior();
  private static final ValueLayout.OfShort LE16 =
      ValueLayout.JAVA_SHORT.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong USED_ENTRY =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final int FLAGS_SHIFT = 8 * (DESC_FLAGS - DESC_LENGTH);
  private static final int NEXT_SHIFT = 8 * (DESC_NEXT - DESC_LENGTH);
  private static final ValueLayout.OfLong LE64 =
      ValueLayout.JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final String name;
  private final GuestMemory guest;
  private final MemorySegment memory;
  private final int size;
  private final boolean deviceWrites;
  private final boolean eventIndex;
  private final boolean indirect;
  private final long descriptors;
  private final long available;
  private final long used;
  private final long usedEvent;
  private final long availableEvent;

  /** Where the device is in the driver's ring, modulo 2^16. */
  private short nextAvailable;

  /** Where the device is in its own ring, published or not. */
  private short nextUsed;

  /** Value of the used index when the driver was last considered for an interrupt. */
  private short signalled;

  /** Bytes of the chain that {@link #next} returned last. */
  private long chainBytes;

  /**
   * @param name for messages, as in "receive queue"
   * @param size entries; a power of two (2.7)
   * @param descriptors physical address of the descriptor table, as are the two others
   * @param deviceWrites whether buffers are for the device to write (receive) or to read (transmit)
   * @param eventIndex whether VIRTIO_RING_F_EVENT_IDX was negotiated
   */
  VirtQueue(
      String name,
      GuestMemory guest,
      int size,
      long descriptors,
      long driverArea,
      long deviceArea,
      boolean deviceWrites,
      boolean eventIndex)
      throws RingViolation {
    this(name, guest, size, descriptors, driverArea, deviceArea, deviceWrites, eventIndex, false);
  }

  /**
   * @param indirect whether VIRTIO_RING_F_INDIRECT_DESC was negotiated
   */
  VirtQueue(
      String name,
      GuestMemory guest,
      int size,
      long descriptors,
      long driverArea,
      long deviceArea,
      boolean deviceWrites,
      boolean eventIndex,
      boolean indirect)
      throws RingViolation {
    this.name = name;
    this.guest = guest;
    this.memory = guest.segment();
    this.size = size;
    this.deviceWrites = deviceWrites;
    this.eventIndex = eventIndex;
    this.indirect = indirect;
    // An iovec array that one call takes must hold the longest chain and a length before it.
    if (size < 1 || size >= IoVectors.CALL_LIMIT || Integer.bitCount(size) != 1) {
      throw violation("its size is " + Integer.toUnsignedString(size), "2.7");
    }
    this.descriptors = place("descriptor table", descriptors, (long) DESC_BYTES * size, 16);
    this.available = place("driver area", driverArea, 6 + 2L * size, 2);
    this.used = place("device area", deviceArea, 6 + (long) USED_ENTRY_BYTES * size, 4);
    this.usedEvent = available + AVAIL_RING + 2L * size;
    this.availableEvent = used + USED_RING + (long) USED_ENTRY_BYTES * size;
  }

  private long place(String what, long physical, long bytes, int alignment) throws RingViolation {
    if (!guest.contains(physical, bytes)) {
      throw violation(what + " at 0x" + Long.toHexString(physical) + " is not in memory", "2.7");
    }
    if (guest.address(physical) % alignment != 0) {
      throw violation(what + " is not aligned to " + alignment, "2.7");
    }
    return guest.offset(physical);
  }

  int size() {
    return size;
  }

  /** How many chains the driver says are there to be taken; a hint. */
  int waiting() {
    short published = (short) SHORT.getAcquire(memory, available + AVAIL_INDEX);
    return Short.toUnsignedInt((short) (published - nextAvailable));
  }

  /**
   * Takes the next chain of buffers that the driver has made available and appends its parts to
   * {@code out}, which must have room for {@link #size()} entries.
   *
   * @return the head to give back with {@link #push}, or {@link #EMPTY}
   */
  int next(IoVectors out) throws RingViolation {
    return deviceWrites ? next(null, out) : next(out, null);
  }

  /**
   * The same for a queue of requests: what the device may read is appended to {@code readable},
   * what it may write to {@code writable}. Where there is null the driver may have no such part.
   */
  int next(@Nullable IoVectors readable, @Nullable IoVectors writable) throws RingViolation {
    // Acquire: the ring entry and the descriptors are older than the index (2.7.13.3).
    short published = (short) SHORT.getAcquire(memory, available + AVAIL_INDEX);
    int waiting = Short.toUnsignedInt((short) (published - nextAvailable));
    if (waiting == 0) {
      return EMPTY;
    }
    if (waiting > size) {
      throw violation(waiting + " chains are available in " + size + " entries", "2.7.13.3");
    }
    int slot = Short.toUnsignedInt(nextAvailable) & (size - 1);
    int head = Short.toUnsignedInt(memory.get(LE16, available + AVAIL_RING + 2L * slot));
    int readableBefore = readable == null ? 0 : readable.count();
    int writableBefore = writable == null ? 0 : writable.count();
    try {
      walk(head, readable, writable);
    } catch (RingViolation v) {
      if (readable != null) {
        readable.truncate(readableBefore);
      }
      if (writable != null) {
        writable.truncate(writableBefore);
      }
      throw v;
    }
    nextAvailable++;
    return head;
  }

  private void walk(int head, @Nullable IoVectors readable, @Nullable IoVectors writable)
      throws RingViolation {
    int index = head;
    long table = descriptors;
    int entries = size;
    boolean writing = false;
    long bytes = 0;
    // A chain is never longer than the queue (2.7.5.3.1): this is what ends a loop.
    for (int n = 0; n < size; n++) {
      if (index >= entries) {
        throw violation("descriptor " + index + " of " + entries, "2.7.5");
      }
      long at = table + (long) index * DESC_BYTES;
      long address = memory.get(LE64, at + DESC_ADDRESS);
      // One access for the three behind the address: this is done for every 4 KiB that come in.
      long rest = memory.get(LE64, at + DESC_LENGTH);
      long length = rest & 0xffff_ffffL;
      int flags = (int) (rest >>> FLAGS_SHIFT) & 0xffff;
      if ((flags & DESC_F_INDIRECT) != 0) {
        if (!indirect) {
          throw violation("an indirect descriptor, which was not negotiated", "2.7.5.3.1");
        }
        if (table != descriptors || (flags & DESC_F_NEXT) != 0) {
          throw violation("an indirect descriptor that is not the last of its ring", "2.7.5.3.1");
        }
        if (length == 0
            || length % DESC_BYTES != 0
            || length / DESC_BYTES > size
            || !guest.contains(address, length)
            || guest.address(address) % Long.BYTES != 0) {
          throw violation("an indirect table of " + length + " bytes", "2.7.5.3.1");
        }
        table = guest.offset(address);
        entries = (int) (length / DESC_BYTES);
        index = 0;
        continue;
      }
      boolean write = (flags & DESC_F_WRITE) != 0;
      IoVectors out = write ? writable : readable;
      if (out == null) {
        throw violation(
            write ? "a buffer for writing" : "a buffer that the device may not write", "5.1.6");
      }
      if (writing && !write) {
        throw violation("a buffer for reading behind one for writing", "2.7.4.2");
      }
      writing = write;
      if (!guest.contains(address, length)) {
        throw violation(
            "a buffer of "
                + length
                + " bytes at 0x"
                + Long.toHexString(address)
                + ", which is not in memory",
            "2.7.5");
      }
      bytes += length;
      if (length != 0) {
        out.add(guest.address(address), length);
      }
      if ((flags & DESC_F_NEXT) == 0) {
        chainBytes = bytes;
        return;
      }
      index = (int) (rest >>> NEXT_SHIFT) & 0xffff;
    }
    throw violation("a chain longer than the queue's " + size + " entries", "2.7.5.3.1");
  }

  /** Bytes of the chain that {@link #next} returned last. */
  long chainBytes() {
    return chainBytes;
  }

  /**
   * Gives a chain back, with the number of bytes that the device wrote to it. The driver does not
   * see it before {@link #publish}.
   */
  void push(int head, long written) {
    long at = used + USED_RING + (long) (Short.toUnsignedInt(nextUsed) & (size - 1)) * 8;
    // Aligned to 4 only: the ring begins behind two shorts.
    memory.set(USED_ENTRY, at, head | written << 32);
    nextUsed++;
  }

  /** Shows the driver all that was pushed. */
  void publish() {
    // Release: the entries, and what was written to the buffers, are older (2.7.14).
    SHORT.setRelease(memory, used + USED_INDEX, nextUsed);
  }

  /**
   * Whether the driver wants an interrupt for what was published since this was last asked (2.7.7,
   * 2.7.10).
   */
  boolean interruptWanted() {
    if (nextUsed == signalled) {
      return false;
    }
    // The index is written before the driver's wish is read; the driver does it the other way
    // round.
    VarHandle.fullFence();
    short before = signalled;
    signalled = nextUsed;
    if (!eventIndex) {
      return ((short) SHORT.getOpaque(memory, available + AVAIL_FLAGS) & AVAIL_F_NO_INTERRUPT) == 0;
    }
    short event = (short) SHORT.getOpaque(memory, usedEvent);
    return crossed(event, nextUsed, before);
  }

  /**
   * Whether an index that went from {@code before} to {@code now} passed {@code event} (2.7.10).
   */
  static boolean crossed(short event, short now, short before) {
    return Short.toUnsignedInt((short) (now - event - 1))
        < Short.toUnsignedInt((short) (now - before));
  }

  /**
   * Asks the driver for a kick at the next chain that it makes available.
   *
   * @return whether one is there already, so that waiting would be wrong
   */
  boolean enableKick() {
    if (eventIndex) {
      SHORT.setOpaque(memory, availableEvent, nextAvailable);
    } else {
      SHORT.setOpaque(memory, used + USED_FLAGS, (short) 0);
    }
    // The wish is written before the index is read; the driver does it the other way round.
    VarHandle.fullFence();
    return (short) SHORT.getAcquire(memory, available + AVAIL_INDEX) != nextAvailable;
  }

  /** Tells the driver that kicks are not needed; a hint, with an event index nothing to do. */
  void disableKick() {
    if (!eventIndex) {
      SHORT.setOpaque(memory, used + USED_FLAGS, (short) USED_F_NO_NOTIFY);
    }
  }

  private RingViolation violation(String what, String clause) {
    return new RingViolation(name + ": " + what + " (virtio " + clause + ")");
  }
}
