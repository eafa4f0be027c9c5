// SPDX-License-Identifier: MIT
package dev.outboard.device;

/**
 * What a device gives at most.
 *
 * @param sessions program trees at a time
 * @param slots call slots of a session, that is program threads that make device calls
 * @param threads shadow threads of all sessions together
 * @param handles descriptors of a session
 * @param memoryBytes of the kernel's memory, what each of several sessions may use; 0: as much as
 *     there is. One that has the kernel to itself may use all
 */
public record Limits(int sessions, int slots, int threads, int handles, long memoryBytes) {
  /** Without a limit of memory. */
  public Limits(int sessions, int slots, int threads, int handles) {
    this(sessions, slots, threads, handles, 0);
  }

  /** For a device that one program tree has to itself. */
  public static final Limits EMBEDDED = new Limits(1, 1024, 1024, 60_000);

  /** For a device that listens. */
  public static final Limits SHARED = new Limits(4, 512, 1024, 60_000);

  /** Whether what sessions use of the kernel's memory is counted. */
  boolean countsMemory() {
    return sessions > 1 && memoryBytes > 0;
  }

  /** Descriptor numbers are below this: a few more than handles, for the session's own. */
  int handleNumbers() {
    return handles + 64;
  }
}
