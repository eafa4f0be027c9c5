// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import org.jspecify.annotations.Nullable;

/**
 * What the device tells the host unasked.
 *
 * <p>{@link #lost} and {@link #notice} are called on the link's reader thread; the others by that
 * of the {@link NearEnd} if there is one: of each of the two one call at a time. An implementation
 * must not block and must not wait for anything that comes over the same link (no {@link
 * DeviceLink#attach}, and no call).
 */
public interface LinkListener {
  /**
   * A watched handle had an edge, and this was its state afterwards. The state may be out of date
   * (a newer sample came with a call's result); that there was an edge is true all the same.
   *
   * @param pollMask poll bits, level, and above them the count of edges
   * @param stamp samples with smaller stamps of the same handle are older
   */
  void ready(int handle, int pollMask, long stamp);

  /**
   * Bytes that were {@link DeviceLink#sendAhead sent ahead} are on their way no more.
   *
   * @param slot by which they were sent
   * @param bytes how many
   * @param frames in how many pieces that were sent
   * @param errno 0, or why they were thrown away
   */
  default void sent(int slot, int bytes, int frames, int errno) {}

  /**
   * Bytes came for a socket that the host {@link DeviceLink#look looks} at.
   *
   * @param frame whose bytes are valid during the call
   * @return null, or what is wrong with it: then the link ends
   */
  default @Nullable String looked(Frame.Looked frame) {
    return null;
  }

  /** The device is gone; called once, after every pending call was made to end. */
  void lost(String why);

  /** One line for the user. */
  void notice(String line);
}
