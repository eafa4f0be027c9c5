// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.NET_HEADER_BUFFERS;
import static dev.outboard.abi.Virtio.NET_HEADER_BYTES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Receive buffers that were taken from the queue and are not used yet, as one scatter list (virtio
 * 1.3, 5.1.6.4, mergeable buffers). A frame goes into as many of them as it needs; the others stay
 * for the next.
 *
 * <p>One thread.
 */
final class ReceiveWindow {
  private static final ValueLayout.OfShort LE16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final VirtQueue queue;
  private final MemorySegment memory;
  private final IoVectors vectors;
  private final int largestEver;
  private int largestFrame;

  // A ring of the chains in the window; never more than the queue has entries.
  private final int[] heads;
  private final int[] parts;
  private final long[] sizes;
  private int first;
  private int chains;
  private long bytes;

  /**
   * @param memory what the queue's buffers lie in
   * @param usual bytes of the largest frame that is expected at first, its header included
   * @param largestEver bytes of the largest frame that may come
   */
  ReceiveWindow(Arena arena, VirtQueue queue, GuestMemory memory, int usual, int largestEver) {
    this.queue = queue;
    this.memory = memory.segment();
    this.largestEver = largestEver;
    // A frame that fills the window may have been cut: one that is as large as usual must not.
    this.largestFrame = Math.min(largestEver, usual + 1);
    this.vectors = new IoVectors(arena, 2 * queue.size());
    this.heads = new int[queue.size()];
    this.parts = new int[queue.size()];
    this.sizes = new long[queue.size()];
  }

  /**
   * Takes buffers from the queue until the largest frame has room.
   *
   * @return whether it has
   */
  boolean fill() throws RingViolation {
    while (bytes < largestFrame) {
      // One call must take it all, the longest chain added, so it may not be in too many parts.
      if (chains == heads.length || vectors.count() >= queue.size() - 1) {
        throw new RingViolation(
            "receive queue: "
                + chains
                + " buffers hold "
                + bytes
                + " bytes, a frame has up to "
                + largestFrame
                + " (virtio 5.1.6.3.1)");
      }
      int before = vectors.count();
      int head = queue.next(vectors);
      if (head == VirtQueue.EMPTY) {
        return false;
      }
      // The header goes to the first part, and any buffer may be the first of a frame.
      if (vectors.count() == before || vectors.length(before) < NET_HEADER_BYTES) {
        throw new RingViolation(
            "receive queue: a buffer without room for the header (virtio 5.1.6.3.1)");
      }
      int slot = (first + chains) % heads.length;
      heads[slot] = head;
      parts[slot] = vectors.count() - before;
      sizes[slot] = queue.chainBytes();
      bytes += queue.chainBytes();
      chains++;
    }
    return true;
  }

  /**
   * Whether a frame of {@code length} bytes may be the beginning only of one that was larger than
   * the window. If so, from the next {@link #fill} on there is room for the largest of all.
   */
  boolean cut(long length) {
    if (length < bytes || largestFrame == largestEver) {
      return false;
    }
    largestFrame = largestEver;
    return true;
  }

  /** The window, for one call; it holds at least the largest frame after {@link #fill}. */
  IoVectors vectors() {
    return vectors;
  }

  /** A frame of {@code length} bytes, its header included, was put at the window's beginning. */
  void complete(long length) {
    long header = vectors.base(0);
    int used = 0;
    long left = length;
    while (left > 0) {
      long part = Math.min(left, sizes[first]);
      queue.push(heads[first], part);
      vectors.consume(parts[first]);
      bytes -= sizes[first];
      left -= part;
      used++;
      chains--;
      first = (first + 1) % heads.length;
    }
    // 5.1.6.4: set even if it is one; the used index, which shows it, is published later.
    memory.set(LE16, header - memory.address() + NET_HEADER_BUFFERS, (short) used);
  }
}
