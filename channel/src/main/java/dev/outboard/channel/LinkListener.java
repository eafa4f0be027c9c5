// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * What the device tells the host unasked.
 *
 * <p>Called on the link's reader thread, one call at a time. An implementation must not block and
 * must not wait for anything that comes over the same link (no {@link DeviceLink#attach}).
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

  /** The device is gone; called once, after every pending call was made to end. */
  void lost(String why);

  /** One line for the user. */
  void notice(String line);
}
