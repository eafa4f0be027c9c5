// SPDX-License-Identifier: MIT
package dev.outboard.bench;

/** Why something cannot be measured, in words for the user. */
public final class BenchException extends Exception {
  private static final long serialVersionUID = 1L;

  BenchException(String message) {
    super(message);
  }

  BenchException(String message, Throwable cause) {
    super(message, cause);
  }

  /** What to tell the user. */
  String text() {
    return String.valueOf(getMessage());
  }
}
