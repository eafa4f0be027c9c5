// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/** What came over the control link: a frame, or the reason why there is none. */
public sealed interface Decoded {
  /** A well-formed frame; its kind may be unknown. */
  record Received(Frame frame) implements Decoded {}

  /** The bytes are not a frame: the link cannot be used any more. */
  record Malformed(String why) implements Decoded {}

  /** The other side has closed the link, or it has failed. */
  record Ended(String why) implements Decoded {}
}
