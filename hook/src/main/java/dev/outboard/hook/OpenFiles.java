// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** The session's {@link OpenFile}s by handle. All methods may be called by any thread. */
final class OpenFiles {
  private volatile @Nullable OpenFile[] files = new @Nullable OpenFile[64];
  private int count;

  /** The file of a handle, or null once it is closed on the device. */
  @Nullable OpenFile get(int handle) {
    @Nullable OpenFile[] f = files;
    return handle >= 0 && handle < f.length ? f[handle] : null;
  }

  synchronized void add(OpenFile file) {
    int h = file.handle();
    @Nullable OpenFile[] f = files;
    if (h >= f.length) {
      f = Arrays.copyOf(f, Math.max(h + 1, f.length * 2));
    }
    f[h] = file;
    count++;
    // Readers take the array without the lock: publish the element with it.
    files = f;
  }

  synchronized void remove(int handle) {
    @Nullable OpenFile[] f = files;
    if (handle < f.length && f[handle] != null) {
      f[handle] = null;
      count--;
      files = f;
    }
  }

  synchronized int count() {
    return count;
  }
}
