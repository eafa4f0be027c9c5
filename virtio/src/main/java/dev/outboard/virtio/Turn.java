// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/**
 * Whose turn it is to do a work that is done when there is nothing left of it: nobody waits for a
 * turn, but who finds it taken leaves word, and the work is looked at once more.
 *
 * <p>What one holder did happens before what the next one does. Any thread may call any method.
 */
final class Turn {
  private static final int FREE = 0;
  private static final int TAKEN = 1;
  private static final int ASKED = 2;
  private static final int CLOSED = 3;

  private final AtomicInteger state = new AtomicInteger(FREE);

  /**
   * Takes the turn, if it is free.
   *
   * @return whether the caller has it. If not, whoever has it looks again before it is given back,
   *     or it is closed.
   */
  boolean take() {
    for (; ; ) {
      int now = state.get();
      if (now == FREE) {
        if (state.compareAndSet(FREE, TAKEN)) {
          return true;
        }
      } else if (now != TAKEN || state.compareAndSet(TAKEN, ASKED)) {
        return false;
      }
    }
  }

  /**
   * Gives the turn back, after there was nothing left to do.
   *
   * @return false if somebody has asked meanwhile: the caller has the turn still, and looks again
   */
  boolean give() {
    if (state.compareAndSet(TAKEN, FREE)) {
      return true;
    }
    state.set(TAKEN);
    return false;
  }

  /** Gives the turn back, though there may be work left; the caller wakes who does it. */
  void pass() {
    state.set(FREE);
  }

  /** Waits until the turn is free, and takes it for ever. Who has it does not keep it for long. */
  void close() {
    while (!state.compareAndSet(FREE, CLOSED)) {
      LockSupport.parkNanos(20_000);
    }
  }
}
