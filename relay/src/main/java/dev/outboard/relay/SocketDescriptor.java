// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import java.nio.channels.ClosedChannelException;

/**
 * A socket's number, which stays its own while a call is made by it: it is closed by whoever comes
 * out last of {@link #close} and what was under way then. Any thread.
 */
final class SocketDescriptor {
  private final int fd;

  // Guarded by this.
  private int users;
  private boolean closed;

  /**
   * @param fd owned by this object from here on
   */
  SocketDescriptor(int fd) {
    this.fd = fd;
  }

  /**
   * For a call, to be followed by {@link #leave}.
   *
   * @return the number
   */
  synchronized int enter() throws ClosedChannelException {
    if (closed) {
      throw new ClosedChannelException();
    }
    users++;
    return fd;
  }

  synchronized void leave() {
    users--;
    if (closed && users == 0) {
      Linux.close(fd);
    }
  }

  synchronized boolean isClosed() {
    return closed;
  }

  /** Who waits in a call comes back. Repeatable; does not wait. */
  void close() {
    close(true);
  }

  /** The same for one that goes on elsewhere: nothing happens to the socket itself. */
  void forget() {
    close(false);
  }

  private synchronized void close(boolean ends) {
    if (closed) {
      return;
    }
    closed = true;
    if (ends) {
      Linux.shutdown(fd, Socket.SHUT_RDWR);
    }
    if (users == 0) {
      Linux.close(fd);
    }
  }
}
