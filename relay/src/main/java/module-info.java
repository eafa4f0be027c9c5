// SPDX-License-Identifier: MIT
/** Carries a session over a stream of bytes, to a device that shares no memory with the host. */
module dev.outboard.relay {
  requires transitive dev.outboard.channel;
  requires static org.jspecify;

  exports dev.outboard.relay;
}
