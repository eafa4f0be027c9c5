// SPDX-License-Identifier: MIT
package dev.outboard.device;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * {@code struct pollfd}s one behind the other in a thread's scratch memory, and before them the
 * time for which {@code ppoll(2)} waits. Static, as it is on the way of calls: nothing is
 * allocated.
 *
 * <p>Every method takes the memory and the offset in it at which all this begins, 8 aligned.
 */
final class Pollfds {
  /** As long as it takes. */
  static final long ENDLESS = -1;

  private static final int TIMESPEC_BYTES = 16;
  private static final int POLLFD_BYTES = 8;
  private static final int EVENTS = 4;
  private static final int REVENTS = 6;

  /** How often a poll is made again that an interruption meant for another call has ended. */
  private static final int MAX_REPEATS = 100;

  private static final long NANOS_PER_SECOND = 1_000_000_000;

  private Pollfds() {}

  /** How much memory so many take. */
  static long bytes(int count) {
    return TIMESPEC_BYTES + (long) count * POLLFD_BYTES;
  }

  /** Asks for events of one descriptor. */
  static void set(MemorySegment memory, long at, int index, int fd, int events) {
    long own = at + bytes(index);
    memory.set(ValueLayout.JAVA_INT, own, fd);
    memory.set(ValueLayout.JAVA_SHORT, own + EVENTS, (short) events);
    memory.set(ValueLayout.JAVA_SHORT, own + REVENTS, (short) 0);
  }

  /** What the last poll found of one. */
  static int found(MemorySegment memory, long at, int index) {
    return Short.toUnsignedInt(memory.get(ValueLayout.JAVA_SHORT, at + bytes(index) + REVENTS));
  }

  /**
   * Polls those that were set.
   *
   * @param nanos how long to wait at most; 0 to look only; {@link #ENDLESS}
   * @return how many are ready, or {@code -errno}
   */
  static long poll(Kernel kernel, MemorySegment memory, long at, int count, long nanos) {
    memory.set(ValueLayout.JAVA_LONG, at, nanos / NANOS_PER_SECOND);
    memory.set(ValueLayout.JAVA_LONG, at + Long.BYTES, nanos % NANOS_PER_SECOND);
    long time = memory.address() + at;
    return kernel.syscall(
        Canonical.PPOLL, time + TIMESPEC_BYTES, count, nanos == ENDLESS ? 0 : time, 0, 0, 0);
  }

  /** What one descriptor is ready for now, of some events and of those that come unasked. */
  static int now(Kernel kernel, MemorySegment memory, long at, int fd, int events) {
    set(memory, at, 0, fd, events);
    long r;
    int repeats = 0;
    do {
      // A strike that came late makes the call return before it has looked.
      r = poll(kernel, memory, at, 1, 0);
    } while (r < 0 && ++repeats < MAX_REPEATS);
    return r > 0 ? found(memory, at, 0) : 0;
  }
}
