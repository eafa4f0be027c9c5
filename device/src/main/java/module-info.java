// SPDX-License-Identifier: MIT
/** The device side: sessions, shadow processes and threads, and the kernels behind them. */
module dev.outboard.device {
  requires transitive dev.outboard.channel;
  requires transitive dev.outboard.kernel;
  requires transitive dev.outboard.virtio;
  requires dev.outboard.relay;
  requires static jdk.jfr;
  requires static org.jspecify;

  exports dev.outboard.device;
}
