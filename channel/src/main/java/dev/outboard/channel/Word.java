// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;

/**
 * One side's wait on a futex word of a slot, with the flag that says whether it sleeps.
 *
 * <p>See {@link SlotLayout} for why no wake is lost. The waiting methods belong to one thread; the
 * waking ones may be called by any.
 */
final class Word {
  private final MemorySegment slot;
  private final long word;
  private final long sleeps;
  private final Spin spin;
  private int won;
  private int lost;

  /**
   * @param slot the slot's memory; outlives this object
   * @param word offset of the futex word
   * @param sleeps offset of the flag that its waiter sets
   * @param spin how long the waiter looks before it sleeps
   */
  Word(MemorySegment slot, long word, long sleeps, Spin spin) {
    this.spin = spin;
    this.slot = slot;
    this.word = word;
    this.sleeps = sleeps;
  }

  /** The word, by an acquire load: what was written before its store is visible after this. */
  int get() {
    return (int) SlotLayout.INT.getAcquire(slot, word);
  }

  /** Stores the word (release and more, see {@link SlotLayout}) and wakes its waiter if asleep. */
  void set(int value) {
    SlotLayout.INT.setVolatile(slot, word, value);
    wakeIfAsleep();
  }

  /** Changes the word, by whichever of its wakers, and wakes its waiter if asleep. */
  void add() {
    SlotLayout.INT.getAndAdd(slot, word, 1);
    wakeIfAsleep();
  }

  /** As {@link #set}, unless the waiter has been made to look up: it shall not wait again. */
  void answer(int value) {
    int before;
    while ((before = get()) >= 0) {
      // Not compareAndExchange: C1 leaves that to the runtime.
      if (SlotLayout.INT.compareAndSet(slot, word, before, value)) {
        wakeIfAsleep();
        return;
      }
    }
  }

  private void wakeIfAsleep() {
    if ((int) SlotLayout.INT.getVolatile(slot, sleeps) != 0) {
      Linux.futexWake(slot.address() + word, 1);
    }
  }

  /** Makes this side's own waiter look up, whatever the other side does. May be repeated. */
  void abandon() {
    int value = (int) SlotLayout.INT.getVolatile(slot, word);
    SlotLayout.INT.setVolatile(slot, word, value ^ SlotLayout.ABANDONED);
    Linux.futexWake(slot.address() + word, 1);
  }

  /**
   * Makes this side's own waiter look up, one that reads the word by {@link #lower}: sets the sign.
   * What the other side stores meanwhile stays. Changing the sign would not do, as two changes are
   * none.
   */
  void raise() {
    int value;
    do {
      value = (int) SlotLayout.INT.getVolatile(slot, word);
    } while (value >= 0
        && !SlotLayout.INT.compareAndSet(slot, word, value, value | SlotLayout.ABANDONED));
    Linux.futexWake(slot.address() + word, 1);
  }

  /**
   * Takes back the sign, so that the next {@link #raise} changes the word: its waiter reads the
   * word by this, then looks whether it is to go on, then sleeps.
   *
   * @return the word without the sign
   */
  int lower() {
    while (true) {
      int value = (int) SlotLayout.INT.getVolatile(slot, word);
      int lowered = value & ~SlotLayout.ABANDONED;
      if (value == lowered || SlotLayout.INT.compareAndSet(slot, word, value, lowered)) {
        return lowered;
      }
    }
  }

  /**
   * Spins for a bounded time until the word is no longer {@code old}.
   *
   * @return the word
   */
  int spin(int old) {
    int now = get();
    if (now != old) {
      return now;
    }
    long bound = spin.begin();
    if (bound == 0) {
      return now;
    }
    long start = System.nanoTime();
    do {
      for (int i = 0; i < Spin.turns(); i++) {
        Thread.onSpinWait();
        now = get();
        if (now != old) {
          spin.end(true);
          won++;
          return now;
        }
      }
    } while (System.nanoTime() - start < bound);
    spin.end(false);
    lost++;
    return now;
  }

  /** Begins to count anew. */
  void forgetSpins() {
    won = 0;
    lost = 0;
  }

  /** How often {@link #spin} saw the word change. */
  int spinsWon() {
    return won;
  }

  /** How often it looked in vain. */
  int spinsLost() {
    return lost;
  }

  /** Announces sleep; the caller reads the word (and whatever else may end its wait) after it. */
  void announce() {
    SlotLayout.INT.setVolatile(slot, sleeps, 1);
  }

  /** Takes the announcement back. */
  void awake() {
    SlotLayout.INT.setOpaque(slot, sleeps, 0);
  }

  /**
   * Sleeps while the word is {@code old}; returns early for any reason.
   *
   * @param timeout address of a relative timespec, or 0
   */
  void sleep(int old, long timeout) {
    Linux.futexWait(slot.address() + word, old, timeout);
  }
}
