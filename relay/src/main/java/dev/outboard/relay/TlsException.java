// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;

/** TLS itself has failed, not the connection that carries it. */
final class TlsException extends IOException {
  private static final long serialVersionUID = 1L;

  TlsException(String message) {
    super(message);
  }
}
