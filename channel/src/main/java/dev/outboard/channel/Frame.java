// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.util.List;

/**
 * A message on the control link. {@code docs/protocol.md} is the page on what each one means and
 * what may change; {@link FrameCodec} is where kind numbers and layouts are.
 *
 * <p>Frames are values. A frame of a kind that this side does not know is an {@link Unknown}, which
 * every receiver ignores.
 */
public sealed interface Frame
    permits Welcome,
        ServiceFrame,
        Frame.Hello,
        Frame.Attach,
        Frame.Attached,
        Frame.Detach,
        Frame.Detached,
        Frame.Interrupt,
        Frame.Ready,
        Frame.Notice,
        Frame.CountsRequest,
        Frame.Counts,
        Frame.Ping,
        Frame.Pong,
        Frame.Bye,
        Frame.Unknown {

  /** Host to device, first: the versions that the host speaks, and what it would like. */
  record Hello(int lowestVersion, int highestVersion, int slots, String client) implements Frame {}

  /**
   * Host to device: a program thread wants a shadow thread.
   *
   * @param id returned in the answer
   * @param pid for logs only
   * @param tid for logs only
   * @param likeSlot the slot of the thread that created this one, or -1
   * @param lent the slot is for the program itself: a file of its own, which comes with the answer,
   *     and for calls that the device allows there
   */
  record Attach(long id, int pid, int tid, int likeSlot, boolean lent, Credentials credentials)
      implements Frame {}

  /** Device to host: the slot's index, or {@code -errno}; with the file of a slot that is lent. */
  record Attached(long id, int slot) implements Frame {}

  /** Host to device: the program thread is gone. */
  record Detach(int slot) implements Frame {}

  /** Device to host: the shadow thread is gone and the slot may be used again. */
  record Detached(int slot) implements Frame {}

  /** Host to device: end call {@code sequence} of the slot with -ERESTARTSYS if it blocks. */
  record Interrupt(int slot, int sequence) implements Frame {}

  /** Device to host: edges of watched handles, oldest first. */
  record Ready(List<Sample> samples) implements Frame {
    public Ready {
      samples = List.copyOf(samples);
    }
  }

  /** The state of a handle at a moment. */
  record Sample(int handle, int mask, long stamp) {}

  /** Device to host: a line for the user. */
  record Notice(String line) implements Frame {}

  /** Host to device: asks for {@link Counts}. */
  record CountsRequest(long id) implements Frame {}

  /** Device to host: what the session holds. */
  record Counts(long id, DeviceCounts counts) implements Frame {}

  /** Either way: answer with {@link Pong}. */
  record Ping(long id) implements Frame {}

  /** The answer to {@link Ping}. */
  record Pong(long id) implements Frame {}

  /** Either way, last: why the sender closes the link. */
  record Bye(String why) implements Frame {}

  /** A kind that this side does not know. */
  record Unknown(int kind, int bytes) implements Frame {}
}
