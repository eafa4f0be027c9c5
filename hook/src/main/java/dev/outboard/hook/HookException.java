// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/** The program could not be started; the message is one sentence or two for the user. */
public final class HookException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What a shell answers when a program is not found, or cannot be executed. */
  public static final int NOT_FOUND = 127;

  public static final int NOT_EXECUTABLE = 126;

  /** Anything else that keeps the hook from working, as {@code env(1)} and its like answer it. */
  public static final int FAILED = 125;

  private final int status;

  public HookException(int status, String message) {
    super(message);
    this.status = status;
  }

  /** The exit status that says this to a shell. */
  public int status() {
    return status;
  }
}
