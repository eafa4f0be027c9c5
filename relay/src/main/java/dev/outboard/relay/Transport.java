// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A connected stream socket, blocking, of which TLS makes a {@link Connection}. One thread reads,
 * one at a time writes; the rest is for any.
 */
interface Transport {
  /**
   * Reads what has come, at least one byte, into a direct buffer.
   *
   * @return how many bytes; -1 at the end
   */
  int read(ByteBuffer into) throws IOException;

  /** Writes all of a direct buffer. */
  void write(ByteBuffer from) throws IOException;

  /**
   * Whether a few thousand bytes can be written without waiting for the other end, by who writes.
   *
   * @return false also if that is not known
   */
  default boolean hasRoom() {
    return false;
  }

  /** Who reads comes to an end, now and later. */
  void shutdownInput() throws IOException;

  /** The other end comes to an end. */
  void shutdownOutput() throws IOException;

  /** Ends it: who reads or writes comes back. Repeatable; does not wait. */
  void close();
}
