// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.time.Duration;

/**
 * How to open a link.
 *
 * @param client what to call this host in the device's log; at most 255 bytes
 * @param slots call slots wanted, that is program threads at a time; the device may give fewer
 * @param timeout for the handshake and for each request over the link
 */
public record LinkOptions(String client, int slots, Duration timeout) {
  /** Slots asked for when nothing else is said. */
  public static final int DEFAULT_SLOTS = 1024;

  public LinkOptions {
    if (slots < 1 || slots > SlotLayout.MAX_SLOTS) {
      throw new IllegalArgumentException("slots: 1 to " + SlotLayout.MAX_SLOTS);
    }
  }

  /** The options of a client that wants nothing special. */
  public static LinkOptions of(String client) {
    return new LinkOptions(client, DEFAULT_SLOTS, Duration.ofSeconds(10));
  }
}
