// SPDX-License-Identifier: MIT
/** The outboard command. */
module dev.outboard.cli {
  requires dev.outboard.relay;
  requires dev.outboard.hook;
  requires dev.outboard.device;
  requires dev.outboard.bench;
  requires static org.jspecify;
}
