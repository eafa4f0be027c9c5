// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.BooleanSupplier;

/**
 * What one thread waits for and any other makes happen. Costs no system call where nobody sleeps.
 */
public final class Bell {
  private static final long WORD = 0;
  private static final long SLEEPS = 4;
  private static final long TIMEOUT = 8;
  private static final long BYTES = 24;
  private static final long NANOS_PER_SECOND = 1_000_000_000L;

  private final MemorySegment memory;
  private final Word word;

  /**
   * @param arena where its memory is, as long as it is used
   */
  public Bell(Arena arena) {
    this.memory = arena.allocate(BYTES, 64);
    this.word = new Word(memory, WORD, SLEEPS, new Spin());
  }

  /** Has its waiter look up, after what it waits for was made true. Any thread. */
  public void ring() {
    word.add();
  }

  /**
   * Waits until something is true.
   *
   * @param something looks at what others make true by volatile loads
   * @param nanos how long at most; {@link Long#MAX_VALUE} for as long as it takes
   * @return whether it is
   */
  public boolean await(BooleanSupplier something, long nanos) {
    int now = word.get();
    if (something.getAsBoolean()) {
      return true;
    }
    word.spin(now);
    boolean endless = nanos == Long.MAX_VALUE;
    long deadline = endless ? 0 : System.nanoTime() + nanos;
    word.announce();
    try {
      while (true) {
        // Read the word, then the rest: who makes it true changes the word behind that.
        now = word.get();
        if (something.getAsBoolean()) {
          return true;
        }
        long address = 0;
        if (!endless) {
          long left = deadline - System.nanoTime();
          if (left <= 0) {
            return false;
          }
          memory.set(ValueLayout.JAVA_LONG, TIMEOUT, left / NANOS_PER_SECOND);
          memory.set(ValueLayout.JAVA_LONG, TIMEOUT + 8, left % NANOS_PER_SECOND);
          address = memory.address() + TIMEOUT;
        }
        word.sleep(now, address);
      }
    } finally {
      word.awake();
    }
  }
}
