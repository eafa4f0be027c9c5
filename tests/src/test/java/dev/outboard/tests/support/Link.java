// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

/** What network a scenario's programs see. */
public enum Link {
  /** Loopback alone, of a network namespace or device of the trial's own. */
  NONE,
  /**
   * Loopback and one link to the machine that the tests run on: a TAP of the library kernel, a veth
   * pair in the other modes. Needs root.
   */
  TO_MACHINE,
  /**
   * A namespace with a veth pair in every mode; the library kernel reaches it as it does without
   * any option, by passt. Needs root.
   */
  NAMESPACE
}
