// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * One connection to the other end, which may break: of several, one after the other, {@link
 * ResumableWire} makes a stream that does not.
 *
 * <p>One thread reads, one at a time writes; both block.
 */
interface Connection {
  /**
   * Waits for bytes.
   *
   * @return a direct buffer with at least one, valid until the next call, which hands out again
   *     what has been left in it; null if the other end has closed the connection
   * @throws IOException if the connection has failed or was closed
   */
  @Nullable ByteBuffer read() throws IOException;

  /**
   * Writes all of two direct buffers, one after the other.
   *
   * @throws IOException if the connection has failed or was closed
   */
  void write(ByteBuffer first, ByteBuffer second) throws IOException;

  /**
   * Whether a few thousand bytes can be written without waiting for the other end, by who may
   * write.
   *
   * @return false also if that is not known
   */
  default boolean hasRoom() {
    return false;
  }

  /** Lets who reads come back, now and from now on. Any thread, repeatable. */
  void stopReading();

  /** Ends the connection: who reads or writes comes back. Any thread, repeatable; does not wait. */
  void close();
}
