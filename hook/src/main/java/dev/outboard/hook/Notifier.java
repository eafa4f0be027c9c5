// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SeccompListener;
import dev.outboard.posix.Uninterrupted;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The threads that receive trapped calls and serve them.
 *
 * <p>The kernel wakes <em>every</em> thread that waits in the receiving ioctl for each call, so
 * only one waits there: the one that has the <em>seat</em>. It serves what it receives itself,
 * which costs no wake-up for a call that is answered at once. Before it does something long it
 * gives the seat away ({@link Seat#release}), to an idle thread or a new one. A thread that kept
 * the seat too long without saying so loses it to {@link #watch}, which the janitor calls.
 *
 * <p>Bounded: a thread gives the seat away only to serve a call that has a call slot, or for a bug;
 * with more threads than slots there is always one for the seat.
 */
final class Notifier {
  /** Serves one call; must answer it. */
  interface Dispatcher {
    void dispatch(Notification n);
  }

  private static final long IDLE_SECONDS = 3;
  private static final long SEAT_NANOS = 100_000_000L;

  private final SeccompListener listener;
  private final Dispatcher dispatcher;
  private final int maxThreads;
  private final Semaphore seats = new Semaphore(1);
  private final AtomicInteger threads = new AtomicInteger();
  private final AtomicInteger waiting = new AtomicInteger();
  private final AtomicInteger names = new AtomicInteger();
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile Seat holder = new Seat();
  private volatile boolean done;

  /** The right to wait for the next call; each thread has an object of its own for it. */
  final class Seat {
    private final AtomicBoolean held = new AtomicBoolean();
    private volatile long servingSince;

    /** Lets another thread receive from now on. Does nothing if that was said already. */
    void release() {
      if (held.compareAndSet(true, false)) {
        seats.release();
        if (waiting.get() == 0) {
          spawn();
        }
      }
    }

    private boolean acquire() {
      waiting.incrementAndGet();
      boolean got;
      try {
        got = seats.tryAcquire(IDLE_SECONDS, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        got = false;
      } finally {
        waiting.decrementAndGet();
      }
      // The seat may have been given to the last idle thread at the moment it gave up.
      got = got || seats.tryAcquire();
      if (got) {
        servingSince = 0;
        held.set(true);
        holder = this;
      }
      return got;
    }
  }

  Notifier(SeccompListener listener, Dispatcher dispatcher, int maxThreads) {
    this.listener = listener;
    this.dispatcher = dispatcher;
    this.maxThreads = maxThreads;
  }

  /** Starts the first thread. */
  void start() {
    spawn();
  }

  /** Waits until no thread of the program is left under the filter. */
  void awaitEnd() {
    Uninterrupted.await(ended);
  }

  /** How many threads there are now. */
  int threads() {
    return threads.get();
  }

  /** Takes the seat from a thread that has served one call for too long. */
  void watch(long now) {
    Seat s = holder;
    long since = s.servingSince;
    if (since != 0 && now - since > SEAT_NANOS) {
      s.release();
    }
  }

  private void spawn() {
    int n = threads.incrementAndGet();
    if (n > maxThreads || done) {
      threads.decrementAndGet();
      return;
    }
    Thread.ofPlatform()
        .name("outboard-notifier-" + names.incrementAndGet())
        .daemon()
        .start(this::run);
  }

  private void run() {
    try (Arena arena = Arena.ofConfined()) {
      Seat seat = new Seat();
      Notification n = new Notification(listener, arena, seat);
      MemorySegment pollfd = arena.allocate(8, 4);
      while (!done) {
        if (!seat.held.get() && !seat.acquire()) {
          return;
        }
        if (done) {
          return;
        }
        long r = n.receive();
        if (r == 0) {
          seat.servingSince = System.nanoTime() | 1;
          dispatcher.dispatch(n);
          seat.servingSince = 0;
        } else if (r != -Errno.EINTR && (r != -Errno.ENOENT || hungUp(pollfd))) {
          finish();
          return;
        }
      }
    } finally {
      threads.decrementAndGet();
    }
  }

  private boolean hungUp(MemorySegment pollfd) {
    pollfd.set(ValueLayout.JAVA_INT, 0, listener.fd());
    pollfd.set(ValueLayout.JAVA_INT, 4, 0);
    Linux.poll(pollfd.address(), 1, 0);
    return (pollfd.get(ValueLayout.JAVA_SHORT, 6) & Poll.POLLHUP) != 0;
  }

  private void finish() {
    done = true;
    seats.release(maxThreads);
    ended.countDown();
  }
}
