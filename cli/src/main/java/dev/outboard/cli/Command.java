// SPDX-License-Identifier: MIT
package dev.outboard.cli;

/** One of outboard's commands. */
interface Command {
  /** What it is called with. */
  Syntax syntax();

  /**
   * Does it.
   *
   * @return the exit status
   * @throws Failure if it cannot; the message is for the user
   */
  int run(Arguments arguments, Terminal terminal);
}
