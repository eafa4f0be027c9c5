// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Stat;
import java.lang.foreign.MemorySegment;

/**
 * What shows that a file has changed: its size, and when its contents and its inode were changed
 * last. Of one thread at a time.
 */
final class FileStamp {
  private long size;
  private long modified;
  private int modifiedNanos;
  private long changed;
  private int changedNanos;

  /** Becomes that of a {@code struct statx}, which lies {@code at} bytes into {@code s}. */
  void set(MemorySegment s, long at) {
    size = s.get(JAVA_LONG, at + Stat.STATX_SIZE);
    modified = s.get(JAVA_LONG, at + Stat.STATX_MTIME);
    modifiedNanos = s.get(JAVA_INT, at + Stat.STATX_MTIME + Stat.STATX_NANOS);
    changed = s.get(JAVA_LONG, at + Stat.STATX_CTIME);
    changedNanos = s.get(JAVA_INT, at + Stat.STATX_CTIME + Stat.STATX_NANOS);
  }

  /** Whether it is that of a {@code struct statx}. */
  boolean is(MemorySegment s, long at) {
    return isModifiedAt(s, at)
        && changed == s.get(JAVA_LONG, at + Stat.STATX_CTIME)
        && changedNanos == s.get(JAVA_INT, at + Stat.STATX_CTIME + Stat.STATX_NANOS);
  }

  /** Whether size and time of modification are the same: all that FUSE's client compares. */
  boolean isModifiedAt(MemorySegment s, long at) {
    return size == s.get(JAVA_LONG, at + Stat.STATX_SIZE)
        && modified == s.get(JAVA_LONG, at + Stat.STATX_MTIME)
        && modifiedNanos == s.get(JAVA_INT, at + Stat.STATX_MTIME + Stat.STATX_NANOS);
  }
}
