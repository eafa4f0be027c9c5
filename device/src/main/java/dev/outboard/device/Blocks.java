// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * Cuts a piece of memory into blocks of {@link Kernel#BLOCK_BYTES} and hands them out. Bounded by
 * the piece; any thread.
 */
final class Blocks {
  private final MemorySegment memory;
  private final ArrayDeque<MemorySegment> free = new ArrayDeque<>();
  private long fresh;

  /**
   * @param memory stays the caller's, and outlives all blocks
   */
  Blocks(MemorySegment memory) {
    this.memory = memory;
  }

  /** A zeroed block, or null if all are in use. */
  synchronized @Nullable MemorySegment take() {
    // The last one given back first: its pages are there and warm.
    MemorySegment block = free.pollLast();
    if (block != null) {
      return block.fill((byte) 0);
    }
    if (fresh + Kernel.BLOCK_BYTES > memory.byteSize()) {
      return null;
    }
    block = memory.asSlice(fresh, Kernel.BLOCK_BYTES);
    fresh += Kernel.BLOCK_BYTES;
    return block;
  }

  synchronized void give(MemorySegment block) {
    free.addLast(block);
  }
}
