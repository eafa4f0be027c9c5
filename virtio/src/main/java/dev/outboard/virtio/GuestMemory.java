// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.lang.foreign.MemorySegment;

/**
 * The memory of the library kernel as a virtual device sees it: one range of physical addresses
 * which is one range of this process's addresses too.
 *
 * <p>Everything that a driver can name lies in it: the kernel's RAM and the user region behind it,
 * from which the kernel may send without a copy. Immutable; any thread.
 */
public final class GuestMemory {
  private final MemorySegment memory;
  private final long physicalBase;
  private final long bytes;

  /**
   * @param memory the mapping; it must be accessible by any thread and stay mapped until the last
   *     device is detached
   * @param physicalBase the physical address of its first byte, not negative
   */
  public GuestMemory(MemorySegment memory, long physicalBase) {
    if (physicalBase < 0 || memory.byteSize() > Long.MAX_VALUE - physicalBase) {
      throw new IllegalArgumentException("physical base out of range: " + physicalBase);
    }
    this.memory = memory;
    this.physicalBase = physicalBase;
    this.bytes = memory.byteSize();
  }

  /** Whether {@code [physical, physical + length)} lies in this memory; any values are allowed. */
  boolean contains(long physical, long length) {
    long offset = physical - physicalBase;
    return offset >= 0 && length >= 0 && offset <= bytes && length <= bytes - offset;
  }

  /** Offset into {@link #segment()} of a physical address that {@link #contains} was asked for. */
  long offset(long physical) {
    return physical - physicalBase;
  }

  /** This process's address of a physical address that {@link #contains} was asked for. */
  long address(long physical) {
    return memory.address() + (physical - physicalBase);
  }

  MemorySegment segment() {
    return memory;
  }
}
