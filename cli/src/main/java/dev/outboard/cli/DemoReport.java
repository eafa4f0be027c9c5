// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.hook.Statistics;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * What ran where, as the demo prints it.
 *
 * @param hostKernel {@code uname} of this machine
 * @param deviceKernel {@code uname} of the device
 * @param network how the two meet
 * @param hostTls whether this machine could encrypt by itself what the device encrypts
 * @param lines calls, the most frequent first
 * @param cpu seconds of CPU by process
 */
record DemoReport(
    String hostKernel,
    String deviceKernel,
    String network,
    HostTls hostTls,
    List<Statistics.Line> lines,
    List<CpuTime> cpu) {
  private static final int DIGEST_SHOWN = 16;

  /**
   * Takes everything down, while the processes are there.
   *
   * @param hookBefore what this process had used before it became the hook of the program
   */
  static DemoReport of(
      String deviceKernel,
      DemoNetwork network,
      int programPid,
      int devicePid,
      CpuTime hookBefore,
      Statistics statistics) {
    List<CpuTime> cpu = new ArrayList<>();
    cpu.add(CpuTime.of("nginx master", programPid));
    ProcessHandle.of(programPid).stream()
        .flatMap(ProcessHandle::descendants)
        .forEach(p -> cpu.add(CpuTime.of("nginx worker", (int) p.pid())));
    cpu.add(CpuTime.ofThisProcess().since(hookBefore));
    cpu.add(CpuTime.of("device", devicePid));
    return new DemoReport(
        "Linux " + Versions.hostRelease() + " x86_64",
        shortened(deviceKernel),
        network.description(),
        HostTls.find(),
        statistics.lines(),
        cpu);
  }

  /** {@code uname -srvm} without the version's build number and date. */
  private static String shortened(String uname) {
    String[] words = uname.split(" ", -1);
    return words.length < 3 ? uname : words[0] + " " + words[1] + " " + words[words.length - 1];
  }

  /** Prints it all; {@code shown} calls have a line of their own. */
  void print(PrintStream out, List<DemoSite.Fetch> fetches, List<TlsProof> proofs, int shown) {
    out.println();
    int width = Math.max(hostKernel.length(), deviceKernel.length());
    String kernel = "  %-8s %-" + width + "s   %s%n";
    out.printf(Locale.ROOT, kernel, "host", hostKernel, "runs nginx and curl, has the files");
    out.printf(
        Locale.ROOT, kernel, "device", deviceKernel, "has nginx's sockets and TLS: " + network);
    out.println();
    out.printf(
        Locale.ROOT,
        "  %-11s %12s %9s %10s   %s%n",
        "fetched",
        "bytes",
        "seconds",
        "MB/s",
        "sha256");
    for (DemoSite.Fetch f : fetches) {
      out.printf(
          Locale.ROOT,
          "  %-11s %,12d %9.3f %10.1f   %s… %s%n",
          f.request().title(),
          f.bytes(),
          f.seconds(),
          f.bytes() / f.seconds() / 1e6,
          f.digest().substring(0, DIGEST_SHOWN),
          f.same() ? "as served" : "DIFFERS");
    }
    out.println();
    printTls(out, proofs);
    out.println();
    out.printf(
        Locale.ROOT,
        "  %-18s %9s %9s %9s %9s %14s%n",
        "nginx called",
        "device",
        "host",
        "untrapped",
        "hook",
        "bytes");
    lines.stream().limit(shown).forEach(l -> call(out, l));
    Statistics.Line rest = sum("others trapped", lines.stream().skip(shown).toList());
    if (rest.device() + rest.host() + rest.passed() + rest.hook() > 0) {
      call(out, rest);
    }
    call(out, sum("sum", lines));
    out.println();
    out.printf(Locale.ROOT, "  %-18s %9s %9s %9s%n", "CPU seconds", "pid", "user", "system");
    for (CpuTime c : cpu) {
      out.printf(
          Locale.ROOT, "  %-18s %9d %9.2f %9.2f%n", c.process(), c.pid(), c.user(), c.system());
    }
    out.println();
  }

  private void printTls(PrintStream out, List<TlsProof> proofs) {
    String row = "  %-11s %-44s %9s %9s%n";
    out.printf(Locale.ROOT, row, "kernel TLS", "", "TlsTxSw", "TlsRxSw");
    for (TlsProof p : proofs) {
      out.printf(
          Locale.ROOT,
          row,
          p.request().title(),
          p.agreed(),
          risen(p.keys().sending()),
          risen(p.keys().receiving()));
    }
    boolean proved = proofs.stream().allMatch(p -> p.doubt().isEmpty());
    out.println(
        proved
            ? "  The device's kernel encrypts what nginx sends: " + hostTls.words() + "."
            : "  NOT by the device's kernel: see below.");
  }

  private static String risen(long n) {
    return n == 0 ? "·" : String.format(Locale.ROOT, "%+d", n);
  }

  private static Statistics.Line sum(String name, List<Statistics.Line> lines) {
    long device = 0;
    long direct = 0;
    long atOnce = 0;
    long host = 0;
    long passed = 0;
    long hook = 0;
    long bytes = 0;
    long won = 0;
    long lost = 0;
    for (Statistics.Line l : lines) {
      device += l.device();
      direct += l.direct();
      atOnce += l.atOnce();
      host += l.host();
      passed += l.passed();
      hook += l.hook();
      bytes += l.bytes();
      won += l.spinsWon();
      lost += l.spinsLost();
    }
    return new Statistics.Line(
        name, device, direct, atOnce, host, passed, hook, bytes, 0, 0, 0, 0, won, lost);
  }

  private static void call(PrintStream out, Statistics.Line l) {
    out.printf(
        Locale.ROOT,
        "  %-18s %9s %9s %9s %9s %14s%n",
        l.name(),
        count(l.device()),
        count(l.host()),
        count(l.passed()),
        count(l.hook()),
        count(l.bytes()));
  }

  private static String count(long n) {
    return n == 0 ? "·" : String.format(Locale.ROOT, "%,d", n);
  }
}
