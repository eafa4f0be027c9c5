// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where the thread of a lent slot runs: where the host's kernel likes, or where its caller does.
 *
 * <p>Caller and thread take turns. If there is a processor for each, both spin, and the call takes
 * less than a microsecond. If there is none, both sleep, and the wake-up of a thread on another
 * processor costs several times one on the same, both ways. So the thread follows its caller while
 * most calls find it asleep. As that cannot end by itself, since a thread that shares a processor
 * with its caller never spins with success, it runs freely now and then to find out.
 *
 * <p>What the caller says of its processor may be wrong; then calls take longer. Owned by the
 * thread.
 */
final class Placement {
  private static final boolean FOLLOWS =
      Boolean.parseBoolean(System.getProperty("outboard.together", "true"));

  /** So many calls are judged at a time. */
  static final int WINDOW = 64;

  /** Calls of a window that found the thread asleep: from here on it follows. */
  static final int ASLEEP = WINDOW / 2;

  /** After so many calls together the thread tries to run freely. */
  static final int TOGETHER = 8192;

  /** A caller that changes its processor more often in a window is not followed. */
  static final int MOVES = 4;

  /** Enough for any number of processors that the limit of a segment can say. */
  private static final int MASK_BYTES = 4096 / 8;

  /** By what it is done; a test has another. */
  interface Affinity {
    /**
     * Lets the calling thread run on one processor, or on all that it may if -1.
     *
     * @return false if that cannot be
     */
    boolean set(int processor);
  }

  private final Affinity affinity;
  private int at = -1;
  private int wanted = -1;
  private int calls;
  private int asleep;
  private int moves;
  private int left;

  Placement() {
    this(new Own());
  }

  Placement(Affinity affinity) {
    this.affinity = affinity;
  }

  /** Whether the thread shares its caller's processor. */
  boolean together() {
    return at >= 0;
  }

  /**
   * A call has come.
   *
   * @param where its caller's processor, as far as is known; else less than 0
   * @param slept whether it found the thread asleep
   * @return whether {@link #together} has changed
   */
  boolean called(int where, boolean slept) {
    boolean before = together();
    calls++;
    asleep += slept ? 1 : 0;
    if (before) {
      left--;
      if (where != at) {
        follow(where);
      }
      if (left <= 0) {
        release(0);
      }
    }
    if (calls >= WINDOW) {
      if (!together() && left <= 0 && asleep >= ASLEEP && where >= 0 && FOLLOWS) {
        left = TOGETHER;
        moveTo(where);
      } else if (!before && left > 0) {
        left -= calls;
      }
      calls = 0;
      asleep = 0;
      moves = 0;
    }
    return together() != before;
  }

  /** The caller is elsewhere: for good, if it is still there at its next call. */
  private void follow(int where) {
    if (where < 0 || where != wanted) {
      wanted = where;
    } else if (++moves > MOVES) {
      release(TOGETHER);
    } else {
      moveTo(where);
    }
  }

  private void moveTo(int processor) {
    if (affinity.set(processor)) {
      at = processor;
      wanted = -1;
    } else {
      release(Integer.MAX_VALUE);
    }
  }

  private void release(int rest) {
    at = -1;
    wanted = -1;
    left = rest;
    calls = 0;
    asleep = 0;
    affinity.set(-1);
  }

  /** The thread's own affinity. */
  private static final class Own implements Affinity {
    private final MemorySegment all = Arena.ofAuto().allocate(MASK_BYTES, 8);
    private final MemorySegment one = Arena.ofAuto().allocate(MASK_BYTES, 8);
    private final long bytes =
        Linux.syscall(SyscallNumbers.SCHED_GETAFFINITY, 0, MASK_BYTES, all.address());

    @Override
    public boolean set(int processor) {
      if (bytes <= 0 || processor >= bytes * Byte.SIZE) {
        return false;
      }
      if (processor < 0) {
        return Linux.syscall(SyscallNumbers.SCHED_SETAFFINITY, 0, bytes, all.address()) >= 0;
      }
      int bit = processor % Byte.SIZE;
      if ((all.get(ValueLayout.JAVA_BYTE, processor / Byte.SIZE) >> bit & 1) == 0) {
        return false; // A program may run where the device may not.
      }
      one.fill((byte) 0);
      one.set(ValueLayout.JAVA_BYTE, processor / Byte.SIZE, (byte) (1 << bit));
      return Linux.syscall(SyscallNumbers.SCHED_SETAFFINITY, 0, bytes, one.address()) >= 0;
    }
  }
}
