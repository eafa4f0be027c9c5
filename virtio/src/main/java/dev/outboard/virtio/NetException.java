// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/** A network that cannot be had. The message is one sentence for the user, with what to do. */
public final class NetException extends Exception {
  private static final long serialVersionUID = 1L;

  NetException(String message) {
    super(message);
  }
}
