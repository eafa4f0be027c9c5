// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ReportTest {
  private static final Measure BULK = Measure.of("in", "bulk <in>", Measure.Unit.BYTES);

  private static Sample sample(double gigabytes, double program, double hook, double device) {
    CpuTimes cpu =
        new CpuTimes(Map.of(Side.PROGRAM, program, Side.HOOK, hook, Side.DEVICE, device));
    return new Sample(gigabytes * 1e9, 2, cpu, new MachineLoad(0.125, 0.25));
  }

  private static Results results() {
    Workload w = new TcpWorkload();
    return new Results(
        new BenchOptions(
            List.of("tcp"), List.of(), 3, 2, Path.of("/tmp"), Path.of("/x/outboard"), "9.9"),
        new MachineFacts(2, "A & B", "6.12", 8_000_000_000L, Instant.EPOCH),
        List.of(
            new Series(
                w,
                BULK,
                Modes.NATIVE,
                List.of(sample(4, 4, 0, 0), sample(2, 2, 0, 0), sample(4, 4, 0, 0)),
                null,
                Double.NaN,
                List.of(),
                null),
            new Series(
                w,
                BULK,
                Modes.LIBRARY,
                List.of(sample(2, 0.5, 1, 3), sample(1, 0.25, 0.5, 1.5), sample(1, 0.25, 0.5, 1.5)),
                new RunStatistics(List.of(new RunStatistics.Call("read", 50, 5, 5, 0)), 1e9, 1.5e9),
                5e9,
                List.of("it happened"),
                null),
            Series.failed(w, BULK, Modes.WITHOUT_OFFLOADS, "no\nluck")),
        List.of("rr: not today"));
  }

  @Test
  void theTableHasARowForEachModeAndSaysWhatFailed() {
    List<String> lines =
        MarkdownReport.of(results()).lines().map(l -> l.replaceAll(" +", " ")).toList();
    assertThat(lines)
        .contains(
            "| bulk <in>, GB/s | native | 2.00 (1.00–2.00) | 1 | 1.00 | | | | |",
            "| bulk <in>, GB/s | outboard | 0.500 (0.500–1.00) | 0.500 (0.250–0.500) | 0.250 | 0.500"
                + " | 1.50 | 12.0 | 0.500 |",
            "| bulk <in>, GB/s | outboard offload=off | failed | – | – | – | – | – | – |",
            "- tcp, outboard: it happened",
            "- tcp, outboard offload=off: failed: no luck",
            "- skipped: rr: not today");
    assertThat(lines.get(2)).contains("13 % (13 %–13 %)", "25 % (25 %–25 %)");
  }

  @Test
  void theFileForProgramsHasEverySample() {
    Object o = Json.read(JsonReport.of(results()));
    assertThat(Json.at(o, "series"))
        .asInstanceOf(org.assertj.core.api.InstanceOfAssertFactories.LIST)
        .hasSize(3);
    Object ours = ((List<?>) java.util.Objects.requireNonNull(Json.at(o, "series"))).get(1);
    assertThat((List<?>) Json.at(ours, "samples")).hasSize(3);
    assertThat(Json.number(ours, -1, "ofNative", "median")).isEqualTo(0.5);
    assertThat(Json.number(ours, -1, "cpuSeconds", "device")).isEqualTo(1.5);
    assertThat(Json.number(ours, -1, "run", "channelFromDevice")).isEqualTo(1.5e9);
    assertThat(Json.number(ours, -1, "callsTrapped")).isEqualTo(12);
  }

  @Test
  void thePageIsWholeAndTakesNothingFromElsewhere() {
    String html = HtmlReport.of(results());
    assertThat(html).contains("bulk &lt;in&gt;", "A &amp; B", "<svg", "</html>");
    assertThat(html).doesNotContain("<script", "http:", "https:", "url(", "@import", "NaN");
    assertThat(html.split("class=\"whisker\"", -1)).hasSize(1 + 2 * 3);
  }

  @Test
  void figuresHaveThreeDigits() {
    assertThat(
            List.of(0.0, 0.00012, 0.01234, 1.5, 12.34, 1234.4, Double.NaN).stream()
                .map(Figures::of))
        .containsExactly("0", "<0.001", "0.012", "1.50", "12.3", "1,234", "–");
  }

  @Test
  void aCallIsShownByItsTimeAndComparedByItsSpeed() {
    assertThat(Measure.Unit.CALLS.shown(1e6)).isEqualTo(1);
    assertThat(Measure.Unit.CALLS.shown(2e6)).isEqualTo(0.5);
    assertThat(Measure.Unit.REQUESTS.shown(2000)).isEqualTo(2);
  }

  @Test
  void theTimeLeftIsCorrectedOnceSomethingIsKnown() {
    Progress p = new Progress(100, m -> {});
    assertThat(p.remaining(50)).isEqualTo(100);
    p.done(20);
    assertThat(p.remaining(40)).isEqualTo(160);
  }

  @Test
  void peersAreNamedOnceAndUnknownOnesRefused() throws Exception {
    assertThat(Modes.chosen(List.of("native", "proot", "proot")).stream().map(Mode::name))
        .containsExactly("native", "outboard", "proot");
    assertThat(org.assertj.core.api.Assertions.catchThrowable(() -> Modes.chosen(List.of("x"))))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("'x'")
        .hasMessageContaining("proot");
  }
}
