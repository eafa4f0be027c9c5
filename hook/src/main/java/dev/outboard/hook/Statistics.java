// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.CallTimes;
import dev.outboard.channel.Traffic;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Counts what ran where, and how long the device's part took.
 *
 * <p>Any thread may record or read; a reading while calls go on is a moment's view.
 */
public final class Statistics {
  private static final int MAX_NUMBER = 1024;

  private final AtomicLongArray onHost = new AtomicLongArray(MAX_NUMBER);
  private final AtomicLongArray answered = new AtomicLongArray(MAX_NUMBER);
  private final AtomicLongArray deviceCalls = new AtomicLongArray(MAX_NUMBER);
  private final AtomicLongArray bytes = new AtomicLongArray(MAX_NUMBER);
  private final AtomicLongArray spinsWon = new AtomicLongArray(MAX_NUMBER);
  private final AtomicLongArray spinsLost = new AtomicLongArray(MAX_NUMBER);
  private final AtomicReferenceArray<@Nullable CallTimes> times =
      new AtomicReferenceArray<>(MAX_NUMBER);
  private volatile @Nullable Traffic traffic;
  private volatile @Nullable Untrapped untrapped;
  private volatile @Nullable LongSupplier sentAhead;
  private volatile @Nullable LongSupplier receivedAhead;
  private volatile @Nullable LongSupplier certain;

  /** Knows what the shim did. */
  interface Untrapped {
    /** What it was up to now, in all processes. */
    ShimCounts counts();
  }

  /**
   * What is known of one system call.
   *
   * @param name the call
   * @param device how often the device did its work, after a trap or not
   * @param direct how often of these the shim asked it, without a trap; some are lost among threads
   * @param atOnce how often of these the program did not wait for the device: a send that went
   *     ahead, a receive of what had been looked at
   * @param host how often it was trapped and then left to the host's kernel
   * @param passed how often the shim let it go there without a trap; some are lost among threads
   * @param hook how often the hook answered it without either
   * @param bytes moved by it to and from the device
   * @param medianNanos time on the device, channel included, of calls that trapped; 0 without any
   * @param p99Nanos likewise
   * @param directMedianNanos time on the device, from where it takes the call to where it replies,
   *     of calls that did not trap and were waited for, to 19 %; 0 without any
   * @param directP99Nanos likewise
   * @param spinsWon waits for the device that ended while the waiter looked for their end, before
   *     it slept; those that do not look at all, as they would not find anything, are in neither
   * @param spinsLost waits that looked in vain, and slept
   */
  public record Line(
      String name,
      long device,
      long direct,
      long atOnce,
      long host,
      long passed,
      long hook,
      long bytes,
      long medianNanos,
      long p99Nanos,
      long directMedianNanos,
      long directP99Nanos,
      long spinsWon,
      long spinsLost) {}

  /** Starts with nothing counted. */
  public Statistics() {}

  /** Says where what crosses the channel is counted. */
  void countsOn(Traffic t) {
    traffic = t;
  }

  /** Says who counts what was not trapped. */
  void counts(Untrapped u) {
    untrapped = u;
  }

  /** Says who counts the sends that did not wait for the device. */
  void countsAhead(LongSupplier sends) {
    sentAhead = sends;
  }

  /** How many sends ended before the device had made them. */
  public long sentAhead() {
    LongSupplier s = sentAhead;
    Untrapped u = untrapped;
    return (s == null ? 0 : s.getAsLong()) + (u == null ? 0 : u.counts().wentAhead());
  }

  /** Says who counts the receives that did not ask the device. */
  void countsCertain(LongSupplier calls) {
    certain = calls;
  }

  /** Calls other than sends and receives that did not wait for a device at the end of a link. */
  public long certain() {
    LongSupplier s = certain;
    return s == null ? 0 : s.getAsLong();
  }

  void countsReceivedAhead(LongSupplier receives) {
    receivedAhead = receives;
  }

  /** How many receives were answered from what the device had told before. */
  public long receivedAhead() {
    LongSupplier s = receivedAhead;
    Untrapped u = untrapped;
    return (s == null ? 0 : s.getAsLong()) + (u == null ? 0 : u.counts().peeked());
  }

  /** Bytes of calls, data and frames from the host to the device. */
  public long channelToDevice() {
    Traffic t = traffic;
    return t == null ? 0 : t.toDevice() + directCalls(Traffic.CALL_BYTES, true);
  }

  /** The same from the device to the host. */
  public long channelFromDevice() {
    Traffic t = traffic;
    return t == null ? 0 : t.fromDevice() + directCalls(Traffic.REPLY_BYTES, false);
  }

  /** Bytes of the calls that did not trap: so many each, and the data of those that send or not. */
  private long directCalls(int each, boolean sends) {
    Untrapped u = untrapped;
    if (u == null) {
      return 0;
    }
    ShimCounts shim = u.counts();
    long n = 0;
    for (Row row : SyscallTable.rows()) {
      long calls = shim.direct(row.x86());
      n += calls * each;
      if (calls == 0) {
        continue;
      }
      if (row.x86() == SyscallNumbers.SENDFILE) {
        // From files of the host to the device; from the device's own nothing crosses.
        n += sends ? shim.directBytes(row.x86()) - shim.stayedBytes() : 0;
      } else if (sends(row) == sends) {
        n += shim.directBytes(row.x86());
      }
    }
    return n;
  }

  private static boolean sends(Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      Arg.Kind kind = row.arg(i).kind();
      if (kind == Arg.Kind.IN || kind == Arg.Kind.IOVEC_IN) {
        return true;
      }
    }
    return false;
  }

  /**
   * Records an answer.
   *
   * @param calls how many device calls it needed
   * @param nanos what these took together
   * @param won how many waits for them ended while the waiter looked for their end
   * @param lost how many looked in vain
   */
  void record(Row row, boolean host, long result, int calls, long nanos, int won, int lost) {
    int nr = row.x86();
    if (host) {
      onHost.incrementAndGet(nr);
    } else {
      answered.incrementAndGet(nr);
    }
    if (calls > 0) {
      deviceCalls.incrementAndGet(nr);
      if (won > 0) {
        spinsWon.addAndGet(nr, won);
      }
      if (lost > 0) {
        spinsLost.addAndGet(nr, lost);
      }
      CallTimes t = times.get(nr);
      if (t == null) {
        times.compareAndSet(nr, null, new CallTimes());
        t = times.get(nr);
      }
      if (t != null) {
        t.record(nanos);
      }
      long moved = bytes(row, calls, result);
      if (moved > 0) {
        bytes.addAndGet(nr, moved);
      }
    }
  }

  /** How many bytes an answer says that the device moved. */
  static long bytes(Row row, int calls, long result) {
    return calls > 0 && row.result() == ResultKind.BYTES ? Math.max(0, result) : 0;
  }

  /** One line for each call that was trapped or could have been, the most frequent first. */
  public List<Line> lines() {
    List<Line> lines = new ArrayList<>();
    Untrapped u = untrapped;
    ShimCounts shim = u == null ? new ShimCounts() : u.counts();
    for (Row row : SyscallTable.rows()) {
      int nr = row.x86();
      long host = onHost.get(nr);
      long other = answered.get(nr);
      long device = deviceCalls.get(nr);
      long passed = shim.passed(nr);
      long direct = shim.direct(nr);
      if (host + other + passed + direct > 0) {
        CallTimes t = times.get(nr);
        lines.add(
            new Line(
                row.name(),
                device + direct,
                direct,
                shim.atOnce(nr),
                host,
                passed,
                Math.max(0, other - device),
                bytes.get(nr) + shim.directBytes(nr),
                t == null ? 0 : t.percentile(50),
                t == null ? 0 : t.percentile(99),
                shim.directNanos(nr, 50),
                shim.directNanos(nr, 99),
                spinsWon.get(nr) + shim.spinsWon(nr),
                spinsLost.get(nr) + shim.spinsLost(nr)));
      }
    }
    lines.sort(
        Comparator.comparingLong((Line l) -> -(l.device() + l.host() + l.passed() + l.hook())));
    return lines;
  }
}
