// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * How long the device took for calls by slots that are lent, for each call by the number that the
 * program's kernel has for it, as counts of times: four buckets to each doubling from 256 ns up to
 * a millisecond, which is the longest that such a call waits. So a percentile is right to 19 %.
 *
 * <p>The device keeps one for each such slot and shows it in the slot's header, where the host
 * reads it; the program in between may write what it likes there, of its own calls. Not for several
 * threads at a time.
 */
public final class DirectTimes {
  /** What programs call by such slots. */
  private static final String[] CALLS = {
    "read",
    "write",
    "readv",
    "writev",
    "sendto",
    "recvfrom",
    "sendfile",
    "setsockopt",
    "getsockopt",
    "getsockname",
    "getpeername",
    "ioctl",
    "fstat",
    "newfstatat",
    "poll",
    "pselect6",
    "epoll_wait",
    "epoll_pwait"
  };

  private static final int BUCKETS = 51;
  private static final int FIRST_BIT = 8;
  private static final int NUMBERS = 512;
  private static final byte[] PLACES = places();

  private final int[] counts = new int[CALLS.length * BUCKETS];

  /** No calls so far. */
  public DirectTimes() {}

  private static byte[] places() {
    if (SlotLayout.TIMES + (long) CALLS.length * BUCKETS * Integer.BYTES > SlotLayout.DATA) {
      throw new AssertionError("the times do not fit into a slot's header");
    }
    byte[] places = new byte[NUMBERS];
    for (int i = 0; i < CALLS.length; i++) {
      places[SyscallTable.row(CALLS[i]).x86()] = (byte) (i + 1);
    }
    return places;
  }

  private static int place(int number) {
    return number >= 0 && number < NUMBERS ? PLACES[number] - 1 : -1;
  }

  private static int bucket(long nanos) {
    if (nanos < 1 << FIRST_BIT) {
      return 0;
    }
    int high = 63 - Long.numberOfLeadingZeros(nanos);
    return Math.min((high - FIRST_BIT) * 4 + (int) (nanos >>> (high - 2) & 3) + 1, BUCKETS - 1);
  }

  private static long floor(int bucket) {
    if (bucket == 0) {
      return 0;
    }
    int high = FIRST_BIT + (bucket - 1) / 4;
    return (1L << high) + ((long) ((bucket - 1) % 4) << (high - 2));
  }

  /**
   * Counts a call, and shows that.
   *
   * @param header of the slot, at least {@link SlotLayout#DATA} bytes
   * @param number of the call, as the program says; none that is not known is counted
   */
  void record(MemorySegment header, int number, long nanos) {
    int place = place(number);
    if (place >= 0) {
      int at = place * BUCKETS + bucket(nanos);
      counts[at]++;
      header.set(ValueLayout.JAVA_INT, SlotLayout.TIMES + (long) at * Integer.BYTES, counts[at]);
    }
  }

  /** Adds what a slot shows. */
  void add(MemorySegment header) {
    for (int i = 0; i < counts.length; i++) {
      counts[i] += header.get(ValueLayout.JAVA_INT, SlotLayout.TIMES + (long) i * Integer.BYTES);
    }
  }

  /** Adds what another has. */
  public void add(DirectTimes other) {
    for (int i = 0; i < counts.length; i++) {
      counts[i] += other.counts[i];
    }
  }

  /** A time that so many of a hundred of a call did not exceed, in ns, to 19 %; 0 without any. */
  public long percentile(int number, int percent) {
    int place = place(number);
    if (place < 0) {
      return 0;
    }
    int from = place * BUCKETS;
    long total = 0;
    for (int i = 0; i < BUCKETS; i++) {
      total += Integer.toUnsignedLong(counts[from + i]);
    }
    long rank = (total * percent + 99) / 100;
    long seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
      seen += Integer.toUnsignedLong(counts[from + i]);
      if (seen >= rank && seen > 0) {
        return floor(i);
      }
    }
    return 0;
  }
}
