// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/** The link could not be made or has failed; the message is one sentence for the user. */
public final class LinkException extends Exception {
  private static final long serialVersionUID = 1L;

  public LinkException(String message) {
    super(message);
  }

  public LinkException(String message, Throwable cause) {
    super(message, cause);
  }
}
