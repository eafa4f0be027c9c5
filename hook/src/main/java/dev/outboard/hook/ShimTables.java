// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;

/**
 * The memory of all processes' tables: one file, mapped here as a whole and in each process where
 * its own table lies. Pages that nobody has touched are not there.
 *
 * <p>Any thread may call everything.
 */
final class ShimTables implements AutoCloseable {
  /** Processes beyond that go on trapping. */
  static final int MAX_TABLES = 1024;

  private static final int FALLOC_KEEP_SIZE_PUNCH_HOLE = 3;

  private final ShimFile file =
      new ShimFile("outboard-shim-tables", (long) MAX_TABLES * ShimLayout.TABLE_BYTES);
  private final BitSet used = new BitSet(MAX_TABLES);

  /** A descriptor of the file; owned by this object. */
  int fd() {
    return file.fd();
  }

  /** A table of zeros, or null if there are too many. */
  synchronized @Nullable ShimTable take() {
    int index = used.nextClearBit(0);
    if (index >= MAX_TABLES) {
      return null;
    }
    used.set(index);
    return new ShimTable(
        file.memory().asSlice((long) index * ShimLayout.TABLE_BYTES, ShimLayout.TABLE_BYTES),
        index);
  }

  /** Takes a table back whose process has ended or executed another program. */
  synchronized void give(ShimTable t) {
    long r =
        Linux.syscall(
            SyscallNumbers.FALLOCATE,
            file.fd(),
            FALLOC_KEEP_SIZE_PUNCH_HOLE,
            (long) t.index() * ShimLayout.TABLE_BYTES,
            ShimLayout.TABLE_BYTES,
            0,
            0);
    // A table that could not be wiped is not used again.
    used.set(t.index(), r < 0);
  }

  /** How many tables are in use. */
  synchronized int count() {
    return used.cardinality();
  }

  @Override
  public void close() {
    file.close();
  }
}
