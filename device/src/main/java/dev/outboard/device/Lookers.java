// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
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
 * #MAX_REST_NANOS} at most, and any look ends that. For longer only while every process that has
 * looked looks again and again at all that it could wait for, by a lent slot, and says that no
 * other thread of it waits: it needs no edges.
 *
 * <p>Whoever is to be told by a signal does not look: while a file is watched for that, nothing is
 * held back.
 *
 * <p>Any thread may call any method, but for {@link #rest}, which is the watcher's.
 */
final class Lookers {
  /** How long edges wait at most, of programs that are busy. */
  static final long MAX_REST_NANOS = Long.getLong("outboard.busy.nanos", 500_000);

  /** How long edges wait at most for a program that was told of one, and is to wake up. */
  static final long TOLD_NANOS = Long.getLong("outboard.told.nanos", 100_000);

  /** Of more processes it is not asked whether they all look. */
  private static final int MAX_ASKED = 64;

  /** One process. */
  static final class Looker {
    private int threads; // guarded by the Lookers
    private volatile boolean waits;
    private volatile boolean everLooked;

    /** When it last said by a look that nobody of it waits. */
    private volatile long directlyAt;
  }

  private final Map<Integer, Looker> byPid = new HashMap<>(); // guarded by this
  private final AtomicInteger waiting = new AtomicInteger();
  private volatile int directly;
  private volatile @Nullable Thread resting;
  private final BooleanSupplier hurried;

  /**
   * @param hurried whether somebody is told of edges who does not look for them
   */
  Lookers(BooleanSupplier hurried) {
    this.hurried = hurried;
  }

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
      l.everLooked = true;
      if (!l.waits) {
        l.waits = true;
        waiting.incrementAndGet();
      }
    }
    wakeResting();
  }

  /** From now on somebody is told of edges who does not look for them. */
  void hurry() {
    wakeResting();
  }

  private void wakeResting() {
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
          wakeResting();
        }
      }
    }
  }

  /** The process looks, and is told at once; of its threads only this one could be waiting. */
  void looksDirectly(Looker l) {
    l.directlyAt = System.nanoTime();
    l.everLooked = true;
    runs(l);
  }

  /** Whether whoever has ever looked has just done so. */
  private synchronized boolean allLookDirectly() {
    if (byPid.size() > MAX_ASKED) {
      return false;
    }
    long now = System.nanoTime();
    boolean any = false;
    for (Looker l : byPid.values()) {
      if (l.everLooked && (l.directlyAt == 0 || now - l.directlyAt > MAX_REST_NANOS)) {
        return false;
      }
      any |= l.everLooked;
    }
    return any;
  }

  /**
   * The only process that may have waited was told of something that it can do: gives it the time
   * to wake up. It will look before it waits again, and needs to be told of no more until then; but
   * if it was not waiting for that, it is told of what has come meanwhile.
   */
  void told() {
    if (directly == 0 || waiting.get() != 1 || hurried.getAsBoolean()) {
      return;
    }
    long until = System.nanoTime() + TOLD_NANOS;
    resting = Thread.currentThread();
    for (long left = TOLD_NANOS;
        left > 0 && waiting.get() == 1 && !hurried.getAsBoolean();
        left = until - System.nanoTime()) {
      LockSupport.parkNanos(this, left);
    }
    resting = null;
  }

  /** Waits while nobody does, for a bounded time. */
  void rest() {
    if (directly == 0 || waiting.get() > 0 || hurried.getAsBoolean()) {
      return;
    }
    resting = Thread.currentThread();
    do {
      long until = System.nanoTime() + MAX_REST_NANOS;
      for (long left = MAX_REST_NANOS;
          left > 0 && waiting.get() == 0 && !hurried.getAsBoolean();
          left = until - System.nanoTime()) {
        LockSupport.parkNanos(this, left);
      }
    } while (waiting.get() == 0 && directly > 0 && !hurried.getAsBoolean() && allLookDirectly());
    resting = null;
  }
}
