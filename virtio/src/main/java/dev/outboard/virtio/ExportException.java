// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/** An export that cannot be had. The message is one sentence for the user. */
public final class ExportException extends Exception {
  private static final long serialVersionUID = 1L;

  ExportException(String message) {
    super(message);
  }
}
