// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Fcntl;

/**
 * The sub-table of {@code fcntl(2)}: which commands the device sees.
 *
 * <p>A device fd's status flags live in the device's kernel and, for O_NONBLOCK and O_ASYNC, on the
 * placeholder as well. All else that fcntl knows is a matter of the host's descriptor or open file:
 * duplicates, close-on-exec, the owner and signal of SIGIO (the host's kernel sends it when the
 * placeholder becomes ready), locks, leases.
 */
public final class FcntlCommands {
  private FcntlCommands() {}

  /** Whether a host may ask the device for {@code command}. */
  public static boolean onDevice(int command) {
    return command == Fcntl.F_GETFL || command == Fcntl.F_SETFL;
  }
}
