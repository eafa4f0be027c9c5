// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * How long calls took, as counts of times: eight buckets to each doubling, so that a percentile is
 * right to 9 %. Any thread may record or read; a reading while calls go on is a moment's view.
 */
public final class CallTimes {
  /** Eight buckets to each of 40 doublings: up to 18 minutes. */
  private static final int BUCKETS = 8 * 41;

  private final AtomicLongArray counts = new AtomicLongArray(BUCKETS);

  /** No calls so far. */
  public CallTimes() {}

  /** Counts a call. */
  public void record(long nanos) {
    counts.incrementAndGet(bucket(nanos));
  }

  /** A time that so many of a hundred calls did not exceed, to 9 %; 0 without calls. */
  public long percentile(int percent) {
    long total = 0;
    for (int i = 0; i < BUCKETS; i++) {
      total += counts.get(i);
    }
    long rank = (total * percent + 99) / 100;
    long seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
      seen += counts.get(i);
      if (seen >= rank && seen > 0) {
        return floor(i);
      }
    }
    return 0;
  }

  /** The bucket of a time: its highest bit, then the three bits below. */
  public static int bucket(long nanos) {
    if (nanos < 8) {
      return (int) Math.max(0, nanos);
    }
    int high = 63 - Long.numberOfLeadingZeros(nanos);
    int index = (high - 2) * 8 + (int) (nanos >>> (high - 3) & 7);
    return Math.min(index, BUCKETS - 1);
  }

  /** The least time that falls into a bucket. */
  public static long floor(int bucket) {
    if (bucket < 8) {
      return bucket;
    }
    int high = bucket / 8 + 2;
    return (1L << high) + ((long) (bucket % 8) << (high - 3));
  }
}
