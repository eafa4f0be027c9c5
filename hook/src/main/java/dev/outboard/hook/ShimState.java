// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.LentSlot;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * How far the shim has come in one process. Guarded by itself but for what is volatile; {@link
 * Shim} has the rules.
 */
final class ShimState {
  /** In the order in which a program goes through them. */
  enum Phase {
    /** Not injected: it is not yet known whether the program makes many calls. */
    NEW,
    /** The injected code runs; the next call of the same place ends it. */
    INJECTING,
    /** Has a table; sites are patched as they trap. */
    ACTIVE,
    /** Forked from such a process: has its text but no table, and may ask for one. */
    FORKED,
    /** Every call traps, at least until it executes another program. */
    NEVER
  }

  volatile Phase phase = Phase.NEW;

  /**
   * It is {@link Phase#FORKED} if its memory has the shim, and NEW if it has not: that is looked at
   * when it makes its first call. Its parent may have got the shim since the fork, or lost it.
   */
  volatile boolean inherited;

  /**
   * Threads whose execve was let through, and that have made no call since: what is known is of the
   * old program if one of them has succeeded. Until then others of the process go on as before.
   */
  final Set<Integer> execers = new HashSet<>();

  /** Whether there are any; set by who changes them. */
  volatile boolean execing;

  /** What it tries to execute, for {@link KnownPrograms}. */
  int next = KnownPrograms.NONE;

  /** What it has executed; none if that is not known. */
  int program = KnownPrograms.NONE;

  /** It gets the shim, or has it, because of what it has executed. */
  boolean guessed;

  /** Its memory is also its parent's, until it executes another program: the child of a vfork. */
  boolean sharesMemory;

  /** A process that is not its vfork's child has its memory, and may have it longer. */
  boolean memoryIsShared;

  /** It has a seccomp filter of its own, which might not allow what the shim does. */
  boolean barred;

  /** Threads that wait in a vfork: its memory is a child's, too. */
  int vforks;

  /** Children with a copy of its memory that it has begun to make. */
  int forks;

  /** One of its threads is a {@link HeldThread}, for an injection or a patch. */
  boolean holding;

  /** It may cancel threads by glibc's signal: the shim has been taken out of their way. */
  boolean cancels;

  /** Its threads are being brought out of the shim: calls that it makes there do not wait. */
  volatile boolean leaving;

  /** Trapped calls so far; in phase NEW. */
  final AtomicInteger calls = new AtomicInteger();

  /** What is mapped into it; null where nothing is, or where that is not known. */
  @Nullable ShimImage image;

  /** Its table; until it is the process's alone, {@link ProcessEntry} does not know it. */
  @Nullable ShimTable table;

  /** A forked process was given its table, and has not said yet that it is there. */
  boolean attaching;

  /** {@link #forks} when it was given. */
  int attachForks;

  /** Tables that were given and that children may have since. */
  int lostTables;

  /** The call slots that it has for itself. */
  final List<LentSlot> slots = new ArrayList<>();

  /** It has one. */
  volatile boolean lent;

  /** It has one of the device's, and may receive what the hook does not see. */
  volatile boolean unseen;

  /** The last of them if it is not known yet whether the process may keep it. */
  @Nullable LentSlot lending;

  /** {@link #forks} when it was lent. */
  int lendingForks;

  // The injection.
  long back;
  int number;
  byte[] code = new byte[0];

  final Sites sites = new Sites();

  /** How often each place has trapped. Bounded: when it is full, it starts anew. */
  static final class Sites {
    private static final int SLOTS = 2048;

    /** A place that is not to be looked at again. */
    static final int DONE = Integer.MIN_VALUE;

    private final long[] places = new long[SLOTS];
    private final int[] hits = new int[SLOTS];
    private int size;

    /** Counts one more; how many there are now, or less than 0 if it is {@link #done}. */
    int hit(long place) {
      return ++hits[slot(place)];
    }

    void done(long place) {
      hits[slot(place)] = DONE;
    }

    void clear() {
      Arrays.fill(places, 0);
      Arrays.fill(hits, 0);
      size = 0;
    }

    private int slot(long place) {
      if (size > SLOTS / 2) {
        clear();
      }
      int i = (int) ((place * 0x9E37_79B9_7F4A_7C15L) >>> 53);
      while (places[i] != place) {
        if (places[i] == 0) {
          places[i] = place;
          size++;
          break;
        }
        i = (i + 1) & (SLOTS - 1);
      }
      return i;
    }
  }
}
