// SPDX-License-Identifier: MIT
/** Many sessions at once: a process with a kernel for each, or for those that share one. */
module dev.outboard.service {
  requires transitive dev.outboard.channel;
  requires static org.jspecify;

  exports dev.outboard.service;
}
