// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.List;

/** Single system calls, timed by the program that makes them. Needs no root. */
final class CallsWorkload implements Workload {
  /** There are six: a sixth of a sample each would be short, the whole of it long. */
  private static final double SHARE = 0.25;

  private static final int ANSWER_SECONDS = 60;

  private static final List<Measure> MEASURES =
      List.of(
          Measure.of("untrapped", "call that is not trapped (getppid)", Measure.Unit.CALLS),
          Measure.of("host_read", "1 B read of a host descriptor", Measure.Unit.CALLS),
          Measure.of("device_null", "null device call (getsockname)", Measure.Unit.CALLS),
          Measure.of("socket_close", "socket + close", Measure.Unit.CALLS),
          Measure.of("tcp_rr", "TCP round trip over lo", Measure.Unit.CALLS),
          Measure.of("tcp_bulk", "TCP bulk over lo", Measure.Unit.BYTES));

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
    return List.of(MEASURES);
  }

  @Override
  public void prepare(Site site) throws BenchException, InterruptedException {
    CPrograms.compile(site, "calls");
  }

  @Override
  public Program program(Mode mode, Place place) {
    Path program = place.site().directory().resolve("calls");
    return new Program(List.of(program.toString()), null, true);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException {
    return CPrograms.work(
        server.ask(measure.key() + " " + seconds * SHARE, ANSWER_SECONDS + (int) seconds));
  }
}
