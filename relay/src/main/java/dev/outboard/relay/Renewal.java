// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.io.IOException;

/** Where {@link ResumableWire} gets the next connection from, when one has broken. */
interface Renewal {
  /**
   * A connection to the same other end, both ends of which know of each other what has arrived.
   *
   * @param peerReceived bytes of the stream that the other end has received
   */
  record Renewed(Connection connection, long peerReceived) {}

  /**
   * Waits for a connection.
   *
   * @param received bytes of the stream that this end has received
   * @param deadline as {@link System#nanoTime}
   * @throws IOException if there is none until then, there will be none, or {@link #abandon} was
   *     called; the message says why
   */
  Renewed renew(long received, long deadline) throws IOException;

  /** Ends {@link #renew}, now and for good. Any thread, repeatable. */
  void abandon();
}
