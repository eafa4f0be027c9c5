// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.posix.Uninterrupted;
import java.util.Arrays;

/**
 * Lets one call at a time move bytes out of a pipe, from its look at them until it has taken out
 * what the device took: as {@code pipe_lock()} does in a kernel. Waiting for a pipe to be filled is
 * to be done outside.
 *
 * <p>Bounded by the number of calls under way. All methods may be called by any thread.
 */
final class PipeLocks {
  private long[] held = new long[8];
  private int count;

  /** Holds the pipe with this inode, unless somebody else does. */
  synchronized boolean tryLock(long inode) {
    if (index(inode) >= 0) {
      return false;
    }
    lock(inode);
    return true;
  }

  /** Waits until nobody holds the pipe with this inode, and holds it. */
  synchronized void lock(long inode) {
    if (index(inode) >= 0) {
      Uninterrupted.waitUntil(this, () -> index(inode) < 0);
    }
    if (count == held.length) {
      held = Arrays.copyOf(held, count * 2);
    }
    held[count++] = inode;
  }

  /** Ends what {@link #lock} began. */
  synchronized void unlock(long inode) {
    held[index(inode)] = held[--count];
    notifyAll();
  }

  private int index(long inode) {
    for (int i = 0; i < count; i++) {
      if (held[i] == inode) {
        return i;
      }
    }
    return -1;
  }
}
