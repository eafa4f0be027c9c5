// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.posix.Linux;
import org.jspecify.annotations.Nullable;

/**
 * Descriptors of an export that the kernel knows by numbers, each used for as long as a request
 * that names it is served: a number that the kernel gives back meanwhile stays open until then, so
 * it can never come to stand for another file.
 *
 * <p>A number is a slot and a serial, so that a number of the past names nothing. Any thread.
 *
 * @param <T> what is known about each
 */
final class OpenFiles<T extends OpenFiles.Entry> {
  private static final int SLOT_BITS = 24;
  private static final int FIRST_SLOTS = 64;

  /** An open descriptor. */
  static class Entry {
    final int fd;
    private long number;
    private int users;
    private boolean removed;

    /**
     * @param fd belongs to this object
     */
    Entry(int fd) {
      this.fd = fd;
    }

    /** What the kernel calls it. */
    long number() {
      return number;
    }

    /** Closes what it has open: nobody uses it any more. */
    void close() {
      Linux.close(fd);
    }
  }

  private final int limit;
  private @Nullable Entry[] slots = new @Nullable Entry[FIRST_SLOTS];

  // Slots that were given back, as a stack.
  private int[] free = new int[FIRST_SLOTS];
  private int freeCount;

  private int fresh;
  private int count;
  private long serial;

  /**
   * @param limit how many there may be
   * @param firstSlot the lowest number that is given
   */
  OpenFiles(int limit, int firstSlot) {
    if (limit + firstSlot >= 1 << SLOT_BITS) {
      throw new IllegalArgumentException("limit " + limit);
    }
    this.limit = limit;
    this.fresh = firstSlot;
  }

  synchronized int count() {
    return count;
  }

  /** Adds an entry, unless there are as many as there may be; then its descriptor is closed. */
  synchronized boolean add(T entry) {
    if (count >= limit) {
      entry.close();
      return false;
    }
    int slot = freeCount > 0 ? free[--freeCount] : fresh++;
    if (slot >= slots.length) {
      slots = java.util.Arrays.copyOf(slots, slots.length * 2);
      free = java.util.Arrays.copyOf(free, slots.length);
    }
    Entry e = entry;
    slots[slot] = e;
    // The first ones, the root among them, are called by their slots alone.
    e.number = serial++ << SLOT_BITS | slot;
    count++;
    return true;
  }

  /** The entry of that number, to be given back by {@link #release}; null if there is none. */
  synchronized @Nullable T acquire(long number) {
    int slot = (int) number & ((1 << SLOT_BITS) - 1);
    Entry e = slot < slots.length ? slots[slot] : null;
    if (e == null || e.number != number) {
      return null;
    }
    e.users++;
    @SuppressWarnings("unchecked")
    T entry = (T) e;
    return entry;
  }

  synchronized void release(T entry) {
    Entry e = entry;
    e.users--;
    if (e.removed && e.users == 0) {
      e.close();
    }
  }

  /** Ends a number; its descriptor is closed when nobody uses it. */
  synchronized void remove(T entry) {
    Entry e = entry;
    if (e.removed) {
      return;
    }
    e.removed = true;
    int slot = (int) e.number & ((1 << SLOT_BITS) - 1);
    slots[slot] = null;
    free[freeCount++] = slot;
    count--;
    if (e.users == 0) {
      e.close();
    }
  }

  /** Ends all numbers. */
  synchronized void clear() {
    for (Entry e : slots) {
      if (e != null) {
        @SuppressWarnings("unchecked")
        T entry = (T) e;
        remove(entry);
      }
    }
  }
}
