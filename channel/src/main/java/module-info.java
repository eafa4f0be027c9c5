// SPDX-License-Identifier: MIT
/** The host-device link: frames, negotiation, call slots. */
module dev.outboard.channel {
  requires transitive dev.outboard.syscalls;
  requires transitive dev.outboard.posix;
  requires static org.jspecify;

  exports dev.outboard.channel;
}
