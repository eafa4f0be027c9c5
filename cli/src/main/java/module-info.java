// SPDX-License-Identifier: MIT
/** The outboard command. */
module dev.outboard.cli {
  requires dev.outboard.relay;
  requires dev.outboard.hook;
  requires dev.outboard.device;
  requires dev.outboard.service;
  requires static dev.outboard.metrics;
  requires dev.outboard.bench;
  requires jdk.unsupported;
  requires static org.jspecify;
}
