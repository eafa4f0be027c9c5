// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Fcntl;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/**
 * Waits for what is still to be sent of sockets that nobody has open any more. A kernel goes on
 * with those after the program has ended; one that is about to end itself must do so first.
 */
final class Delivery {
  /**
   * States in which a closed socket has sent something, its FIN at least, that the peer has not
   * acknowledged: FIN_WAIT1, LAST_ACK, CLOSING ({@code include/net/tcp_states.h}), as /proc/net/tcp
   * writes them.
   */
  private static final Set<String> UNACKNOWLEDGED = Set.of("04", "09", "0B");

  private static final int STATE_FIELD = 3;
  private static final long FIRST_PAUSE_NANOS = 500_000;
  private static final long LONGEST_PAUSE_NANOS = 20_000_000;

  private Delivery() {}

  /**
   * Waits, as a task of the kernel's own, for at most {@code limit}.
   *
   * @throws DeviceException if the kernel does not tell
   */
  static void await(Kernel kernel, Duration limit) throws DeviceException {
    SetupTask.run(
        kernel,
        scratch -> {
          long deadline = System.nanoTime() + limit.toNanos();
          long pause = FIRST_PAUSE_NANOS;
          while (isLeft(kernel, scratch) && System.nanoTime() - deadline <= 0) {
            LockSupport.parkNanos(pause);
            pause = Math.min(2 * pause, LONGEST_PAUSE_NANOS);
          }
        });
  }

  private static boolean isLeft(Kernel kernel, MemorySegment scratch) {
    return count(kernel, scratch, "/proc/net/tcp") + count(kernel, scratch, "/proc/net/tcp6") > 0;
  }

  private static int count(Kernel kernel, MemorySegment scratch, String table) {
    scratch.setString(0, table);
    long fd =
        kernel.syscall(
            Canonical.OPENAT, Fcntl.AT_FDCWD, scratch.address(), Fcntl.O_RDONLY, 0, 0, 0);
    if (fd < 0) {
      return 0; // without IPv6 there is no such table
    }
    StringBuilder text = new StringBuilder();
    long n;
    while ((n = kernel.syscall(Canonical.READ, fd, scratch.address(), scratch.byteSize(), 0, 0, 0))
        > 0) {
      text.append(
          new String(
              scratch.asSlice(0, n).toArray(ValueLayout.JAVA_BYTE), StandardCharsets.US_ASCII));
    }
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
    return unacknowledged(text.toString());
  }

  /** How many lines of /proc/net/tcp or tcp6 are of sockets with something unacknowledged. */
  static int unacknowledged(String table) {
    return (int)
        table
            .lines()
            .map(line -> line.strip().split("\\s+", -1))
            .filter(fields -> fields.length > STATE_FIELD)
            .filter(fields -> UNACKNOWLEDGED.contains(fields[STATE_FIELD]))
            .count();
  }
}
