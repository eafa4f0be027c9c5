// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;

/**
 * What {@code outboard status} shows: a service at two moments, of which the difference gives
 * rates.
 *
 * @param status the later moment
 * @param nanos when that was
 * @param before the earlier one; null if there is none
 */
record StatusReport(ServiceStatus status, long nanos, @Nullable StatusReport before) {
  private static final String ROW = "%-8s %-12s %8s %8s %9s %9s %9s %7s %9s %9s %9s %10s %10s  %s";
  private static final int MOST_PROGRAMS = 4;

  /** What there is now, compared to what there was at {@code before}. */
  static StatusReport of(ServiceStatus status, @Nullable StatusReport before) {
    return new StatusReport(
        status,
        System.nanoTime(),
        before == null ? null : new StatusReport(before.status, before.nanos, null));
  }

  /** Whether there are rates. */
  boolean complete() {
    return before != null;
  }

  /** For people. */
  List<String> lines() {
    List<String> lines = new ArrayList<>();
    ServiceFrame.ServiceStatus s = status.service();
    int sessions = status.kernels().stream().mapToInt(k -> k.sessions().size()).sum();
    if (s.ownOnly()) {
      lines.add(
          String.format(
              Locale.ROOT,
              "outboard %s, up %s%s, %d sessions at most: %d of this host's; so far %d, %d refused, %d"
                  + " kernels died under them",
              printable(s.version()),
              age(s.ageMillis()),
              s.draining() ? ", ending" : "",
              s.maxSessions(),
              sessions,
              s.sessions(),
              s.refused(),
              s.died()));
    } else {
      lines.add(whole(s, sessions));
    }
    lines.add("CPU: " + printable(s.cpu()));
    if (sessions == 0) {
      return lines;
    }
    addTable(lines);
    return lines;
  }

  private static String whole(ServiceFrame.ServiceStatus s, int sessions) {
    return String.format(
        Locale.ROOT,
        "outboard %s, process %d, up %s%s: %d of %d sessions, %d kernels; so far %d sessions, %d"
            + " refused, %d kernels died",
        printable(s.version()),
        s.pid(),
        age(s.ageMillis()),
        s.draining() ? ", ending" : "",
        sessions,
        s.maxSessions(),
        s.kernels(),
        s.sessions(),
        s.refused(),
        s.died());
  }

  private void addTable(List<String> lines) {
    lines.add("");
    lines.add(
        String.format(
            Locale.ROOT,
            ROW,
            "session",
            "kernel",
            "age",
            "RSS MiB",
            "CPU",
            "own MiB",
            "threads",
            "fds",
            "calls/s",
            "p50 us",
            "p99 us",
            "in B/s",
            "out B/s",
            "programs (pid, user)"));
    Map<Long, ServiceFrame.SessionStatus> earlier = earlier();
    for (ServiceFrame.KernelStatus k : status.kernels()) {
      for (ServiceFrame.SessionStatus n : k.sessions()) {
        ServiceFrame.SessionStatus old = earlier.get(n.id());
        lines.add(
            String.format(
                Locale.ROOT,
                ROW,
                n.id(),
                kernel(k),
                age(n.ageMillis()),
                k.rssBytes() >> 20,
                cpu(k),
                memory(n),
                n.threads(),
                n.handles(),
                rate(n.calls(), old == null ? 0 : old.calls()),
                micros(n.medianNanos()),
                micros(n.p99Nanos()),
                rate(n.bytesIn(), old == null ? 0 : old.bytesIn()),
                rate(n.bytesOut(), old == null ? 0 : old.bytesOut()),
                programs(n)));
      }
    }
  }

  /** What it is called; the numbers of others' processes are not told. */
  private static String kernel(ServiceFrame.KernelStatus k) {
    return printable(
        !k.name().isEmpty() ? k.name() : k.pid() == 0 ? k.kernel() : k.kernel() + "-" + k.pid());
  }

  private static String programs(ServiceFrame.SessionStatus n) {
    StringJoiner names = new StringJoiner(", ");
    n.programs().stream()
        .limit(MOST_PROGRAMS)
        .forEach(p -> names.add(printable(p.name()) + " (" + p.pid() + ", " + p.uid() + ")"));
    if (n.programs().size() > MOST_PROGRAMS) {
      names.add("and " + (n.programs().size() - MOST_PROGRAMS) + " more");
    }
    return n.programs().isEmpty() ? printable(n.client()) : names.toString();
  }

  /** Names come from a host: nothing in them may reach a terminal as a command to it. */
  private static String printable(String name) {
    return name.isEmpty() ? "?" : name.replaceAll("[^\\x20-\\x7e]", "?");
  }

  private Map<Long, ServiceFrame.SessionStatus> earlier() {
    Map<Long, ServiceFrame.SessionStatus> all = new HashMap<>();
    if (before != null) {
      before.status.kernels().forEach(k -> k.sessions().forEach(n -> all.put(n.id(), n)));
    }
    return all;
  }

  private long rate(long now, long then) {
    return before == null ? 0 : Math.round((now - then) * 1e9 / Math.max(1, nanos - before.nanos));
  }

  /** What a kernel has used of one processor, and what it may use: {@code 12/50%}. */
  private String cpu(ServiceFrame.KernelStatus k) {
    return cpuPercent(k) + (k.cpuPercent() == 0 ? "" : "/" + k.cpuPercent()) + "%";
  }

  /** What of its kernel's memory a session uses and may use, in MiB: {@code 3/64}. */
  private static String memory(ServiceFrame.SessionStatus n) {
    return n.memoryLimitBytes() == 0
        ? "-"
        : (n.memoryBytes() >> 20) + "/" + (n.memoryLimitBytes() >> 20);
  }

  private long cpuPercent(ServiceFrame.KernelStatus k) {
    long then = k.cpuNanos();
    if (before != null) {
      for (ServiceFrame.KernelStatus old : before.status.kernels()) {
        then = same(old, k) ? old.cpuNanos() : then;
      }
    }
    return Math.round(rate(k.cpuNanos(), then) / 1e7);
  }

  /** Whether it is the same kernel at both moments; without a process it is known by a session. */
  private static boolean same(ServiceFrame.KernelStatus old, ServiceFrame.KernelStatus k) {
    return k.pid() != 0
        ? old.pid() == k.pid()
        : old.sessions().stream()
            .anyMatch(o -> k.sessions().stream().anyMatch(n -> n.id() == o.id()));
  }

  private static String micros(long nanoseconds) {
    return String.format(Locale.ROOT, "%.1f", nanoseconds / 1e3);
  }

  /** For people. */
  static String age(long millis) {
    long s = millis / 1000;
    return s < 60
        ? s + "s"
        : s < 3600
            ? s / 60 + "m" + s % 60 + "s"
            : s < 86_400
                ? s / 3600 + "h" + s / 60 % 60 + "m"
                : s / 86_400 + "d" + s / 3600 % 24 + "h";
  }

  /** For programs: one object on one line. */
  String json() {
    ServiceFrame.ServiceStatus s = status.service();
    StringJoiner kernels = new StringJoiner(", ", "[", "]");
    Map<Long, ServiceFrame.SessionStatus> earlier = earlier();
    for (ServiceFrame.KernelStatus k : status.kernels()) {
      StringJoiner sessions = new StringJoiner(", ", "[", "]");
      for (ServiceFrame.SessionStatus n : k.sessions()) {
        ServiceFrame.SessionStatus old = earlier.get(n.id());
        StringJoiner programs = new StringJoiner(", ", "[", "]");
        for (ServiceFrame.Program p : n.programs()) {
          programs.add(
              "{\"pid\": %d, \"uid\": %d, \"name\": %s}"
                  .formatted(p.pid(), p.uid(), text(p.name())));
        }
        sessions.add(
            ("{\"id\": %d, \"client\": %s, \"ageMillis\": %d, \"calls\": %d, \"callsPerSecond\": %d,"
                    + " \"p50Nanos\": %d, \"p99Nanos\": %d, \"bytesIn\": %d, \"bytesOut\": %d,"
                    + " \"memoryBytes\": %d, \"memoryLimitBytes\": %d,"
                    + " \"threads\": %d, \"handles\": %d, \"programs\": %s}")
                .formatted(
                    n.id(),
                    text(n.client()),
                    n.ageMillis(),
                    n.calls(),
                    rate(n.calls(), old == null ? 0 : old.calls()),
                    n.medianNanos(),
                    n.p99Nanos(),
                    n.bytesIn(),
                    n.bytesOut(),
                    n.memoryBytes(),
                    n.memoryLimitBytes(),
                    n.threads(),
                    n.handles(),
                    programs));
      }
      kernels.add(
          ("{\"name\": %s, \"pid\": %d, \"kernel\": %s, \"release\": %s, \"ageMillis\": %d,"
                  + " \"rssBytes\": %d, \"cpuPercent\": %d, \"cpuLimitPercent\": %d, \"cpuNanos\": %d,"
                  + " \"throttledNanos\": %d, \"sessions\": %s}")
              .formatted(
                  text(k.name()),
                  k.pid(),
                  text(k.kernel()),
                  text(k.release()),
                  k.ageMillis(),
                  k.rssBytes(),
                  cpuPercent(k),
                  k.cpuPercent(),
                  k.cpuNanos(),
                  k.throttledNanos(),
                  sessions));
    }
    return ("{\"version\": %s, \"pid\": %d, \"ageMillis\": %d, \"maxSessions\": %d, \"oneKernel\": %b,"
            + " \"draining\": %b, \"ownSessionsOnly\": %b, \"sessionsSoFar\": %d, \"refused\": %d, \"died\": %d,"
            + " \"cpu\": %s, \"kernels\": %s}")
        .formatted(
            text(s.version()),
            s.pid(),
            s.ageMillis(),
            s.maxSessions(),
            s.oneKernel(),
            s.draining(),
            s.ownOnly(),
            s.sessions(),
            s.refused(),
            s.died(),
            text(s.cpu()),
            kernels);
  }

  /** A JSON string. */
  static String text(String s) {
    StringBuilder b = new StringBuilder("\"");
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c == '"' || c == '\\') {
        b.append('\\').append(c);
      } else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || Character.isSurrogate(c)) {
        b.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
      } else {
        b.append(c);
      }
    }
    return b.append('"').toString();
  }
}
