// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.nio.ByteBuffer;
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
        Frame.Ahead,
        Frame.Done,
        Frame.Look,
        Frame.Looked,
        Frame.Taken,
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

  /**
   * Host to device, over a stream: what the program has been told is done already, on a file of the
   * device: bytes for a socket's stream, and what is certain to succeed. The next ones may follow
   * before these are {@link Done}.
   *
   * @param slot one that is used for nothing else; what it carries is done in order
   * @param first nothing else of this slot's is on its way: an error of before is over
   * @param kind what is to be done
   * @param handle the file; the same for all that is on its way by this slot, but for closes
   * @param flags of {@code send(2)}; of an option its name
   * @param bytes as {@code kind} says; a view that is valid until the next frame is received
   */
  record Ahead(int slot, boolean first, Kind kind, int handle, int flags, ByteBuffer bytes)
      implements Frame {
    /** What is done ahead. */
    public enum Kind {
      /** Bytes are sent, one at least. */
      BYTES,
      /** They are sent, if there are any, and the stream ends, as by {@code shutdown(2)}. */
      END,
      /** An option of TCP that {@link #isOption} is set to an int, which the bytes are. */
      OPTION,
      /** The handle is closed; no bytes. */
      CLOSE
    }

    // TCP_NODELAY and TCP_CORK (include/uapi/linux/tcp.h).
    private static final int TCP_NODELAY = 1;
    private static final int TCP_CORK = 3;

    /** Whether a frame may set this option of TCP: setting it cannot fail. */
    public static boolean isOption(long name) {
      return name == TCP_NODELAY || name == TCP_CORK;
    }

    /** The most bytes of one frame. */
    public static final int MAX_BYTES = FrameCodec.MAX_BYTES - FrameCodec.HEADER_BYTES - 20;

    /** The same with other bytes. */
    public Ahead with(ByteBuffer other) {
      return new Ahead(slot, first, kind, handle, flags, other);
    }

    /** How many frames so many bytes are. */
    public static int frames(int bytes) {
      return (bytes + MAX_BYTES - 1) / MAX_BYTES;
    }

    /** The most bytes of one slot that may be on their way, and of all of them together. */
    public static final int SLOT_BYTES = 2 << 20;

    public static final int SESSION_BYTES = 3 << 20;

    /** The most frames of a slot that may be on their way. */
    public static final int SLOT_FRAMES = 1024;
  }

  /**
   * Device to host, over a stream: what has become of bytes that were sent ahead.
   *
   * @param slot theirs
   * @param bytes that are on their way no more
   * @param frames of which nothing is on its way any more
   * @param errno 0 if the socket has taken the bytes; else why it has not: all that follow them, up
   *     to a frame that is the first, are thrown away
   */
  record Done(int slot, int bytes, int frames, int errno) implements Frame {}

  /**
   * Host to device, over a stream: what comes for a socket is to be told before the program asks
   * for it, by {@link Looked}.
   *
   * @param slot one that is used for nothing else, the same for all sockets
   * @param handle the socket
   * @param generation above 0, another one each time; 0: no more is to be told
   */
  record Look(int slot, int handle, int generation) implements Frame {
    /** The most sockets that a host has looked at. */
    public static final int MOST_FILES = 4096;
  }

  /**
   * Device to host, over a stream: bytes that are the next in a socket's queue behind those that
   * were told before, and are there still. At least one such frame answers each {@link Look}.
   *
   * @param generation of the Look that it belongs to
   * @param end no more will be told
   * @param never nor is it of use to ask for it again
   * @param errno 0, or why the host can rely on nothing that was told
   * @param bytes may be none; a view that is valid until the next frame is received
   */
  record Looked(int handle, int generation, boolean end, boolean never, int errno, ByteBuffer bytes)
      implements Frame {
    /** The most bytes of one frame. */
    public static final int MAX_BYTES = FrameCodec.MAX_BYTES - FrameCodec.HEADER_BYTES - 20;

    /** The most bytes of a socket that were told and not taken, and of all of them together. */
    public static final int FILE_BYTES = 2 << 20;

    public static final int SESSION_BYTES = 3 << 20;
  }

  /**
   * Host to device, over a stream: the program has received bytes that were {@link Looked} at; the
   * device takes them out of the socket's queue.
   *
   * @param slot as of {@link Look}
   * @param bytes at least one
   */
  record Taken(int slot, int handle, int generation, int bytes) implements Frame {}

  /** Either way, last: why the sender closes the link. */
  record Bye(String why) implements Frame {}

  /** A kind that this side does not know. */
  record Unknown(int kind, int bytes) implements Frame {}
}
