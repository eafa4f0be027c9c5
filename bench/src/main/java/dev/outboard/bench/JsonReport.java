// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The results for programs: every sample, in base units (bytes, requests, calls, seconds). */
final class JsonReport {
  /** Grows when a field goes or changes its meaning. */
  private static final int FORMAT = 1;

  private JsonReport() {}

  static String of(Results r) {
    Map<String, @Nullable Object> all = new LinkedHashMap<>();
    all.put("format", FORMAT);
    all.put("outboard", r.options().version());
    all.put("when", r.machine().when().toString());
    all.put(
        "machine",
        fields(
            "kernel", r.machine().kernel(),
            "cpu", r.machine().cpu(),
            "cpus", r.machine().cpus(),
            "memoryBytes", r.machine().memoryBytes()));
    all.put("rounds", r.options().rounds());
    all.put("seconds", r.options().seconds());
    r.steal().ifPresent(s -> all.put("steal", spread(s)));
    r.foreign().ifPresent(s -> all.put("foreign", spread(s)));
    List<Object> series = new ArrayList<>();
    r.series().forEach(s -> series.add(series(r, s)));
    all.put("series", series);
    all.put("skipped", r.skipped());
    return Json.write(all);
  }

  private static Map<String, @Nullable Object> series(Results r, Series s) {
    Map<String, @Nullable Object> o =
        fields(
            "workload", s.workload().name(),
            "measure", s.measure().key(),
            "title", s.measure().title(),
            "mode", s.mode().name(),
            "placement", s.measure().oneCpu() ? "one CPU" : "free",
            "unit", s.measure().unit().figure());
    String failure = s.failure();
    if (failure != null) {
      o.put("failure", failure);
      return o;
    }
    o.put("figure", spread(s.figures()));
    r.baseOf(s).ifPresent(b -> o.put("ofNative", spread(s.ratio(b))));
    Map<String, @Nullable Object> cpu = new LinkedHashMap<>();
    for (Side side : Side.values()) {
      cpu.put(side.word(), s.cpu(side));
    }
    o.put("cpuSecondsPer", s.measure().unit().portion());
    o.put("cpuSeconds", cpu);
    o.put("callsTrapped", s.calls());
    o.put("channelBytes", s.channelBytes());
    List<Object> samples = new ArrayList<>();
    for (Sample one : s.samples()) {
      samples.add(
          fields(
              "work", one.work(),
              "seconds", one.seconds(),
              "program", one.cpu().of(Side.PROGRAM),
              "hook", one.cpu().of(Side.HOOK),
              "device", one.cpu().of(Side.DEVICE),
              "steal", one.machine().steal(),
              "foreign", one.machine().foreign()));
    }
    o.put("samples", samples);
    RunStatistics run = s.statistics();
    if (run != null) {
      List<Object> calls = new ArrayList<>();
      for (RunStatistics.Call c : run.calls()) {
        calls.add(
            fields(
                "name", c.name(),
                "device", c.device(),
                "host", c.host(),
                "hook", c.hook(),
                "bytes", c.bytes()));
      }
      o.put(
          "run",
          fields(
              "work", s.allWork(),
              "calls", calls,
              "channelToDevice", run.channelToDevice(),
              "channelFromDevice", run.channelFromDevice()));
    }
    o.put("notes", s.notes());
    return o;
  }

  private static Map<String, @Nullable Object> spread(Spread s) {
    return fields("median", s.median(), "lowest", s.lowest(), "highest", s.highest());
  }

  private static Map<String, @Nullable Object> fields(Object... namesAndValues) {
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    for (int i = 0; i < namesAndValues.length; i += 2) {
      map.put((String) namesAndValues[i], namesAndValues[i + 1]);
    }
    return map;
  }
}
