// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * How to open a link.
 *
 * @param client what to call this host in the device's log; at most 255 bytes
 * @param slots call slots wanted, that is program threads at a time; the device may give fewer
 * @param greeting how long the device may take to answer the greeting; one that is just being
 *     started boots first, and its end shows at once
 * @param timeout for each request over the link
 * @param share the kernel of a service that this session is to share with others; null for one of
 *     its own
 */
public record LinkOptions(
    String client, int slots, Duration greeting, Duration timeout, @Nullable String share) {
  /** Slots asked for when nothing else is said. */
  public static final int DEFAULT_SLOTS = 1024;

  public LinkOptions {
    if (slots < 1 || slots > SlotLayout.MAX_SLOTS) {
      throw new IllegalArgumentException("slots: 1 to " + SlotLayout.MAX_SLOTS);
    }
  }

  /** With a kernel that is not shared by name. */
  public LinkOptions(String client, int slots, Duration greeting, Duration timeout) {
    this(client, slots, greeting, timeout, null);
  }

  /** The same on the kernel of that name. */
  public LinkOptions withShare(@Nullable String name) {
    return new LinkOptions(client, slots, greeting, timeout, name);
  }

  /** The options of a client that wants nothing special. */
  public static LinkOptions of(String client) {
    Duration patience = Duration.ofSeconds(10);
    return new LinkOptions(client, DEFAULT_SLOTS, patience, patience);
  }

  /** The same for a device that has been started a moment ago, on a machine that may be busy. */
  public static LinkOptions ofNewDevice(String client) {
    return new LinkOptions(client, DEFAULT_SLOTS, Duration.ofMinutes(2), Duration.ofSeconds(10));
  }
}
