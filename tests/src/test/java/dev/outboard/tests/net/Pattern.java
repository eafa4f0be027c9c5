// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import java.util.SplittableRandom;
import java.util.zip.CRC32C;

/** Bytes that no fault leaves alike, and their checksum. */
final class Pattern {
  private static final int BLOCK = 128 << 10;

  private final long blocks;
  private final byte[] block = new byte[BLOCK];
  private final SplittableRandom random;
  private final CRC32C sum = new CRC32C();
  private long made;

  Pattern(long seed, long bytes) {
    this.random = new SplittableRandom(seed);
    this.blocks = bytes / BLOCK;
  }

  static int blockBytes() {
    return BLOCK;
  }

  /** The next block, in an array that is used again, or null after the last. */
  byte @org.jspecify.annotations.Nullable [] next() {
    if (made == blocks) {
      return null;
    }
    // A fresh start for each block; within it a cheap generator is enough.
    long x = random.nextLong() | 1;
    for (int i = 0; i < BLOCK; i += 8) {
      x ^= x << 13;
      x ^= x >>> 7;
      x ^= x << 17;
      for (int k = 0; k < 8; k++) {
        block[i + k] = (byte) (x >>> (8 * k));
      }
    }
    made++;
    sum.update(block);
    return block;
  }

  long sum() {
    return sum.getValue();
  }
}
