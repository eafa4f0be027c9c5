// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * {@code outboard bench}: the same traffic natively, offloaded and under peers, in turn. It
 * measures the product from outside: {@code outboard run} as a process, by what a client sees and
 * {@code /proc} says.
 */
public final class Bench {
  /** What a start in one more mode, an end and a client cost beside the traffic, about. */
  private static final double START_SECONDS = 1.0;

  private static final double CLIENT_SECONDS = 0.15;
  private static final String ALL = "all";

  private final BenchOptions options;
  private final Consumer<String> messages;
  private final List<Mode> asked;
  private final List<String> skipped = new ArrayList<>();
  private final List<Series> series = new ArrayList<>();

  private Bench(BenchOptions options, Consumer<String> messages) throws BenchException {
    this.options = options;
    this.messages = messages;
    List<Mode> modes = new ArrayList<>();
    for (Mode m : Modes.chosen(options.peers())) {
      m.lack().ifPresentOrElse(why -> skip(m.name() + ": " + why), () -> modes.add(m));
    }
    this.asked = List.copyOf(modes);
  }

  /** Names of the workloads, in the order of a complete run. */
  public static List<String> workloads() {
    return all().stream().map(Workload::name).toList();
  }

  /** Names of what {@code --vs} takes beside {@code native} and {@code all}. */
  public static List<String> peers() {
    return Modes.peers().stream().map(Mode::name).toList();
  }

  private static List<Workload> all() {
    return List.of(
        new TcpWorkload(),
        new RoundTripWorkload(),
        new NginxWorkload(NginxWorkload.Kind.FILES),
        new NginxWorkload(NginxWorkload.Kind.FILES_BY_TLS),
        new NginxWorkload(NginxWorkload.Kind.REQUESTS),
        new RedisWorkload(),
        new CallsWorkload());
  }

  /**
   * Measures, prints the table to {@code out} and writes {@code bench.json} and {@code bench.html}.
   *
   * @param messages for progress and what is skipped, line by line
   * @return whether everything that was not skipped was measured, and that was something
   * @throws BenchException if nothing can be measured, or the results cannot be written
   */
  public static boolean run(BenchOptions options, PrintStream out, Consumer<String> messages)
      throws BenchException, InterruptedException {
    Bench bench = new Bench(options, messages);
    Path json = options.directory().resolve("bench.json");
    Path html = options.directory().resolve("bench.html");
    if (!Files.isWritable(options.directory())) {
      throw new BenchException("cannot write to " + options.directory() + "; see --output");
    }
    List<Workload> workloads = bench.chosen();
    MachineFacts machine = MachineFacts.now();
    if (!workloads.isEmpty()) {
      bench.measure(workloads);
    }
    Results results = new Results(options, machine, bench.series, bench.skipped);
    out.print(MarkdownReport.of(results));
    out.flush();
    if (bench.series.isEmpty()) {
      return false;
    }
    try {
      Files.writeString(json, JsonReport.of(results));
      Files.writeString(html, HtmlReport.of(results));
    } catch (IOException e) {
      throw new BenchException("cannot write " + e.getMessage(), e);
    }
    messages.accept("wrote " + json + " and " + html);
    return bench.series.stream().allMatch(Series::ok);
  }

  private void skip(String sentence) {
    skipped.add(sentence);
    messages.accept("skipped: " + sentence);
  }

  /** The workloads that are wanted and possible. */
  private List<Workload> chosen() throws BenchException {
    List<String> names = options.workloads();
    for (String n : names) {
      if (!n.equals(ALL) && !workloads().contains(n)) {
        throw new BenchException(
            "there is no workload '" + n + "'; there are all, " + String.join(", ", workloads()));
      }
    }
    boolean every = names.isEmpty() || names.contains(ALL);
    List<Workload> possible = new ArrayList<>();
    for (Workload w : all()) {
      if (!every && !names.contains(w.name())) {
        continue;
      }
      Optional<String> lack = Tool.lacking(w.tools());
      if (lack.isPresent()) {
        skip(w.name() + ": " + lack.get());
      } else if (w.network() && !Site.mayHaveNetwork()) {
        skip(w.name() + ": only root may make network namespaces; sudo outboard bench " + w.name());
      } else {
        possible.add(w);
      }
    }
    return possible;
  }

  private double sampleSeconds(Workload w) {
    // A program that is asked by a pipe is there already.
    return w.sampleSeconds(options.seconds()) + (w.network() ? CLIENT_SECONDS : 0);
  }

  private double estimate(Workload w) {
    int modes = w.modes(asked).size();
    return w.runs().stream()
        .mapToDouble(
            run -> modes * (START_SECONDS + run.size() * (options.rounds() + 1) * sampleSeconds(w)))
        .sum();
  }

  private void measure(List<Workload> workloads) throws BenchException, InterruptedException {
    Progress progress =
        new Progress(workloads.stream().mapToDouble(this::estimate).sum(), messages);
    boolean network = workloads.stream().anyMatch(Workload::network);
    try (Site site = Site.create(options.launcher(), network, messages)) {
      for (Workload w : workloads) {
        progress.say(w.name() + ": " + w.title());
        try {
          w.prepare(site);
        } catch (BenchException e) {
          skip(w.name() + ": " + e.text());
          progress.done(estimate(w));
          continue;
        }
        for (List<Measure> run : w.runs()) {
          measure(w, run, site, progress);
        }
      }
    }
  }

  /** What is known of one mode while its program runs. */
  private static final class Contender {
    private final Mode mode;
    private final Map<Measure, List<Sample>> samples = new LinkedHashMap<>();
    private final Map<Measure, Double> rates = new LinkedHashMap<>();
    private double allWork;
    private List<String> notes = List.of();
    private @Nullable RunStatistics statistics;
    private @Nullable Server server;
    private @Nullable String failure;

    Contender(Mode mode) {
      this.mode = mode;
    }
  }

  /** One run of the program in each mode, side by side, with samples in turn. */
  private void measure(Workload w, List<Measure> run, Site site, Progress progress)
      throws BenchException, InterruptedException {
    List<Contender> contenders = w.modes(asked).stream().map(Contender::new).toList();
    boolean oneCpu = run.getFirst().oneCpu();
    try {
      for (Contender c : contenders) {
        Place place = site.newPlace();
        attempt(
            c,
            () -> {
              Program program = w.program(c.mode, place);
              c.server = Server.start(c.mode, place, program, w.network(), oneCpu);
            });
      }
      for (Contender c : contenders) {
        attempt(c, () -> server(c).await());
        progress.done(START_SECONDS);
      }
      // The round before the first warms up, and shows how fast each is.
      for (int round = 0; round <= options.rounds(); round++) {
        for (Measure m : run) {
          progress.say(
              m.title()
                  + (round == 0 ? ", warm-up" : ", round " + round + " of " + options.rounds()));
          for (Contender c : contenders) {
            boolean counts = round > 0;
            attempt(c, () -> sample(w, m, c, counts));
            progress.done(sampleSeconds(w));
          }
        }
      }
    } finally {
      end(w, run, contenders);
    }
  }

  private interface Step {
    void run() throws BenchException, InterruptedException;
  }

  /** A mode that has failed once is left alone; the others go on. */
  private void attempt(Contender c, Step step) throws InterruptedException {
    if (c.failure != null) {
      return;
    }
    try {
      step.run();
    } catch (BenchException | IllegalArgumentException e) {
      c.failure = String.valueOf(e.getMessage());
      messages.accept(c.mode.name() + " failed: " + c.failure);
    }
  }

  private static Server server(Contender c) throws BenchException {
    Server s = c.server;
    if (s == null) {
      throw new BenchException("it was not started");
    }
    return s;
  }

  private void sample(Workload w, Measure m, Contender c, boolean counts)
      throws BenchException, InterruptedException {
    Server server = server(c);
    try {
      CpuTimes before = server.cpu();
      double ownBefore = ownSeconds();
      MachineLoad.Ticks ticks = MachineLoad.Ticks.now();
      Sample.Work work = w.traffic(server, m, options.seconds(), c.rates.getOrDefault(m, 0.0));
      MachineLoad.Ticks ticksAfter = MachineLoad.Ticks.now();
      CpuTimes cpu = server.cpu().since(before);
      double own = cpu.sum() + ownSeconds() - ownBefore;
      c.rates.put(m, work.amount() / work.seconds());
      c.allWork += work.amount();
      if (counts) {
        c.samples
            .computeIfAbsent(m, k -> new ArrayList<>())
            .add(
                new Sample(
                    work.amount(),
                    work.seconds(),
                    cpu,
                    MachineLoad.between(ticks, ticksAfter, own)));
      }
    } catch (IOException e) {
      throw new BenchException("/proc/stat cannot be read: " + e.getMessage(), e);
    }
  }

  /** CPU of this process and of the clients that it has waited for. */
  private static double ownSeconds() throws IOException {
    ProcessTree.Node self = ProcessTree.parse(Files.readString(Path.of("/proc/self/stat")), "");
    return self.ownSeconds() + self.reapedSeconds();
  }

  /** Ends all the programs, and writes down what there is. */
  private void end(Workload w, List<Measure> run, List<Contender> contenders)
      throws InterruptedException {
    // Side by side too: each takes a moment.
    for (Contender c : contenders) {
      Server server = c.server;
      if (server != null) {
        server.askToStop();
      }
    }
    for (Contender c : contenders) {
      Server server = c.server;
      if (server != null) {
        c.statistics = server.stop();
        c.notes = c.failure == null ? w.notes(c.mode, server.place()) : List.of();
      }
    }
    for (Measure m : run) {
      for (Contender c : contenders) {
        series.add(series(w, m, c, run.size() == 1));
      }
    }
  }

  private static Series series(Workload w, Measure m, Contender c, boolean alone) {
    String failure = c.failure;
    List<Sample> samples = c.samples.getOrDefault(m, List.of());
    if (failure != null || samples.isEmpty()) {
      return Series.failed(w, m, c.mode, failure == null ? "not measured" : failure);
    }
    double allWork = alone ? c.allWork : Double.NaN;
    return new Series(w, m, c.mode, samples, c.statistics, allWork, c.notes, null);
  }
}
