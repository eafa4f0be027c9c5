// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The device's side of the ring in a lent slot: what a process has sent without waiting, and
 * options of its connections that it has set so.
 *
 * <p>All that is in it is hostile: a header is copied out once and checked as a whole, and how far
 * it has been read is kept here. A ring whose positions or headers are wrong is not read any more.
 *
 * <p>{@link #isPending}, {@link #withdraw}, {@link #generation} and {@link #close} may be called by
 * any thread, all else by one at a time and not after {@link #close}.
 */
public final class SendRing {
  /** One send, or an option. */
  public static final class Entry {
    private int handle;
    private int birth;
    private int flags;
    private int length;
    private long data;
    private long end;

    /** None yet. */
    public Entry() {}

    /** The handle's number, as the program says. */
    public int handle() {
      return handle;
    }

    public int birth() {
      return birth;
    }

    /** Those of {@code send(2)}; of an option, any number that is not negative. */
    public int flags() {
      return flags & ~SETS_OPTION;
    }

    /**
     * Whether it sets an option of IPPROTO_TCP, whose name is in place of the flags, and whose
     * value in place of the bytes.
     */
    public boolean setsOption() {
      return (flags & SETS_OPTION) != 0;
    }

    /** Bytes, from 1 to {@link SlotLayout#AHEAD_BYTES}. */
    public int length() {
      return length;
    }
  }

  private static final int HEADER_BYTES = 16;
  private static final int BIRTH = 4;
  private static final int FLAGS = 8;
  private static final int LENGTH = 12;

  /** In the flags. */
  private static final int SETS_OPTION = Integer.MIN_VALUE;

  /** In the place of a handle: what follows is at the ring's start. */
  private static final int SKIP = -1;

  private final MemorySegment slot;
  private volatile long drained;
  private volatile boolean broken;

  // Guarded by this.
  private int generation;
  private boolean closed;

  SendRing(MemorySegment slot) {
    this.slot = slot;
    this.generation = 1;
    SlotLayout.INT.setVolatile(slot, SlotLayout.GENERATION, generation);
  }

  /** Whether something was sent that has not been read. */
  public synchronized boolean isPending() {
    return !closed
        && !broken
        && (long) SlotLayout.LONG.getVolatile(slot, SlotLayout.APPENDED) != drained;
  }

  /** Its memory may go after this. */
  public synchronized void close() {
    closed = true;
  }

  /** Nothing is read from it any more: its program breaks the rules. */
  public void reject() {
    broken = true;
  }

  /**
   * Copies the next header.
   *
   * @return false if there is none
   */
  public boolean next(Entry entry) {
    long at = drained;
    long appended = (long) SlotLayout.LONG.getVolatile(slot, SlotLayout.APPENDED);
    long left = appended - at;
    if (broken || left == 0) {
      return false;
    }
    if (left < 0 || left > SlotLayout.RING_BYTES || left % HEADER_BYTES != 0) {
      broken = true;
      return false;
    }
    long offset = at % SlotLayout.RING_BYTES;
    if (slot.get(ValueLayout.JAVA_INT, SlotLayout.RING + offset) == SKIP) {
      long skipped = SlotLayout.RING_BYTES - offset;
      broken = skipped >= left;
      left -= skipped;
      at += skipped;
      offset = 0;
    }
    long header = SlotLayout.RING + offset;
    entry.handle = slot.get(ValueLayout.JAVA_INT, header);
    entry.birth = slot.get(ValueLayout.JAVA_INT, header + BIRTH);
    entry.flags = slot.get(ValueLayout.JAVA_INT, header + FLAGS);
    entry.length = slot.get(ValueLayout.JAVA_INT, header + LENGTH);
    entry.data = header + HEADER_BYTES;
    long bytes = bytes(entry.length);
    broken |=
        entry.length < 1
            || entry.length > SlotLayout.AHEAD_BYTES
            || bytes > left
            || offset + bytes > SlotLayout.RING_BYTES;
    entry.end = at + bytes;
    return !broken;
  }

  /** What a send of so many bytes takes of the ring. */
  private static long bytes(long length) {
    return HEADER_BYTES + ((length + HEADER_BYTES - 1) & -HEADER_BYTES);
  }

  /** An entry's bytes, in the shared memory. */
  public MemorySegment data(Entry entry) {
    return slot.asSlice(entry.data, entry.length);
  }

  /** The entry is with its socket: its place is the program's again. */
  public void advance(Entry entry) {
    drained = entry.end;
    SlotLayout.LONG.setRelease(slot, SlotLayout.DRAINED, entry.end);
  }

  /**
   * Makes all credits void. Who sends after this without waiting finds that out before it returns,
   * or what it sent is found here: {@link SlotLayout} has the argument.
   */
  public synchronized void withdraw() {
    if (!closed) {
      generation++;
      SlotLayout.INT.setVolatile(slot, SlotLayout.GENERATION, generation);
    }
  }

  /** Which credits are good: what is to be said of one whose reasons are found after this. */
  public synchronized int generation() {
    return generation;
  }
}
