// SPDX-License-Identifier: MIT
/** Virtual devices of the library kernel, and the network backends behind them. */
module dev.outboard.virtio {
  requires transitive dev.outboard.abi;
  requires transitive dev.outboard.posix;
  requires static org.jspecify;

  exports dev.outboard.virtio;
}
