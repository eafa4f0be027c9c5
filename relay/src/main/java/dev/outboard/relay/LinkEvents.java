// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.time.Duration;

/**
 * Is told how a link fares that may break and be taken up again. Called by the thread that reads
 * the link, which waits meanwhile.
 */
public interface LinkEvents {
  /** For whom it is all the same. */
  LinkEvents NONE =
      new LinkEvents() {
        @Override
        public void broken(String why) {}

        @Override
        public void resumed(Duration down, long bytesAgain) {}
      };

  /** The connection broke; it is tried to go on over another one. */
  void broken(String why);

  /**
   * The link goes on as if nothing had been.
   *
   * @param down since it was noticed that the connection had broken
   * @param bytesAgain what this side sends a second time, as it had not arrived
   */
  void resumed(Duration down, long bytesAgain);
}
