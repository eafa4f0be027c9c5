// SPDX-License-Identifier: MIT
package dev.outboard.device;

/** The device cannot start; the message is a sentence for the user, with what to do. */
public final class DeviceException extends Exception {
  private static final long serialVersionUID = 1L;

  public DeviceException(String message) {
    super(message);
  }

  public DeviceException(String message, Throwable cause) {
    super(message, cause);
  }
}
