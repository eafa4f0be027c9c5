// SPDX-License-Identifier: MIT
/** Linux facts: errno values, constants, structure layouts. Depends on nothing. */
module dev.outboard.abi {
  requires static org.jspecify;

  exports dev.outboard.abi;
}
