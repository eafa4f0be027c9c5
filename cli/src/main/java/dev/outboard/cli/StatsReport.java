// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.hook.Statistics;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;

/**
 * What {@code outboard run --stats} tells at the end.
 *
 * @param lines the calls, the most frequent first
 * @param toDevice bytes that crossed the channel from the host
 * @param fromDevice bytes that crossed it from the device
 * @param sentAhead sends that ended before the device had made them
 * @param receivedAhead receives that were answered without asking the device
 * @param calledAhead other calls that did not wait for it
 * @param cpu what hook and device have used; the device only if it is this command's
 * @param link how a link that may break has fared; null if there is none
 */
record StatsReport(
    List<Statistics.Line> lines,
    long toDevice,
    long fromDevice,
    long sentAhead,
    long receivedAhead,
    long calledAhead,
    List<CpuTime> cpu,
    LinkWatch.@Nullable Counts link) {
  private static final String ROW =
      "%-18s %10s %10s %10s %10s %10s %10s %14s %10s %10s %10s %10s %10s %10s%n";

  static StatsReport of(Statistics statistics, List<CpuTime> cpu, LinkWatch.@Nullable Counts link) {
    return new StatsReport(
        statistics.lines(),
        statistics.channelToDevice(),
        statistics.channelFromDevice(),
        statistics.sentAhead(),
        statistics.receivedAhead(),
        statistics.certain(),
        cpu,
        link);
  }

  /** For people. */
  void print(PrintStream out) {
    out.printf(
        Locale.ROOT,
        ROW,
        "call",
        "device",
        "direct",
        "at once",
        "host",
        "untrapped",
        "hook",
        "bytes",
        "p50 us",
        "p99 us",
        "direct p50",
        "direct p99",
        "spins won",
        "lost");
    for (Statistics.Line l : lines) {
      out.printf(
          Locale.ROOT,
          ROW,
          l.name(),
          l.device(),
          l.direct(),
          l.atOnce(),
          l.host(),
          l.passed(),
          l.hook(),
          l.bytes(),
          micros(l.device() - l.direct(), l.medianNanos()),
          micros(l.device() - l.direct(), l.p99Nanos()),
          micros(l.directP99Nanos(), l.directMedianNanos()),
          micros(l.directP99Nanos(), l.directP99Nanos()),
          l.spinsWon(),
          l.spinsLost());
    }
    out.printf(
        Locale.ROOT, "channel: %,d bytes to the device, %,d bytes from it%n", toDevice, fromDevice);
    if (link != null) {
      out.printf(
          Locale.ROOT,
          "link: %d breaks, %.3f s without a connection, %,d bytes sent again%n",
          link.breaks(),
          link.down().toMillis() / 1e3,
          link.bytesAgain());
    }
    if (sentAhead > 0) {
      out.printf(Locale.ROOT, "sent ahead: %,d sends%n", sentAhead);
    }
    if (receivedAhead > 0) {
      out.printf(Locale.ROOT, "received ahead: %,d receives%n", receivedAhead);
    }
    if (calledAhead > 0) {
      out.printf(Locale.ROOT, "called ahead: %,d calls%n", calledAhead);
    }
    refused(out, "io_uring", "io_uring_setup", "epoll");
    refused(out, "AIO", "io_setup", "threads");
    for (CpuTime c : cpu) {
      out.printf(
          Locale.ROOT,
          "CPU of the %s: %.2f s in user mode, %.2f s in the host's kernel%n",
          c.process(),
          c.user(),
          c.system());
    }
  }

  private void refused(PrintStream out, String what, String call, String instead) {
    long times = refusals(call);
    if (times > 0) {
      out.printf(
          Locale.ROOT,
          "%s: refused %,d %s (ENOSYS), as its operations would pass the hook: programs go on with %s%n",
          what,
          times,
          times == 1 ? "time" : "times",
          instead);
    }
  }

  /** How often the hook has answered a call by itself. */
  private long refusals(String call) {
    return lines.stream().filter(l -> l.name().equals(call)).mapToLong(Statistics.Line::hook).sum();
  }

  /** For programs: one JSON object. All names in it are ours, so that none needs an escape. */
  void printJson(PrintStream out) {
    StringJoiner calls = new StringJoiner(",", "[", "\n  ]");
    for (Statistics.Line l : lines) {
      calls.add(
          String.format(
              Locale.ROOT,
              "\n    {\"name\": \"%s\", \"device\": %d, \"direct\": %d, \"atOnce\": %d,"
                  + " \"host\": %d, \"untrapped\": %d, \"hook\": %d, \"bytes\": %d, \"p50Nanos\": %d, \"p99Nanos\": %d,"
                  + " \"directP50Nanos\": %d, \"directP99Nanos\": %d,"
                  + " \"spinsWon\": %d, \"spinsLost\": %d}",
              l.name(),
              l.device(),
              l.direct(),
              l.atOnce(),
              l.host(),
              l.passed(),
              l.hook(),
              l.bytes(),
              l.medianNanos(),
              l.p99Nanos(),
              l.directMedianNanos(),
              l.directP99Nanos(),
              l.spinsWon(),
              l.spinsLost()));
    }
    StringJoiner seconds = new StringJoiner(", ", "{", "}");
    for (CpuTime c : cpu) {
      seconds.add(
          String.format(
              Locale.ROOT,
              "\"%s\": {\"user\": %.2f, \"system\": %.2f}",
              c.process(),
              c.user(),
              c.system()));
    }
    String linked =
        link == null
            ? ""
            : String.format(
                Locale.ROOT,
                "%n  \"link\": {\"breaks\": %d, \"secondsDown\": %.3f, \"bytesAgain\": %d},",
                link.breaks(),
                link.down().toMillis() / 1e3,
                link.bytesAgain());
    out.printf(
        Locale.ROOT,
        "{%n  \"calls\": %s,%n  \"channel\": {\"toDevice\": %d, \"fromDevice\": %d, \"sentAhead\": %d, \"receivedAhead\": %d, \"calledAhead\": %d},%s%n"
            + "  \"refused\": {\"io_uring_setup\": %d, \"io_setup\": %d},%n  \"cpuSeconds\": %s%n}%n",
        calls,
        toDevice,
        fromDevice,
        sentAhead,
        receivedAhead,
        calledAhead,
        linked,
        refusals("io_uring_setup"),
        refusals("io_setup"),
        seconds);
  }

  private static String micros(long calls, long nanos) {
    return calls == 0 ? "" : String.format(Locale.ROOT, "%.1f", nanos / 1e3);
  }
}
