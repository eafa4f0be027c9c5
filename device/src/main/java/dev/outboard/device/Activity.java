// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.channel.CallTimes;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.util.concurrent.atomic.AtomicLong;

/** What a session does: how many calls, how long they took, how much they moved. Any thread. */
final class Activity {
  private static final byte NONE = 0;
  private static final byte IN = 1;
  private static final byte OUT = 2;

  /** Which way a call's result counts bytes, by its canonical number. */
  private static final byte[] DIRECTIONS = directions();

  private final CallTimes times = new CallTimes();
  private final AtomicLong calls = new AtomicLong();
  private final AtomicLong in = new AtomicLong();
  private final AtomicLong out = new AtomicLong();

  private static byte[] directions() {
    int highest = 0;
    for (Row row : SyscallTable.rows()) {
      highest = Math.max(highest, row.canonical());
    }
    byte[] directions = new byte[highest + 1];
    for (Row row : SyscallTable.rows()) {
      if (row.canonical() >= 0 && row.onDevice() && row.result() == ResultKind.BYTES) {
        directions[row.canonical()] = direction(row);
      }
    }
    return directions;
  }

  private static byte direction(Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      Arg.Kind kind = row.arg(i).kind();
      if (kind == Arg.Kind.IN || kind == Arg.Kind.IOVEC_IN || kind == Arg.Kind.MSGHDR_IN) {
        return IN;
      }
      if (kind == Arg.Kind.OUT || kind == Arg.Kind.IOVEC_OUT || kind == Arg.Kind.MSGHDR_OUT) {
        return OUT;
      }
    }
    return NONE;
  }

  /**
   * A call is over.
   *
   * @param number canonical, or a pseudo call's
   * @param result what it ended with
   */
  void call(int number, long result, long nanos) {
    calls.incrementAndGet();
    times.record(nanos);
    byte direction = direction(number);
    if (result > 0 && direction != NONE) {
      (direction == IN ? in : out).addAndGet(result);
    }
  }

  /** How many bytes a call has moved that ended with {@code result}. */
  static long bytes(int number, long result) {
    return direction(number) == NONE ? 0 : Math.max(0, result);
  }

  private static byte direction(int number) {
    return number >= 0 && number < DIRECTIONS.length
        ? DIRECTIONS[number]
        : number == PseudoCall.RECEIVE ? OUT : number == PseudoCall.SEND ? IN : NONE;
  }

  long calls() {
    return calls.get();
  }

  /** Bytes that the program has sent or written. */
  long bytesIn() {
    return in.get();
  }

  /** Bytes that it has received or read. */
  long bytesOut() {
    return out.get();
  }

  /** As {@link CallTimes#percentile}. */
  long percentile(int percent) {
    return times.percentile(percent);
  }
}
