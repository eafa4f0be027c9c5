// SPDX-License-Identifier: MIT
/** The outboard command. */
module dev.outboard.cli {
  requires dev.outboard.hook;
  requires dev.outboard.device;
  requires static org.jspecify;
}
