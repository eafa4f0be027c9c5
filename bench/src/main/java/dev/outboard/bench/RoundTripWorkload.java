// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.List;

/** One byte to and fro over TCP, on one CPU and with Linux's placement. */
final class RoundTripWorkload implements Workload {
  private static final int PATIENCE_SECONDS = 20;

  @Override
  public String name() {
    return "rr";
  }

  @Override
  public String title() {
    return "TCP round trips of one byte";
  }

  @Override
  public List<Tool> tools() {
    return List.of(CPrograms.COMPILER);
  }

  @Override
  public boolean network() {
    return true;
  }

  @Override
  public List<List<Measure>> runs() {
    return List.of(
        List.of(new Measure("free", "TCP round trips, free", Measure.Unit.REQUESTS, false)),
        List.of(new Measure("one_cpu", "TCP round trips, one CPU", Measure.Unit.REQUESTS, true)));
  }

  @Override
  public void prepare(Site site) throws BenchException, InterruptedException {
    CPrograms.compile(site, "roundtrips");
  }

  private static String program(Site site) {
    return site.directory().resolve("roundtrips").toString();
  }

  @Override
  public Program program(Mode mode, Place place) {
    return new Program(List.of(program(place.site()), "serve", "" + place.port()), null, false);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException, InterruptedException {
    return CPrograms.work(
        server.client(
            measure,
            List.of(
                program(server.place().site()),
                "ask",
                server.address(),
                "" + server.place().port(),
                "" + seconds),
            seconds + PATIENCE_SECONDS));
  }
}
