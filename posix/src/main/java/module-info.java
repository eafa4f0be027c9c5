// SPDX-License-Identifier: MIT
/** The only libc downcalls of the product. */
module dev.outboard.posix {
  requires transitive dev.outboard.abi;
  requires static org.jspecify;

  exports dev.outboard.posix;
}
