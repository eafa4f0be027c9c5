// SPDX-License-Identifier: MIT
/** Measures the product from outside: it starts {@code outboard run} as a user does. */
module dev.outboard.bench {
  requires static org.jspecify;

  exports dev.outboard.bench;
}
