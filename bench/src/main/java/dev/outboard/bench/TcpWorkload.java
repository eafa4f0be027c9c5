// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.List;

/** Bulk TCP by iperf3, one stream, both directions; also with frames as a wire carries them. */
final class TcpWorkload implements Workload {
  /** So much when it is not known yet how fast it is. */
  private static final long FIRST_BYTES = 16L << 20;

  private static final int PATIENCE_SECONDS = 60;
  private static final double BITS = 8;
  private static final Tool IPERF = new Tool("iperf3", "iperf3");

  private static final Measure IN = Measure.of("in", "TCP to the program", Measure.Unit.BYTES);
  private static final Measure OUT = Measure.of("out", "TCP from the program", Measure.Unit.BYTES);

  @Override
  public String name() {
    return "tcp";
  }

  @Override
  public String title() {
    return "bulk TCP by iperf3";
  }

  @Override
  public List<Tool> tools() {
    return List.of(IPERF);
  }

  @Override
  public boolean network() {
    return true;
  }

  @Override
  public List<Mode> modes(List<Mode> asked) {
    List<Mode> modes = new ArrayList<>(asked);
    modes.add(modes.indexOf(Modes.LIBRARY) + 1, Modes.WITHOUT_OFFLOADS);
    return modes;
  }

  @Override
  public List<List<Measure>> runs() {
    return List.of(List.of(IN), List.of(OUT));
  }

  @Override
  public void prepare(Site site) {}

  @Override
  public Program program(Mode mode, Place place) {
    return new Program(List.of(IPERF.path(), "-s", "-p", "" + place.port()), null, false);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException, InterruptedException {
    long bytes = rate > 0 ? (long) (rate * seconds) : FIRST_BYTES;
    List<String> command =
        new ArrayList<>(
            List.of(
                IPERF.path(),
                "-J",
                "-c",
                server.address(),
                "-p",
                "" + server.place().port(),
                "-n",
                "" + bytes));
    if (measure.equals(OUT)) {
      command.add("-R");
    }
    String said = server.client(measure, command, seconds + PATIENCE_SECONDS);
    Object received = Json.at(Json.read(said), "end", "sum_received");
    double got = Json.number(received, 0, "bytes");
    double bitsPerSecond = Json.number(received, 0, "bits_per_second");
    if (got <= 0 || bitsPerSecond <= 0) {
      throw new BenchException("iperf3 received nothing: " + Site.shortened(said));
    }
    return new Sample.Work(got, got * BITS / bitsPerSecond);
  }
}
