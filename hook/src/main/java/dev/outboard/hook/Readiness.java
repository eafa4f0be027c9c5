// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * Keeps what placeholders show true to what the device says.
 *
 * <p>Samples come from frames ({@link #ready}, the link's reader thread), from results of calls
 * ({@link #afterCall}, notifier threads) and from SYNC when a thread of the program is about to
 * look ({@link #synced}). Each is applied at once as far as it sets tokens: waiters wake. A sample
 * that calls for a token to be cleared puts its placeholder on the list of <em>stale</em> ones, and
 * {@link #settle} works that list off before any thread of the program looks. So a program that
 * polls by level never sees IN for data that it has read before it polled, whoever read it: that
 * would be a busy loop, or a hang in a blocking read.
 *
 * <p>A look that is under way natively while a token goes stale is no different from one that came
 * a moment earlier, as on one kernel.
 *
 * <p>Where a token cannot be cleared since no process known to hold the file holds it now, {@link
 * HolderSearch} is asked; if that fails too, the placeholder stays on the list and is tried again
 * at the next look.
 *
 * <p>Any thread may call any method.
 */
final class Readiness {
  /** Looks for a process of the program that holds a file; slow, for when all else failed. */
  interface HolderSearch {
    /** Calls {@link Placeholder#heldBy} if there is such a process; whether there is. */
    boolean find(Placeholder p);
  }

  /** A search reads directories of /proc; one in vain is not repeated sooner. */
  private static final long SEARCH_PAUSE_NANOS = 100_000_000;

  private final Placeholders placeholders;
  private final HolderSearch search;

  private final Object staleLock = new Object();
  private @Nullable Placeholder staleHead;
  private @Nullable Placeholder staleTail;
  // Written under staleLock; entries on the list and the one that is being settled.
  private volatile int staleCount;
  // Held while tokens are cleared; taken before staleLock.
  private final Object settleLock = new Object();

  private final AtomicLong syncedTo = new AtomicLong();

  private volatile boolean lost;

  private final LongAdder watched = new LongAdder();
  private final LongAdder samples = new LongAdder();
  private final LongAdder settled = new LongAdder();
  private final LongAdder unsettled = new LongAdder();

  Readiness(Placeholders placeholders, HolderSearch search) {
    this.placeholders = placeholders;
    this.search = search;
  }

  /**
   * A watched handle had an edge: called on the link's reader thread.
   *
   * @param mask with the count of edges, see {@link PseudoCall}
   */
  void ready(int handle, int mask, long stamp) {
    Placeholder p = placeholders.byHandle(handle);
    // A handle may have been closed, even given to another file, since the device wrote this: the
    // first sample of the new file is newer, and until it comes nothing is shown.
    if (p != null) {
      apply(p, mask, stamp);
    }
  }

  /**
   * Takes the mask that came with a call's result.
   *
   * @param pollMask -1 if the device does not watch the handle
   * @param pidfd the process that made the call, and
   * @param fd the descriptor that it named
   */
  void afterCall(Placeholder p, int pollMask, long stamp, int pidfd, int fd) {
    p.heldBy(pidfd, fd);
    if (pollMask != -1) {
      apply(p, pollMask, stamp);
    }
  }

  /** Takes a mask of a file that the device watches, from now on or already. */
  void watching(Placeholder p, int pollMask, long stamp) {
    samples.increment();
    if (!p.watched()) {
      watched.increment();
    }
    if (lost) {
      p.lost();
    } else if (p.watch(pollMask, stamp)) {
      enlist(p);
    }
  }

  /**
   * Shows what a ring holds for the program.
   *
   * @param readable whether there is something, and
   * @param more whether something has come
   */
  void ring(Placeholder p, boolean readable, boolean more) {
    if (p.ring(readable, more)) {
      enlist(p);
    }
  }

  /** Shows whether there is room for more to be sent ahead. */
  void full(Placeholder p, boolean is) {
    if (p.full(is)) {
      enlist(p);
    }
  }

  /** Shows what {@link ReceiveAhead} holds for the program; as {@link Placeholder#look}. */
  void look(Placeholder p, boolean is, boolean readable, boolean more) {
    if (p.look(is, readable, more)) {
      enlist(p);
    }
  }

  /** What to ask SYNC for: all changes since this time are to be told. */
  long syncedTo() {
    return syncedTo.get();
  }

  /**
   * Takes the samples that a SYNC has returned.
   *
   * @param upTo the time that it returned with them
   */
  void synced(MemorySegment data, long count, long upTo) {
    for (long i = 0; i < count; i++) {
      long at = i * PseudoCall.SAMPLE_BYTES;
      Placeholder p =
          placeholders.byHandle(
              data.get(ValueLayout.JAVA_INT_UNALIGNED, at + PseudoCall.SAMPLE_HANDLE));
      int mask = data.get(ValueLayout.JAVA_INT_UNALIGNED, at + PseudoCall.SAMPLE_MASK);
      long stamp = data.get(ValueLayout.JAVA_LONG_UNALIGNED, at + PseudoCall.SAMPLE_STAMP);
      if (p != null) {
        apply(p, mask, stamp);
      }
    }
    // Only now, when they are applied: a thread that asks for less must be able to rely on that.
    // Those that ask for more meanwhile are told some samples twice, which does no harm.
    syncedTo.accumulateAndGet(upTo, Math::max);
  }

  /**
   * Clears all tokens that are stale. To be called before a thread of the program looks.
   *
   * <p>When it returns, whatever was stale at the call has been dealt with, by this thread or by
   * another: one that finds the list empty because another is at work on the last entry must not go
   * on before that is done. So an entry counts until its token is cleared.
   */
  void settle() {
    if (staleCount == 0) {
      return;
    }
    synchronized (settleLock) {
      // Those that fail are put back at the end and must not be tried for ever.
      for (int tries = staleCount; tries > 0; tries--) {
        Placeholder p = take();
        if (p == null) {
          return;
        }
        if (p.settle() || (search(p) && p.settle())) {
          settled.increment();
        } else {
          unsettled.increment();
          enlist(p);
        }
        synchronized (staleLock) {
          staleCount--;
        }
      }
    }
  }

  /** Makes everything ready, now and for good: the device is lost. */
  void lost() {
    lost = true;
    placeholders.forEach(Placeholder::lost);
  }

  /** How many files were ever watched; 0 means that no program looks at device files. */
  long watchedCount() {
    return watched.sum();
  }

  /** Samples taken, for statistics. */
  long samples() {
    return samples.sum();
  }

  /** Placeholders on which tokens were cleared at a look. */
  long settledCount() {
    return settled.sum();
  }

  /** How often that failed. */
  long unsettledCount() {
    return unsettled.sum();
  }

  private void apply(Placeholder p, int mask, long stamp) {
    samples.increment();
    if (lost) {
      p.lost();
    } else if (p.update(PseudoCall.pollBits(mask), stamp, PseudoCall.edges(mask))) {
      enlist(p);
    }
  }

  private boolean search(Placeholder p) {
    long now = System.nanoTime();
    if (p.searchedAt != 0 && now - p.searchedAt < SEARCH_PAUSE_NANOS) {
      return false;
    }
    boolean found = search.find(p);
    p.searchedAt = found ? 0 : now;
    return found;
  }

  private void enlist(Placeholder p) {
    synchronized (staleLock) {
      if (p.inStaleList) {
        return;
      }
      p.inStaleList = true;
      if (staleTail == null) {
        staleHead = p;
      } else {
        staleTail.nextStale = p;
      }
      staleTail = p;
      staleCount++;
    }
  }

  /** The first entry, off the list but still counted. */
  private @Nullable Placeholder take() {
    synchronized (staleLock) {
      Placeholder p = staleHead;
      if (p != null) {
        staleHead = p.nextStale;
        if (staleHead == null) {
          staleTail = null;
        }
        p.nextStale = null;
        p.inStaleList = false;
      }
      return p;
    }
  }
}
