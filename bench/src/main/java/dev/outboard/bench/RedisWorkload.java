// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.List;

/** redis-server, asked by redis-benchmark on 50 connections. */
final class RedisWorkload implements Workload {
  private static final long FIRST_REQUESTS = 5_000;
  private static final int PATIENCE_SECONDS = 60;
  private static final int RATE_COLUMN = 1;
  private static final Tool SERVER = new Tool("redis-server", "redis-server");
  private static final Tool CLIENT = new Tool("redis-benchmark", "redis-tools");

  private static final Measure GET = Measure.of("get", "redis GET", Measure.Unit.REQUESTS);
  private static final Measure SET = Measure.of("set", "redis SET", Measure.Unit.REQUESTS);

  /** The keys of measures that send so many requests before they wait for the replies. */
  private static final String PIPELINED = "16";

  private static final Measure GET_16 =
      Measure.of("get" + PIPELINED, "redis GET, 16 in a row", Measure.Unit.REQUESTS);
  private static final Measure SET_16 =
      Measure.of("set" + PIPELINED, "redis SET, 16 in a row", Measure.Unit.REQUESTS);

  @Override
  public String name() {
    return "redis";
  }

  @Override
  public String title() {
    return "redis by redis-benchmark, 50 connections";
  }

  @Override
  public List<Tool> tools() {
    return List.of(SERVER, CLIENT);
  }

  @Override
  public boolean network() {
    return true;
  }

  @Override
  public List<List<Measure>> runs() {
    return List.of(List.of(SET, SET_16), List.of(GET, GET_16));
  }

  @Override
  public void prepare(Site site) {}

  @Override
  public Program program(Mode mode, Place place) {
    return new Program(
        List.of(
            SERVER.path(),
            "--port",
            "" + place.port(),
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--dir",
            place.directory().toString()),
        null,
        false);
  }

  @Override
  public Sample.Work traffic(Server server, Measure measure, double seconds, double rate)
      throws BenchException, InterruptedException {
    boolean pipelined = measure.key().endsWith(PIPELINED);
    String test = measure.key().replace(PIPELINED, "");
    long requests = rate > 0 ? Math.max(1, (long) (rate * seconds)) : FIRST_REQUESTS;
    String said =
        server.client(
            measure,
            List.of(
                CLIENT.path(),
                "-h",
                server.address(),
                "-p",
                "" + server.place().port(),
                "-c",
                "50",
                "-n",
                "" + requests,
                "-P",
                pipelined ? PIPELINED : "1",
                "-t",
                test,
                "--csv"),
            seconds + PATIENCE_SECONDS);
    // "SET","12345.67",latencies; a line of titles before it.
    for (String line : said.lines().toList()) {
      String[] columns = line.replace("\"", "").split(",", -1);
      if (columns[0].equalsIgnoreCase(test) && columns.length > RATE_COLUMN) {
        return new Sample.Work(requests, requests / Double.parseDouble(columns[RATE_COLUMN]));
      }
    }
    throw new BenchException("redis-benchmark reports nothing: " + Site.shortened(said));
  }
}
