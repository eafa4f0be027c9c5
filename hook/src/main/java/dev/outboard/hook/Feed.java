// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.DeviceLink;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A thread that takes packets out of a socket of the device, many with a call, and puts them into
 * memory that the program reads without a call.
 *
 * <p>The thread waits on the device for a packet, and no longer than until there is something to do
 * by itself. It owns a call slot and one use of the open file; both are given back when it ends.
 * {@link #stop} makes it end, soon, and may be called by any thread; all other methods, too, may be
 * called by any. What a subclass does with the memory it does under this object's lock.
 */
abstract class Feed {
  /** A look waits so long at most for what the device has received already. */
  private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

  /** So many calls take more out of a socket than any socket's buffer holds. */
  private static final int MOST_ROUNDS = 64;

  private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(5);

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final Readiness readiness;
  private final OpenFile file;
  private final Placeholder placeholder;
  private final CallSlot slot;
  private final Thread thread;

  // Guarded by this.
  private boolean stopping;
  private boolean waiting;
  private boolean submitted;
  private long wanted;
  private long done;
  private int rounds;

  /**
   * @param slot for this object alone
   */
  Feed(Hook.Services hook, OpenFile file, Placeholder placeholder, CallSlot slot) {
    this.link = hook.link();
    this.calls = hook.calls();
    this.readiness = hook.readiness();
    this.file = file;
    this.placeholder = placeholder;
    this.slot = slot;
    this.thread =
        Thread.ofPlatform().name("outboard-ring-" + file.handle()).daemon().unstarted(this::run);
  }

  /** Says what to ask the device for. */
  abstract void receive(Call c, boolean waits);

  /**
   * Takes what a call has brought. Under the lock, as all below.
   *
   * @param bytes how many; they come from the device, which may have said anything
   * @return whether the program has more now than before
   */
  abstract boolean put(MemorySegment data, long bytes);

  /** Whether a poll finds something to read. */
  abstract boolean holds();

  /** What the socket said in the place of packets; false if that is its end. */
  abstract boolean failed(int errno);

  /** When {@link #tick} is due; {@link Long#MAX_VALUE} for never, as long as nothing is put. */
  long deadline() {
    return Long.MAX_VALUE;
  }

  /**
   * Does what is due by now.
   *
   * @return as {@link #put}
   */
  boolean tick(long now) {
    return false;
  }

  /** The thread has ended. Not under the lock. */
  abstract void ended();

  /** Begins. The caller holds a use of the file, which is this object's from here on. */
  void start() {
    synchronized (this) {
      show(false);
    }
    thread.start();
  }

  /** The file on which packets come. */
  final OpenFile file() {
    return file;
  }

  /** Where it shows what there is. */
  final Placeholder placeholder() {
    return placeholder;
  }

  /**
   * A thread of the program is about to look: shows whether there is something.
   *
   * <p>What the device has received was there at once, were this its own kernel; so if there is
   * nothing, what is on its way is waited for, as far as it is known of.
   *
   * @param n the look; null if nothing is to be waited for
   */
  final void look(@Nullable Notification n) {
    if (n != null && !readable()) {
      if (placeholder.deviceReadable()) {
        n.willBlock();
        flush(LOOK_NANOS);
      }
      synchronized (this) {
        await(LOOK_NANOS, () -> !submitted || !slot.answered());
      }
    }
    synchronized (this) {
      if (!stopping) {
        tick(System.nanoTime());
        show(false);
      }
    }
  }

  private synchronized boolean readable() {
    return stopping || holds();
  }

  /** Takes over what the device has received before this call. */
  final void flush() {
    flush(TimeUnit.SECONDS.toNanos(1));
  }

  private synchronized void flush(long nanos) {
    long mine = ++wanted;
    if (waiting) {
      link.interrupt(slot);
    }
    await(nanos, () -> done >= mine);
  }

  private interface Test {
    boolean holds();
  }

  /** Under the lock. */
  private void await(long nanos, Test test) {
    long deadline = System.nanoTime() + nanos;
    boolean interrupted = false;
    while (!test.holds() && !stopping && thread.isAlive()) {
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        break;
      }
      try {
        TimeUnit.NANOSECONDS.timedWait(this, Math.min(left, PAUSE_NANOS));
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Makes the thread end. */
  final synchronized void stop() {
    stopping = true;
    if (waiting) {
      link.interrupt(slot);
    }
    notifyAll();
  }

  /** Waits until it has ended. */
  final void join() {
    Uninterrupted.join(thread);
  }

  private void run() {
    try {
      int empty = 0;
      while (submit()) {
        awaitCall();
        long r = slot.result();
        empty = r == -Errno.EAGAIN ? empty + 1 : 0;
        if (!take(r)) {
          return;
        }
        // Ready, and nothing there: an error queue, which is none of ours. Do not run in circles.
        if (empty > 2 && r == -Errno.EAGAIN) {
          LockSupport.parkNanos(PAUSE_NANOS);
        }
      }
    } finally {
      synchronized (this) {
        stopping = true;
        notifyAll();
      }
      link.detach(slot);
      ended();
      calls.unuse(file);
    }
  }

  /** Starts the next call; false at the end. */
  private synchronized boolean submit() {
    if (stopping) {
      return false;
    }
    waiting = wanted == done;
    submitted = true;
    receive(slot.call(), waiting);
    slot.submit();
    return true;
  }

  private void awaitCall() {
    for (; ; ) {
      long due;
      synchronized (this) {
        due = deadline();
      }
      long nanos = due == Long.MAX_VALUE ? due : Math.max(0, due - System.nanoTime());
      if (slot.await(nanos)) {
        return;
      }
      synchronized (this) {
        if (tick(System.nanoTime())) {
          show(true);
        }
      }
    }
  }

  /** Takes what a call has brought; false if no other can bring more. */
  private synchronized boolean take(long r) {
    submitted = false;
    boolean waited = waiting;
    waiting = false;
    if (r > 0) {
      MemorySegment data = slot.call().data;
      if (put(data, Math.min(r, data.byteSize()))) {
        show(true);
      }
    }
    if (!waited) {
      rounds++;
      if (r <= 0 || rounds >= MOST_ROUNDS) {
        done = wanted;
        rounds = 0;
      }
    }
    notifyAll();
    if (r >= 0 || r == -Errno.EAGAIN || r == -Errno.EINTR || r == -Errno.ERESTARTSYS) {
      return true;
    }
    if (link.lost() || r == -Errno.EBADF || !failed((int) -r)) {
      return false;
    }
    show(true);
    return true;
  }

  /** Under the lock. */
  private void show(boolean more) {
    readiness.ring(placeholder, holds(), more);
  }

  /** Throws away what the socket holds; before {@link #start}. */
  final void drain() {
    for (int i = 0; i < MOST_ROUNDS; i++) {
      receive(slot.call(), false);
      slot.submit();
      slot.await(Long.MAX_VALUE);
      if (slot.result() <= 0) {
        return;
      }
    }
  }
}
