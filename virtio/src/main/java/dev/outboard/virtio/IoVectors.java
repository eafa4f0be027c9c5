// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * An array of {@code struct iovec} in native memory that grows at its end and is consumed at its
 * beginning. One thread; the arena of its maker owns the memory.
 */
final class IoVectors {
  /** What one call of the host's kernel takes (UIO_MAXIOV). */
  static final int CALL_LIMIT = 1024;

  static final int ENTRY_BYTES = 16;

  private final MemorySegment entries;
  private final int capacity;
  private int begin;
  private int end;

  /**
   * @param capacity entries that can be held at a time
   */
  IoVectors(Arena arena, int capacity) {
    // Twice the room: the live part moves to the front only once per capacity entries.
    this.entries = arena.allocate((long) ENTRY_BYTES * capacity * 2, 16);
    this.capacity = capacity;
  }

  int count() {
    return end - begin;
  }

  int room() {
    return capacity - count();
  }

  /** Address of the first live entry, for a call of the host's kernel. */
  long address() {
    return entries.address() + (long) begin * ENTRY_BYTES;
  }

  long base(int index) {
    return entries.get(JAVA_LONG, (long) (begin + index) * ENTRY_BYTES);
  }

  long length(int index) {
    return entries.get(JAVA_LONG, (long) (begin + index) * ENTRY_BYTES + 8);
  }

  void clear() {
    begin = 0;
    end = 0;
  }

  /** Appends an entry; the caller has asked {@link #room()}. */
  void add(long base, long length) {
    if (end == 2 * capacity) {
      MemorySegment.copy(
          entries, (long) begin * ENTRY_BYTES, entries, 0, (long) count() * ENTRY_BYTES);
      end -= begin;
      begin = 0;
    }
    long at = (long) end * ENTRY_BYTES;
    entries.set(JAVA_LONG, at, base);
    entries.set(JAVA_LONG, at + 8, length);
    end++;
  }

  /** Replaces entry {@code index}. */
  void set(int index, long base, long length) {
    entries.set(JAVA_LONG, (long) (begin + index) * ENTRY_BYTES, base);
    entries.set(JAVA_LONG, (long) (begin + index) * ENTRY_BYTES + 8, length);
  }

  /** Drops the last entries so that {@code count} remain. */
  void truncate(int count) {
    end = begin + count;
  }

  /** Drops the first {@code count} entries. */
  void consume(int count) {
    begin += count;
  }
}
