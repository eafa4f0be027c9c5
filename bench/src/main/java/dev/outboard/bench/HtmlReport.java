// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The results as a page by itself: charts in SVG, no script, nothing from elsewhere; it prints on
 * white paper.
 */
final class HtmlReport {
  private static final int LABEL_WIDTH = 150;
  private static final int BAR_WIDTH = 300;
  private static final int VALUE_WIDTH = 200;
  private static final int BAR_HEIGHT = 16;
  private static final int ROW_HEIGHT = 24;
  private static final int WIDTH = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH;

  private static final String STYLE =
      """
      :root { --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --native: #8c959f; --ours: #0969da;
        --peer: #bf8700; --program: #1a7f37; --hook: #bf8700; --device: #8250df; --paper: #fff; }
      @media (prefers-color-scheme: dark) { @media screen { :root { --ink: #e6edf3; --soft: #9198a1;
        --line: #3d444d; --paper: #0d1117; } } }
      body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
        max-width: 84rem; margin: 2rem auto; padding: 0 1.5rem; }
      h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; }
      p, li, figcaption { color: var(--soft); } section { break-inside: avoid; }
      .charts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; } figure { margin: 0; }
      svg text { fill: var(--ink); font-size: 12px; } svg .value { fill: var(--soft); }
      svg .whisker { stroke: var(--ink); stroke-width: 1.5; } svg .axis { stroke: var(--line); }
      .native { fill: var(--native); } .ours { fill: var(--ours); } .peer { fill: var(--peer); }
      .program { fill: var(--program); } .hook { fill: var(--hook); } .device { fill: var(--device); }
      .scroll { overflow-x: auto; }
      table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
      th, td { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: right; }
      th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
      .key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
      @media print { body { margin: 0; max-width: none; font-size: 11px; } .scroll { overflow: visible; }
        * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
      """;

  private final StringBuilder out = new StringBuilder();
  private final Results results;

  private HtmlReport(Results results) {
    this.results = results;
  }

  static String of(Results results) {
    HtmlReport r = new HtmlReport(results);
    r.page();
    return r.out.toString();
  }

  private void page() {
    out.append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .append("<meta name=\"viewport\" content=\"width=device-width\">\n")
        .append("<title>outboard bench</title>\n<style>\n")
        .append(STYLE)
        .append("</style>\n</head>\n<body>\n<h1>outboard bench</h1>\n<p>")
        .append(escaped(String.join(" ", MarkdownReport.about(results))))
        .append("</p>\n<p class=\"key\">CPU by side:");
    for (Side s : Side.values()) {
      out.append("<span style=\"background:var(--").append(s.word()).append(")\"></span>");
      out.append(s.word());
    }
    out.append(". The host spends what program and hook do. Whiskers: lowest and highest.</p>\n");
    Map<Measure, List<Series>> groups = new LinkedHashMap<>();
    for (Series s : results.series()) {
      groups.computeIfAbsent(s.measure(), m -> new ArrayList<>()).add(s);
    }
    groups.forEach(this::section);
    table();
    List<String> notes = MarkdownReport.notes(results);
    if (!notes.isEmpty()) {
      out.append("<h2>Notes</h2>\n<ul>\n");
      notes.forEach(n -> out.append("<li>").append(escaped(n)).append("</li>\n"));
      out.append("</ul>\n");
    }
    out.append("</body>\n</html>\n");
  }

  private void section(Measure measure, List<Series> group) {
    List<Series> good = group.stream().filter(Series::ok).toList();
    if (good.isEmpty()) {
      return;
    }
    out.append("<section>\n<h2>").append(escaped(measure.title())).append("</h2>\n");
    out.append("<div class=\"charts\">\n");
    speeds(measure, good);
    cpu(measure, good);
    out.append("</div>\n</section>\n");
  }

  private void speeds(Measure measure, List<Series> group) {
    boolean rate = measure.unit().isRate();
    chart(
        measure.unit().figure() + (rate ? ", longer is better" : ", shorter is better"),
        group.size());
    double most = group.stream().mapToDouble(s -> s.figures().highest()).max().orElse(1);
    int y = 0;
    for (Series s : group) {
      Spread f = s.figures();
      String side = s.mode().equals(Modes.NATIVE) ? "native" : ours(s) ? "ours" : "peer";
      label(s, y);
      bar(side, LABEL_WIDTH, f.median() / most * BAR_WIDTH, y);
      whisker(f, most, y);
      String ratio = results.baseOf(s).map(b -> Figures.of(s.ratio(b).median())).orElse("");
      value(
          Figures.of(f.median())
              + (ratio.isEmpty() || s.mode().equals(Modes.NATIVE) ? "" : "  × " + ratio),
          f.highest() / most * BAR_WIDTH,
          y);
      y += ROW_HEIGHT;
    }
    out.append("</svg></figure>\n");
  }

  private static boolean ours(Series s) {
    return s.mode() instanceof OutboardMode;
  }

  private void cpu(Measure measure, List<Series> group) {
    chart("CPU seconds per " + measure.unit().portion() + ", shorter is better", group.size());
    Map<Series, Map<Side, Double>> all = new LinkedHashMap<>();
    double most = 0;
    for (Series s : group) {
      Map<Side, Double> sides = new EnumMap<>(Side.class);
      for (Side side : Side.values()) {
        sides.put(side, s.cpu(side));
      }
      all.put(s, sides);
      most = Math.max(most, sides.values().stream().mapToDouble(d -> d).sum());
    }
    int y = 0;
    for (Map.Entry<Series, Map<Side, Double>> e : all.entrySet()) {
      label(e.getKey(), y);
      double x = 0;
      double host = 0;
      for (Map.Entry<Side, Double> side : e.getValue().entrySet()) {
        double width = most == 0 ? 0 : side.getValue() / most * BAR_WIDTH;
        bar(side.getKey().word(), LABEL_WIDTH + x, width, y);
        x += width;
        host += side.getKey() == Side.DEVICE ? 0 : side.getValue();
      }
      double device = e.getValue().getOrDefault(Side.DEVICE, 0.0);
      value(
          "host " + Figures.of(host) + (device > 0 ? ", device " + Figures.of(device) : ""), x, y);
      y += ROW_HEIGHT;
    }
    out.append("</svg></figure>\n");
  }

  private void chart(String caption, int rows) {
    int height = rows * ROW_HEIGHT;
    out.append(
        String.format(
            Locale.ROOT,
            """
            <figure><figcaption>%s</figcaption>
            <svg role="img" width="%d" height="%d" viewBox="0 0 %d %d">
            <line class="axis" x1="%d" x2="%d" y1="0" y2="%d"/>
            """,
            escaped(caption),
            WIDTH,
            height,
            WIDTH,
            height,
            LABEL_WIDTH,
            LABEL_WIDTH,
            height));
  }

  private void label(Series s, int y) {
    text("", LABEL_WIDTH - 6, y, "end", s.mode().name());
  }

  private void value(String text, double x, int y) {
    text("value", LABEL_WIDTH + x + 6, y, "start", text);
  }

  private void text(String style, double x, int y, String anchor, String text) {
    out.append(
        String.format(
            Locale.ROOT,
            "<text class=\"%s\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n",
            style,
            x,
            y + BAR_HEIGHT,
            anchor,
            escaped(text)));
  }

  private void bar(String style, double x, double width, int y) {
    out.append(
        String.format(
            Locale.ROOT,
            "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n",
            style,
            x,
            y + (ROW_HEIGHT - BAR_HEIGHT) / 2,
            width,
            BAR_HEIGHT));
  }

  private void whisker(Spread f, double most, int y) {
    double from = LABEL_WIDTH + f.lowest() / most * BAR_WIDTH;
    double to = LABEL_WIDTH + f.highest() / most * BAR_WIDTH;
    int middle = y + ROW_HEIGHT / 2;
    for (double[] l :
        new double[][] {
          {from, middle, to, middle},
          {from, middle - 4, from, middle + 4},
          {to, middle - 4, to, middle + 4}
        }) {
      out.append(
          String.format(
              Locale.ROOT,
              "<line class=\"whisker\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\"/>\n",
              l[0],
              l[1],
              l[2],
              l[3]));
    }
  }

  private void table() {
    out.append("<section>\n<h2>All figures</h2>\n<div class=\"scroll\"><table>\n<tr>");
    MarkdownReport.TITLES.forEach(t -> out.append("<th>").append(escaped(t)).append("</th>"));
    out.append("</tr>\n");
    for (Series s : results.series()) {
      out.append("<tr>");
      MarkdownReport.row(results, s)
          .forEach(c -> out.append("<td>").append(escaped(c)).append("</td>"));
      out.append("</tr>\n");
    }
    out.append("</table></div>\n<p>")
        .append(escaped(String.join(" ", MarkdownReport.LEGEND)))
        .append("</p>\n</section>\n");
  }

  static String escaped(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;");
  }
}
