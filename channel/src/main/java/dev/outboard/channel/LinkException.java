// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import org.jspecify.annotations.Nullable;

/** The link could not be made or has failed; the message is one sentence for the user. */
public final class LinkException extends Exception {
  private static final long serialVersionUID = 1L;

  /** Whether trying again would be in vain, too, until a user has changed something. */
  private final boolean lasting;

  public LinkException(String message) {
    super(message);
    this.lasting = false;
  }

  public LinkException(String message, Throwable cause) {
    this(message, cause, false);
  }

  /** The same, and whether trying again would be in vain, too. */
  public LinkException(String message, @Nullable Throwable cause, boolean lasting) {
    super(message, cause);
    this.lasting = lasting;
  }

  /** Whether trying again would be in vain, too, until a user has changed something. */
  public boolean lasting() {
    return lasting;
  }
}
