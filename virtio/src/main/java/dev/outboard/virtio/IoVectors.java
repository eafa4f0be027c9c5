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

  /** How many bytes all entries hold. */
  long bytes() {
    long sum = 0;
    for (int i = 0; i < count(); i++) {
      sum += length(i);
    }
    return sum;
  }

  /**
   * Appends bytes {@code [offset, offset + bytes)} of what {@code other} names, or as many of them
   * as there are.
   */
  void addPart(IoVectors other, long offset, long bytes) {
    long skip = offset;
    long left = bytes;
    for (int i = 0; i < other.count() && left > 0; i++) {
      long length = other.length(i);
      if (skip >= length) {
        skip -= length;
        continue;
      }
      long part = Math.min(length - skip, left);
      add(other.base(i) + skip, part);
      skip = 0;
      left -= part;
    }
  }

  /** Copies the first {@code bytes} bytes of what is named here to {@code to}. */
  void copyOut(GuestMemory guest, MemorySegment to, long bytes) {
    long at = 0;
    for (int i = 0; i < count() && at < bytes; i++) {
      long part = Math.min(length(i), bytes - at);
      MemorySegment.copy(guest.segment(), base(i) - guest.segment().address(), to, at, part);
      at += part;
    }
  }

  /** Copies {@code bytes} bytes of {@code from} to the start of what is named here. */
  void copyIn(GuestMemory guest, MemorySegment from, long bytes) {
    long at = 0;
    for (int i = 0; i < count() && at < bytes; i++) {
      long part = Math.min(length(i), bytes - at);
      MemorySegment.copy(from, at, guest.segment(), base(i) - guest.segment().address(), part);
      at += part;
    }
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
