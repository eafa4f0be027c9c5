// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import dev.outboard.abi.File;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * An eventfd by which the driver, or another thread of the device, wakes one thread.
 *
 * <p>{@link #await} is for that one thread, {@link #signal} for any, also after the end. The maker
 * closes it when the driver cannot signal it any more.
 */
final class Kick implements AutoCloseable {
  private final int fd;
  private final MemorySegment counter;
  private final MemorySegment one;
  private boolean closed; // guarded by this

  Kick(Arena arena) throws NetException {
    long r = Linux.eventfd(File.EFD_CLOEXEC);
    if (r < 0) {
      throw new NetException("cannot make an eventfd: " + Errno.name((int) -r));
    }
    fd = (int) r;
    counter = arena.allocate(ValueLayout.JAVA_LONG);
    one = arena.allocate(ValueLayout.JAVA_LONG);
    one.set(ValueLayout.JAVA_LONG, 0, 1);
  }

  int descriptor() {
    return fd;
  }

  synchronized void signal() {
    if (closed) {
      return;
    }
    Linux.write(fd, one.address(), Long.BYTES);
  }

  /** Waits until somebody signals; several signals are one. */
  void await() {
    while (Linux.read(fd, counter.address(), Long.BYTES) == -Errno.EINTR) {
      // again
    }
  }

  @Override
  public synchronized void close() {
    closed = true;
    Linux.close(fd);
  }
}
