// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.File;
import dev.outboard.abi.Poll;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;

/**
 * The program's threads that wait for a window: for room in it, or for something to be there. Each
 * waits by an event descriptor of its own, so that signals and the caller's end wake it as they
 * would any call.
 *
 * <p>Guarded by the window's monitor.
 */
final class WindowWaiters {
  private static final MemorySegment ONE = Arena.global().allocateFrom(ValueLayout.JAVA_LONG, 1);

  private final Object monitor;
  private final List<Integer> events = new ArrayList<>(1);

  /**
   * @param monitor what guards the window
   */
  WindowWaiters(Object monitor) {
    this.monitor = monitor;
  }

  /**
   * Waits, without the monitor, until {@link #wake}, but not if there is no need to.
   *
   * @param waits whether there is, asked with the monitor
   * @return 0, or what to answer: {@link DeviceCalls#awaitHost}
   */
  long await(DeviceCalls calls, Notification n, BooleanSupplier waits) {
    int event = (int) Linux.eventfd(File.EFD_CLOEXEC);
    if (event < 0) {
      return event;
    }
    try {
      synchronized (monitor) {
        if (!waits.getAsBoolean()) {
          return 0;
        }
        events.add(event);
      }
      return Math.min(0, calls.awaitHost(n, event, Poll.POLLIN));
    } finally {
      // Nobody may write to the number once it is somebody else's.
      synchronized (monitor) {
        events.removeIf(e -> e == event);
      }
      Linux.close(event);
    }
  }

  /** Has whoever waits look again; who calls has the monitor. */
  void wake() {
    for (int event : events) {
      Linux.write(event, ONE.address(), Long.BYTES);
    }
  }
}
