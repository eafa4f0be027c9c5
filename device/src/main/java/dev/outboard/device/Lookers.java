// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Whether anybody may be waiting for the edges of a session's handles.
 *
 * <p>A thread of the program that is about to wait looks first: a SYNC. A process that has made a
 * call by a lent slot since its last look does not wait; it will look before it does, and is told
 * all then. As long as that is so of all processes, their edges need not be sent, and come together
 * with the next look. With many requests under way that spares a frame, a wake-up on the host and a
 * token for each of them.
 *
 * <p>One thread of a process may wait while another makes calls. So edges are held back for {@link
 * #MAX_REST_NANOS} at most, and any look ends that.
 *
 * <p>Any thread may call any method, but for {@link #rest}, which is the watcher's.
 */
final class Lookers {
  /** How long edges wait at most, of programs that are busy. */
  static final long MAX_REST_NANOS = Long.getLong("outboard.busy.nanos", 500_000);

  /** One process. */
  static final class Looker {
    private int threads; // guarded by the Lookers
    private volatile boolean waits;
  }

  private final Map<Integer, Looker> byPid = new HashMap<>(); // guarded by this
  private final AtomicInteger waiting = new AtomicInteger();
  private volatile int directly;
  private volatile @Nullable Thread resting;

  /**
   * A thread of a process has got a shadow thread.
   *
   * @param lent whether it serves a lent slot
   */
  synchronized Looker enter(int pid, boolean lent) {
    Looker l = byPid.computeIfAbsent(pid, x -> new Looker());
    l.threads++;
    directly += lent ? 1 : 0;
    return l;
  }

  /** The end of {@link #enter}. */
  synchronized void leave(int pid, boolean lent) {
    Looker l = byPid.get(pid);
    directly -= lent ? 1 : 0;
    if (l != null && --l.threads == 0) {
      byPid.remove(pid);
      runs(l);
    }
  }

  /** A thread of the process looks, and may wait then. */
  void looks(Looker l) {
    synchronized (l) {
      if (!l.waits) {
        l.waits = true;
        waiting.incrementAndGet();
      }
    }
    Thread t = resting;
    if (t != null) {
      LockSupport.unpark(t);
    }
  }

  /** A thread of the process does something else. */
  void runs(Looker l) {
    if (l.waits) {
      synchronized (l) {
        if (l.waits) {
          l.waits = false;
          waiting.decrementAndGet();
        }
      }
    }
  }

  /** Waits while nobody does, for a bounded time. */
  void rest() {
    if (directly == 0 || waiting.get() > 0) {
      return;
    }
    long until = System.nanoTime() + MAX_REST_NANOS;
    resting = Thread.currentThread();
    for (long left = MAX_REST_NANOS;
        left > 0 && waiting.get() == 0;
        left = until - System.nanoTime()) {
      LockSupport.parkNanos(this, left);
    }
    resting = null;
  }
}
