// SPDX-License-Identifier: MIT
/** A service's figures for Prometheus. Nothing but a service that is asked for them loads this. */
module dev.outboard.metrics {
  requires transitive dev.outboard.channel;
  requires io.prometheus.metrics.config;
  requires io.prometheus.metrics.model;
  requires io.prometheus.writer.text;
  requires jdk.httpserver;
  requires static org.jspecify;

  exports dev.outboard.metrics;
}
