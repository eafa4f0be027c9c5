// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;

/**
 * One end of a slot's data area that two machines have, each its own: what changed here since the
 * last crossing, and what changed there.
 *
 * <p>An image of what the other end has tells the difference. So nothing here need know what a call
 * reads or writes, and bytes that are the same again do not cross. Comparing all of an area takes
 * some 10 µs.
 *
 * <p>The slot's memory is shared with another process, which may change it at any time: a change is
 * copied out once, and the image gets the copy. One user at a time.
 */
final class SlotMirror {
  /** Changes that are nearer to each other than this cross as one. */
  private static final long GAP = 128;

  private static final long FIRST_STEP = 64;
  private static final long LONGEST_STEP = 4096;

  private final MemorySegment data;
  private final MemorySegment image;
  private long start;
  private long end;

  /**
   * @param data a slot's data area, all zeros at both ends
   * @param arena where the image lives
   */
  SlotMirror(MemorySegment data, Arena arena) {
    this.data = data;
    this.image = arena.allocate(data.byteSize(), 64);
  }

  /**
   * Looks for the next piece that has changed.
   *
   * @param from where to begin
   * @param extent where to end
   * @param most bytes that the piece may have
   * @return whether there is one: {@link #start} to {@link #end}
   */
  boolean next(long from, long extent, long most) {
    if (from >= extent) {
      return false;
    }
    long at = MemorySegment.mismatch(data, from, extent, image, from, extent);
    if (at < 0) {
      return false;
    }
    start = from + at;
    long limit = Math.min(extent, start + most);
    long step = FIRST_STEP;
    long to = Math.min(limit, start + step);
    while (to < limit) {
      long near = Math.min(limit, to + GAP);
      long more = MemorySegment.mismatch(data, to, near, image, to, near);
      if (more < 0) {
        break;
      }
      // What is all new, as the bytes of a transfer are, is not looked at closely.
      step = more == 0 ? Math.min(LONGEST_STEP, step * 2) : FIRST_STEP;
      to = Math.min(limit, to + more + step);
    }
    end = to;
    return true;
  }

  long start() {
    return start;
  }

  long end() {
    return end;
  }

  /** Copies the piece that {@link #next} found, which is from here on known at the other end. */
  void copy(ByteBuffer to) {
    long bytes = end - start;
    MemorySegment place = MemorySegment.ofBuffer(to).asSlice(0, bytes);
    MemorySegment.copy(data, start, place, 0, bytes);
    MemorySegment.copy(place, 0, image, start, bytes);
    to.position(to.position() + (int) bytes);
  }

  /** Makes the data what the other end has: they were used for something that did not cross. */
  void restore() {
    data.copyFrom(image);
  }

  /** Whether a piece of the other end's lies in the area. */
  boolean holds(long offset, long bytes) {
    return offset >= 0 && bytes >= 0 && offset <= data.byteSize() - bytes;
  }

  /**
   * Takes what has changed at the other end.
   *
   * @param bytes all that remains of it, which {@link #holds} has been asked about
   */
  void apply(long offset, ByteBuffer bytes) {
    MemorySegment from = MemorySegment.ofBuffer(bytes);
    MemorySegment.copy(
        from, ValueLayout.JAVA_BYTE, 0, data, ValueLayout.JAVA_BYTE, offset, from.byteSize());
    MemorySegment.copy(
        from, ValueLayout.JAVA_BYTE, 0, image, ValueLayout.JAVA_BYTE, offset, from.byteSize());
    bytes.position(bytes.limit());
  }
}
