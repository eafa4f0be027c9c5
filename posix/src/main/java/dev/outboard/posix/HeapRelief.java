// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.util.function.LongSupplier;

/**
 * Keeps this process's heap near what lives in it.
 *
 * <p>The serial collector lets the old generation grow to its bound by what young collections
 * promote, and looks for garbage there only then: a hook or device that runs for hours would come
 * to hold a quarter of a gigabyte of dead processes and threads, which no young collection frees.
 * So the whole heap is collected whenever it has grown by a part of what it was, some milliseconds
 * for each 10 MiB that live. And as the old generation is larger than what lives from the start,
 * and each page of it that was ever used counts, the heap is collected as well when it is fuller by
 * half of its size than after the last collection: the young generation, a third of it, can not be
 * that.
 *
 * <p>One thread at a time.
 */
public final class HeapRelief {
  /** The least growth, in bytes, that is worth a collection. */
  static final long STEP_BYTES = 4 << 20;

  /** A larger heap may grow by this part of it. */
  private static final int PART = 4;

  private final LongSupplier committed;
  private final LongSupplier used;
  private final Runnable collect;
  private long limit;
  private long usedLimit;

  /** Of this process. */
  public HeapRelief() {
    this(
        () -> Runtime.getRuntime().totalMemory(),
        () -> Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory(),
        System::gc);
  }

  /**
   * @param committed how large the heap is, in bytes
   * @param used how much of it has something in it, garbage included
   * @param collect collects all of it
   */
  HeapRelief(LongSupplier committed, LongSupplier used, Runnable collect) {
    this.committed = committed;
    this.used = used;
    this.collect = collect;
    next();
  }

  /** To be called now and then. */
  public void look() {
    if (committed.getAsLong() > limit || used.getAsLong() > usedLimit) {
      collect.run();
      next();
    }
  }

  private void next() {
    long now = committed.getAsLong();
    limit = now + Math.max(STEP_BYTES, now / PART);
    usedLimit = used.getAsLong() + now / 2;
  }
}
