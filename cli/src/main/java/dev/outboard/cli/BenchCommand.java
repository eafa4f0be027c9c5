// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.bench.Bench;
import dev.outboard.bench.BenchException;
import dev.outboard.bench.BenchOptions;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** {@code outboard bench}: how fast it is here, beside native runs and peers. */
final class BenchCommand implements Command {
  private static final String VS = "--vs";
  private static final String QUICK = "--quick";
  private static final String ROUNDS = "--rounds";
  private static final String SECONDS = "--seconds";
  private static final String OUTPUT = "--output";
  private static final int MAX_ROUNDS = 1000;
  private static final double MIN_SECONDS = 0.05;
  private static final double MAX_SECONDS = 600;

  @Override
  public Syntax syntax() {
    return new Syntax(
        "bench",
        "[WORKLOAD...]",
        "Measures programs natively and offloaded, in turn, and prints one table.",
        List.of(
            "Workloads: tcp (iperf3), rr (round trips), sendfile (nginx, files of an export), ktls (the",
            "same by HTTPS), requests (nginx, 1 KiB of the host and of an export), redis, calls (single",
            "system calls); all is the default. The table, which is Markdown, goes to standard output;",
            "bench.json has every sample, and bench.html charts. Clients are never offloaded. All but",
            "calls need root: they run in network namespaces, which are removed at the end as everything",
            "else is. The exit status is 1 if something failed."),
        List.of(
            Option.list(
                VS,
                "PEER",
                "Compare with these too, if they are installed, or with all:",
                String.join(", ", Bench.peers()) + ".",
                "host is outboard with --kernel=host, notifier with --hook=notifier;",
                "native always takes part."),
            Option.flag(
                QUICK, (char) 0, "In less than a minute: few rounds, short samples, wide spread."),
            Option.single(
                ROUNDS,
                "N",
                "Samples of each (default: "
                    + BenchOptions.ROUNDS
                    + "; quick: "
                    + BenchOptions.QUICK_ROUNDS
                    + ")."),
            Option.single(
                SECONDS,
                "S",
                "Length of a sample (default: "
                    + (int) BenchOptions.SECONDS
                    + "; quick: "
                    + BenchOptions.QUICK_SECONDS
                    + ")."),
            Option.single(
                OUTPUT, "DIR", "Where bench.json and bench.html are written (default: here).")),
        List.of(
            "  outboard bench --quick",
            "      everything, natively and offloaded",
            "  outboard bench tcp sendfile --vs=host,proot --rounds=9",
            "      two workloads, with a peer"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    Syntax syntax = syntax();
    boolean quick = arguments.has(QUICK);
    int rounds =
        (int)
            number(
                syntax,
                ROUNDS,
                arguments.value(ROUNDS),
                quick ? BenchOptions.QUICK_ROUNDS : BenchOptions.ROUNDS,
                1,
                MAX_ROUNDS);
    double seconds =
        number(
            syntax,
            SECONDS,
            arguments.value(SECONDS),
            quick ? BenchOptions.QUICK_SECONDS : BenchOptions.SECONDS,
            MIN_SECONDS,
            MAX_SECONDS);
    String launcher = System.getProperty("outboard.launcher");
    if (launcher == null) {
      throw new Failure("bench starts outboard itself, and is to be called by ./outboard");
    }
    String output = arguments.value(OUTPUT);
    BenchOptions options =
        new BenchOptions(
            arguments.operands(),
            arguments.all(VS),
            rounds,
            seconds,
            Path.of(output == null ? "" : output).toAbsolutePath(),
            Path.of(launcher),
            Versions.OUTBOARD);
    try {
      return Bench.run(options, terminal.out(), terminal::say) ? ExitStatus.OK : ExitStatus.LACKING;
    } catch (BenchException e) {
      throw new Failure(String.valueOf(e.getMessage()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return ExitStatus.OURS;
    }
  }

  private static double number(
      Syntax syntax,
      String option,
      @Nullable String text,
      double otherwise,
      double least,
      double most) {
    if (text == null) {
      return otherwise;
    }
    try {
      double d = Double.parseDouble(text);
      if (d >= least && d <= most && (!option.equals(ROUNDS) || d == Math.rint(d))) {
        return d;
      }
    } catch (NumberFormatException e) {
      // As wrong as one out of range.
    }
    throw syntax.usageError(option + ": '" + text + "' is out of range");
  }
}
