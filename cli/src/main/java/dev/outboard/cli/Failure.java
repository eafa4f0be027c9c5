// SPDX-License-Identifier: MIT
package dev.outboard.cli;

/**
 * Why a command cannot do what it was asked to, in words for the user: one sentence that says what
 * is wrong, and where it helps a second one with what to do. Ends the command with {@link
 * ExitStatus#OURS}.
 */
final class Failure extends RuntimeException {
  private static final long serialVersionUID = 1L;

  Failure(String message) {
    // The user gets the message; a stack trace would cost time and tell nothing.
    super(message, null, false, false);
  }
}
