// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Single system calls, timed by the program that makes them; also natively under a seccomp filter
 * that allows all, as no program can be offloaded without one. Needs no root.
 */
final class CallsWorkload implements Workload {
  /** There are ten: a tenth of a sample each would be short, the whole of it long. */
  private static final double SHARE = 0.25;

  private static final int ANSWER_SECONDS = 60;

  private static final List<Measure> MEASURES =
      List.of(
          Measure.of("untrapped", "call that is not trapped (getppid)", Measure.Unit.CALLS),
          Measure.of("host_read", "1 B read of a host descriptor", Measure.Unit.CALLS),
          Measure.of("host_pread", "1 KiB pread of a host file", Measure.Unit.CALLS),
          Measure.of("device_null", "null device call (getsockname)", Measure.Unit.CALLS),
          Measure.of("socket_close", "socket + close", Measure.Unit.CALLS),
          Measure.of("tcp_rr", "TCP round trip over lo", Measure.Unit.CALLS),
          Measure.of("tcp_bulk", "TCP bulk over lo", Measure.Unit.BYTES));

  /** What two processes cost each other that share a CPU, and what a device call costs there. */
  private static final List<Measure> ON_ONE_CPU =
      List.of(
          new Measure("device_null_one_cpu", "null device call, one CPU", Measure.Unit.CALLS, true),
          new Measure(
              "futex_rr_one_cpu",
              "futex round trip of two processes, one CPU",
              Measure.Unit.CALLS,
              true));

  @Override
  public String name() {
    return "calls";
  }

  @Override
  public String title() {
    return "single calls";
  }

  @Override
  public List<Tool> tools() {
    return List.of(CPrograms.COMPILER);
  }

  @Override
  public boolean network() {
    return false;
  }

  @Override
  public List<List<Measure>> runs() {
    return List.of(MEASURES, ON_ONE_CPU);
  }

  @Override
  public List<Mode> modes(List<Mode> asked) {
    List<Mode> modes = new ArrayList<>(asked);
    modes.add(modes.indexOf(Modes.NATIVE) + 1, Modes.FILTERED);
    return modes;
  }

  @Override
  public double sampleSeconds(double asked) {
    return asked * SHARE;
  }

  @Override
  public void prepare(Site site) throws BenchException, InterruptedException {
    CPrograms.compile(site, "calls");
  }

  @Override
  public Program program(Mode mode, Place place) {
    Path program = place.site().directory().resolve("calls");
    List<String> command =
        mode.equals(Modes.FILTERED)
            ? List.of(program.toString(), Modes.FILTERED.name())
            : List.of(program.toString());
    return new Program(command, null, true);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException {
    return CPrograms.work(
        server.ask(measure.key() + " " + sampleSeconds(seconds), ANSWER_SECONDS + (int) seconds));
  }
}
