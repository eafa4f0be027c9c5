// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The results as one Markdown table that also reads well on a terminal. */
final class MarkdownReport {
  static final List<String> TITLES =
      List.of(
          "measurement",
          "mode",
          "median (range)",
          "× native (range)",
          "program",
          "hook",
          "device",
          "calls",
          "channel");

  private MarkdownReport() {}

  static String of(Results results) {
    StringBuilder out = new StringBuilder();
    about(results).forEach(l -> out.append(l).append('\n'));
    out.append('\n');
    if (!results.series().isEmpty()) {
      table(results).forEach(l -> out.append(l).append('\n'));
      out.append('\n');
      LEGEND.forEach(l -> out.append(l).append('\n'));
    }
    for (String note : notes(results)) {
      out.append("- ").append(note).append('\n');
    }
    return out.toString();
  }

  /** How the table is to be read. */
  static final List<String> LEGEND =
      List.of(
          "× native: speed in relation to the native run of the same round, more is faster.",
          "program, hook, device: CPU seconds per GB, or per 10k requests or calls; calls: trapped, likewise;",
          "channel: bytes between hook and device per byte of payload, or per request. –: not known.",
          "");

  /** When, on what and how it was measured, a sentence a line. */
  static List<String> about(Results r) {
    MachineFacts m = r.machine();
    List<String> lines = new ArrayList<>();
    lines.add(
        String.format(
            Locale.ROOT,
            "outboard %s, %s, Linux %s, %d × %s, %s GB.",
            r.options().version(),
            m.when(),
            m.kernel(),
            m.cpus(),
            m.cpu(),
            Figures.of(m.memoryBytes() / 1e9)));
    lines.add(
        String.format(
            Locale.ROOT,
            "%d rounds in turn, samples of %s s; Linux places the processes unless a row says one CPU.",
            r.options().rounds(),
            Figures.of(r.options().seconds())));
    Optional<Spread> steal = r.steal();
    Optional<Spread> foreign = r.foreign();
    if (steal.isPresent() && foreign.isPresent()) {
      lines.add(
          "Meanwhile the machine lost "
              + percents(steal.get())
              + " of its CPU time to its hypervisor (steal) and "
              + percents(foreign.get())
              + " to other processes: median (range).");
    }
    return lines;
  }

  private static String percents(Spread s) {
    return Figures.percent(s.median())
        + " ("
        + Figures.percent(s.lowest())
        + "–"
        + Figures.percent(s.highest())
        + ")";
  }

  /** What there is to say beside the figures. */
  static List<String> notes(Results r) {
    List<String> notes = new ArrayList<>();
    for (Series s : r.series()) {
      String where = s.workload().name() + ", " + s.mode().name() + ": ";
      s.notes().forEach(n -> notes.add(where + n));
      String failure = s.failure();
      if (failure != null) {
        notes.add(where + "failed: " + failure.replace('\n', ' '));
      }
    }
    r.skipped().forEach(s -> notes.add("skipped: " + s));
    return notes.stream().distinct().toList();
  }

  private static List<String> table(Results r) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(TITLES);
    rows.add(TITLES.stream().map(t -> "---").toList());
    r.series().forEach(s -> rows.add(row(r, s)));
    int[] widths = new int[TITLES.size()];
    for (List<String> row : rows) {
      for (int i = 0; i < widths.length; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    List<String> lines = new ArrayList<>();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder("|");
      for (int i = 0; i < widths.length; i++) {
        String cell = row.get(i);
        String filler = (cell.equals("---") ? "-" : " ").repeat(widths[i] - cell.length());
        line.append(' ').append(cell).append(filler).append(" |");
      }
      lines.add(line.toString());
    }
    return lines;
  }

  static List<String> row(Results r, Series s) {
    String title = s.measure().title() + ", " + s.measure().unit().figure();
    if (!s.ok()) {
      return List.of(title, s.mode().name(), "failed", "–", "–", "–", "–", "–", "–");
    }
    boolean sides = !(s.mode() instanceof NativeMode);
    return List.of(
        title,
        s.mode().name(),
        Figures.of(s.figures()),
        r.baseOf(s).map(b -> b.equals(s) ? "1" : Figures.of(s.ratio(b))).orElse("–"),
        Figures.of(s.cpu(Side.PROGRAM)),
        sides ? Figures.of(s.cpu(Side.HOOK)) : "",
        sides ? Figures.of(s.cpu(Side.DEVICE)) : "",
        sides ? Figures.of(s.calls()) : "",
        sides ? Figures.of(s.channelBytes()) : "");
  }
}
