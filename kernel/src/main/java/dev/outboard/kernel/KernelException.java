// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

/** The library kernel cannot be found, loaded or booted; the message says why and what to do. */
public final class KernelException extends Exception {
  private static final long serialVersionUID = 1L;

  public KernelException(String message) {
    super(message);
  }

  public KernelException(String message, Throwable cause) {
    super(message, cause);
  }
}
