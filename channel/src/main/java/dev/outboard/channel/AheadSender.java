// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * A nearer way for {@link Frame.Ahead} than the link's socket, where the other end of that is in
 * this process: what goes by it may overtake other frames. Any thread.
 */
public interface AheadSender {
  /**
   * Sends a frame. Waits while the other side takes nothing.
   *
   * @return false if the link is gone
   */
  boolean send(Frame.Ahead frame);
}
