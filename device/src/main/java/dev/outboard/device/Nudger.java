// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.posix.HeapRelief;
import java.util.ArrayList;
import java.util.List;

/**
 * Repeats interruptions until they have worked. An interruption can miss a call that is about to
 * start, in every kernel that stands behind {@link Kernel}, so it is sent again until the call is
 * out or the thread has ended.
 *
 * <p>One daemon platform thread for the whole device; asleep while there is nothing to do. Any
 * thread may call any method.
 */
final class Nudger implements AutoCloseable {
  private static final long FAST_MILLIS = 1;
  private static final long SLOW_MILLIS = 10;
  private static final long FAST_NANOS = 50_000_000;

  /** Any call, and the thread itself. */
  private static final int END = 0;

  private record Target(ShadowThread shadow, int sequence, long since) {
    boolean is(ShadowThread other, int call) {
      return shadow == other && sequence == call;
    }
  }

  private final List<Target> targets = new ArrayList<>();
  private final Thread thread;
  private boolean closed;

  Nudger() {
    thread = Thread.ofPlatform().name("nudger").daemon(true).start(this::run);
  }

  /** Interrupts call {@code sequence} of a shadow thread until it is out. */
  void interrupt(ShadowThread shadow, int sequence) {
    if (shadow.interrupt(sequence)) {
      repeat(shadow, sequence);
    }
  }

  /** Goes on with the interruption of call {@code sequence} until it is out. */
  void repeat(ShadowThread shadow, int sequence) {
    add(shadow, sequence);
  }

  /** Ends a shadow thread. */
  void end(ShadowThread shadow) {
    shadow.end();
    add(shadow, END);
  }

  private synchronized void add(ShadowThread shadow, int sequence) {
    // A host may ask as often as it likes; there is one target for each call.
    if (targets.stream().noneMatch(t -> t.is(shadow, sequence))) {
      targets.add(new Target(shadow, sequence, System.nanoTime()));
      notifyAll();
    }
  }

  private void run() {
    List<Target> now = new ArrayList<>();
    List<Target> done = new ArrayList<>();
    HeapRelief heap = new HeapRelief();
    try {
      while (true) {
        now.clear();
        synchronized (this) {
          targets.removeAll(done);
          while (targets.isEmpty() && !closed) {
            wait();
          }
          if (closed) {
            return;
          }
          now.addAll(targets);
        }
        long pause = SLOW_MILLIS;
        done.clear();
        for (Target target : now) {
          if (nudge(target)) {
            if (System.nanoTime() - target.since < FAST_NANOS) {
              pause = FAST_MILLIS;
            }
          } else {
            done.add(target);
          }
        }
        if (!done.isEmpty()) {
          heap.look(); // Threads that have ended are what the device's garbage is made of.
        }
        Thread.sleep(pause);
      }
    } catch (InterruptedException e) {
      // close() ends this thread.
    }
  }

  /** Whether it must be done again. */
  private static boolean nudge(Target target) {
    if (target.sequence != END) {
      return target.shadow.interruptAgain(target.sequence);
    }
    if (target.shadow.alive()) {
      target.shadow.end();
      return true;
    }
    return false;
  }

  @Override
  public void close() {
    synchronized (this) {
      closed = true;
    }
    thread.interrupt();
  }
}
