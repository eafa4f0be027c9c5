// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A connected stream of bytes to the other end of a session, whatever it is made of.
 *
 * <p>One thread reads, one at a time writes; {@link #stop} may be called by any thread and makes
 * both return. All block the thread that calls them.
 */
public interface Wire extends AutoCloseable {
  /**
   * Reads what has come, at least one byte.
   *
   * @param into a direct buffer with room
   * @return how many bytes, or -1 if the other end has closed the stream
   * @throws IOException if the stream has failed, or was stopped
   */
  int read(ByteBuffer into) throws IOException;

  /**
   * Writes all of a direct buffer.
   *
   * @throws IOException if the stream has failed, or was stopped
   */
  void write(ByteBuffer from) throws IOException;

  /** Ends both directions: who reads or writes comes back. Repeatable. */
  void stop();

  /** Gives back what the stream holds. The reader must be out, or be the caller. */
  @Override
  void close();
}
