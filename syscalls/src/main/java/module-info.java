// SPDX-License-Identifier: MIT
/**
 * The syscall table and everything derived from it: marshalling, filter, tracing, documentation.
 */
module dev.outboard.syscalls {
  requires transitive dev.outboard.abi;
  requires static org.jspecify;

  exports dev.outboard.syscalls;
}
