// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;

/** A network that cannot be had. The message is one sentence for the user, with what to do. */
public final class NetException extends Exception {
  private static final long serialVersionUID = 1L;

  NetException(String message) {
    super(message);
  }

  /**
   * Throws if a call failed.
   *
   * @param what it was to do, to follow "cannot"
   * @param result of the call, or {@code -errno}
   */
  static void check(String what, long result) throws NetException {
    if (result == -Errno.EPERM || result == -Errno.EACCES) {
      throw new NetException("not permitted to " + what + "; run as root, or use --net passt");
    }
    if (result < 0) {
      throw new NetException("cannot " + what + ": " + Errno.name((int) -result));
    }
  }
}
