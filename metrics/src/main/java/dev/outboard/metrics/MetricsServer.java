// SPDX-License-Identifier: MIT
package dev.outboard.metrics;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import io.prometheus.metrics.config.EscapingScheme;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.snapshots.CounterSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot;
import io.prometheus.metrics.model.snapshots.Labels;
import io.prometheus.metrics.model.snapshots.MetricSnapshots;
import io.prometheus.metrics.model.snapshots.Quantile;
import io.prometheus.metrics.model.snapshots.Quantiles;
import io.prometheus.metrics.model.snapshots.SummarySnapshot;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;

/**
 * Answers {@code GET /metrics} with a service's figures, in the text format of Prometheus.
 *
 * <p>Each request asks the service anew, one at a time: what it costs is paid by whoever asks.
 */
public final class MetricsServer implements AutoCloseable {
  private static final int BACKLOG = 8;
  private static final double NANOS = 1e9;
  private static final double PERCENT = 100;

  private final HttpServer server;
  private final ExecutorService worker =
      Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("metrics").factory());
  private final Supplier<ServiceStatus> source;

  private MetricsServer(HttpServer server, Supplier<ServiceStatus> source) {
    this.server = server;
    this.source = source;
  }

  /**
   * Listens and answers from then on.
   *
   * @throws IOException if the address cannot be had
   */
  public static MetricsServer start(InetSocketAddress address, Supplier<ServiceStatus> source)
      throws IOException {
    MetricsServer metrics = new MetricsServer(HttpServer.create(address, BACKLOG), source);
    metrics.server.createContext("/metrics", metrics::answer);
    metrics.server.setExecutor(metrics.worker);
    metrics.server.start();
    return metrics;
  }

  /** Where it listens. */
  public InetSocketAddress address() {
    return server.getAddress();
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      if (!exchange.getRequestMethod().equals("GET")
          || !exchange.getRequestURI().getPath().equals("/metrics")) {
        exchange.sendResponseHeaders(404, -1);
        return;
      }
      ByteArrayOutputStream text = new ByteArrayOutputStream();
      PrometheusTextFormatWriter.create()
          .write(text, snapshots(source.get()), EscapingScheme.UNDERSCORE_ESCAPING);
      exchange.getResponseHeaders().set("Content-Type", PrometheusTextFormatWriter.CONTENT_TYPE);
      exchange.sendResponseHeaders(200, text.size());
      text.writeTo(exchange.getResponseBody());
    }
  }

  /** The figures of one moment. */
  static MetricSnapshots snapshots(ServiceStatus status) {
    ServiceFrame.ServiceStatus s = status.service();
    GaugeSnapshot.Builder resident =
        gauge("outboard_kernel_resident_bytes", "Memory of a kernel's process that is in use.");
    CounterSnapshot.Builder cpu =
        counter("outboard_kernel_cpu_seconds", "CPU time of a kernel's process so far.");
    CounterSnapshot.Builder throttled =
        counter(
            "outboard_kernel_throttled_seconds",
            "How long its limit of CPU time has kept its threads from running so far.");
    GaugeSnapshot.Builder most =
        gauge(
            "outboard_kernel_cpu_limit_ratio",
            "What it gets of one processor at most; not there without a limit.");
    CounterSnapshot.Builder sent =
        counter("outboard_session_sent_bytes", "What a session's program has sent or written.");
    CounterSnapshot.Builder received =
        counter("outboard_session_received_bytes", "What it has received or read.");
    GaugeSnapshot.Builder threads =
        gauge("outboard_session_threads", "Threads of a session's program that make calls.");
    GaugeSnapshot.Builder handles =
        gauge("outboard_session_handles", "Descriptors that a session has open.");
    GaugeSnapshot.Builder memory =
        gauge(
            "outboard_session_memory_bytes",
            "Memory of its kernel that is in use for a session; not there without a limit.");
    GaugeSnapshot.Builder memoryMost =
        gauge(
            "outboard_session_memory_limit_bytes",
            "How much of that there may be; not there without a limit.");
    SummarySnapshot.Builder times =
        SummarySnapshot.builder()
            .name("outboard_session_call_seconds")
            .help("Calls of a session, and how long they took on the device, waiting included.");
    int sessions = 0;
    for (ServiceFrame.KernelStatus k : status.kernels()) {
      String kernel = k.name().isEmpty() ? Integer.toString(k.pid()) : k.name();
      Labels ofKernel = Labels.of("kernel", kernel, "kind", k.kernel());
      resident.dataPoint(point(k.rssBytes(), ofKernel));
      cpu.dataPoint(count((double) k.cpuNanos() / NANOS, ofKernel));
      throttled.dataPoint(count((double) k.throttledNanos() / NANOS, ofKernel));
      if (k.cpuPercent() > 0) {
        most.dataPoint(point(k.cpuPercent() / PERCENT, ofKernel));
      }
      for (ServiceFrame.SessionStatus n : k.sessions()) {
        sessions++;
        Labels labels =
            Labels.of("session", Long.toString(n.id()), "kernel", kernel, "client", n.client());
        sent.dataPoint(count(n.bytesIn(), labels));
        received.dataPoint(count(n.bytesOut(), labels));
        threads.dataPoint(point(n.threads(), labels));
        handles.dataPoint(point(n.handles(), labels));
        if (n.memoryLimitBytes() > 0) {
          memory.dataPoint(point(n.memoryBytes(), labels));
          memoryMost.dataPoint(point(n.memoryLimitBytes(), labels));
        }
        times.dataPoint(
            SummarySnapshot.SummaryDataPointSnapshot.builder()
                .count(n.calls())
                .quantiles(
                    Quantiles.of(
                        new Quantile(0.5, (double) n.medianNanos() / NANOS),
                        new Quantile(0.99, (double) n.p99Nanos() / NANOS)))
                .labels(labels)
                .build());
      }
    }
    return MetricSnapshots.of(
        one(gauge("outboard_sessions", "Sessions now."), sessions),
        one(gauge("outboard_max_sessions", "Sessions at a time at most."), s.maxSessions()),
        one(gauge("outboard_kernels", "Kernels now."), s.kernels()),
        one(gauge("outboard_draining", "1 if no new sessions are taken."), s.draining() ? 1 : 0),
        total(counter("outboard_sessions_begun", "Sessions so far."), s.sessions()),
        total(counter("outboard_visitors_refused", "Connections refused so far."), s.refused()),
        total(counter("outboard_kernels_died", "Kernels that ended too soon so far."), s.died()),
        resident.build(),
        cpu.build(),
        throttled.build(),
        most.build(),
        sent.build(),
        received.build(),
        threads.build(),
        handles.build(),
        memory.build(),
        memoryMost.build(),
        times.build());
  }

  private static GaugeSnapshot.Builder gauge(String name, String help) {
    return GaugeSnapshot.builder().name(name).help(help);
  }

  private static CounterSnapshot.Builder counter(String name, String help) {
    return CounterSnapshot.builder().name(name).help(help);
  }

  private static GaugeSnapshot one(GaugeSnapshot.Builder gauge, long value) {
    return gauge.dataPoint(point(value, Labels.EMPTY)).build();
  }

  private static CounterSnapshot total(CounterSnapshot.Builder counter, long value) {
    return counter.dataPoint(count(value, Labels.EMPTY)).build();
  }

  private static GaugeSnapshot.GaugeDataPointSnapshot point(long value, Labels labels) {
    return point((double) value, labels);
  }

  private static CounterSnapshot.CounterDataPointSnapshot count(long value, Labels labels) {
    return count((double) value, labels);
  }

  private static GaugeSnapshot.GaugeDataPointSnapshot point(double value, Labels labels) {
    return GaugeSnapshot.GaugeDataPointSnapshot.builder().value(value).labels(labels).build();
  }

  private static CounterSnapshot.CounterDataPointSnapshot count(double value, Labels labels) {
    return CounterSnapshot.CounterDataPointSnapshot.builder().value(value).labels(labels).build();
  }

  /** Ends what is under way, and listens no more. */
  @Override
  public void close() {
    server.stop(0);
    worker.shutdownNow();
  }
}
