// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Struct;

/**
 * The sub-table of {@code fcntl(2)}: which commands the device sees.
 *
 * <p>A device fd's status flags live in the device's kernel and, for O_NONBLOCK, on the placeholder
 * as well. Locks are the device's, too, the size of a FIFO, and seals. All else that fcntl knows is
 * a matter of the host's descriptor or open file: duplicates, close-on-exec, leases, and O_ASYNC
 * with owner and signal, which stay on the placeholder. The host's kernel sends SIGIO and SIGURG
 * when the placeholder shows an edge; so the hook must hear of O_ASYNC and of an owner, and have
 * the device tell of the file's edges from then on.
 *
 * <p>A lock of a process (F_SETLK) crosses as one of the open file (F_OFD_SETLK): all processes of
 * a session share a table of descriptors on the device, so their locks would have one owner there.
 */
public final class FcntlCommands {
  /** sizeof(struct flock). */
  static final int LOCK_BYTES = Struct.FLOCK.bytes();

  /** Offset of l_pid. */
  static final int LOCK_PID = 24;

  private FcntlCommands() {}

  /** Whether a host may ask the device for {@code command}. */
  public static boolean onDevice(int command) {
    return switch (command) {
      case Fcntl.F_GETFL,
          Fcntl.F_SETFL,
          Fcntl.F_GETPIPE_SZ,
          Fcntl.F_SETPIPE_SZ,
          Fcntl.F_ADD_SEALS,
          Fcntl.F_GET_SEALS ->
          true;
      default -> locks(command);
    };
  }

  /** Whether {@code command} is one of the device's whose argument is a {@code struct flock}. */
  public static boolean locks(int command) {
    return command == Fcntl.F_OFD_GETLK
        || command == Fcntl.F_OFD_SETLK
        || command == Fcntl.F_OFD_SETLKW;
  }

  /** The command that a host sends for {@code command} of a program; mostly the same. */
  static int wire(int command) {
    return switch (command) {
      case Fcntl.F_GETLK -> Fcntl.F_OFD_GETLK;
      case Fcntl.F_SETLK -> Fcntl.F_OFD_SETLK;
      case Fcntl.F_SETLKW -> Fcntl.F_OFD_SETLKW;
      default -> command;
    };
  }
}
