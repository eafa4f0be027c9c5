// SPDX-License-Identifier: MIT
/** The library kernel: Linux in this process. */
module dev.outboard.kernel {
  requires transitive dev.outboard.abi;
  requires transitive dev.outboard.posix;
  requires static org.jspecify;

  exports dev.outboard.kernel;
}
