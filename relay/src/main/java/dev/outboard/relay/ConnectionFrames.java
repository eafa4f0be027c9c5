// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Frames over a connection that carries nothing else. One thread; how long it may wait is its
 * caller's business, who closes the connection.
 */
final class ConnectionFrames {
  private static final ByteBuffer NOTHING = ByteBuffer.allocateDirect(0);

  private final Connection connection;
  private final ByteBuffer in;
  private final ByteBuffer out =
      ByteBuffer.allocateDirect(FrameCodec.MAX_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /**
   * @param most the longest frame that may come, in bytes
   */
  ConnectionFrames(Connection connection, int most) {
    this.connection = connection;
    this.in = ByteBuffer.allocateDirect(most).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Sends a frame. */
  void send(Frame frame) throws IOException {
    FrameCodec.encode(frame, out);
    connection.write(out, NOTHING);
  }

  /** Waits for a frame. Nothing is kept of one that is too long but its header. */
  Decoded receive() {
    try {
      in.clear().limit(FrameCodec.HEADER_BYTES);
      if (!fill()) {
        return new Decoded.Ended("the other side closed the connection");
      }
      in.position(0);
      int length = FrameCodec.length(in);
      if (length < 0 || length > in.capacity()) {
        return new Decoded.Malformed("a frame of " + in.getInt(0) + " bytes");
      }
      in.limit(length).position(FrameCodec.HEADER_BYTES);
      return fill()
          ? FrameCodec.decode(in.position(0))
          : new Decoded.Ended("the other side closed the connection in the middle of a frame");
    } catch (IOException e) {
      return new Decoded.Ended("the connection failed: " + e.getMessage());
    }
  }

  /** Up to the limit; false if the other end has closed the connection before. */
  private boolean fill() throws IOException {
    while (in.hasRemaining()) {
      ByteBuffer some = connection.read();
      if (some == null) {
        return false;
      }
      int n = Math.min(some.remaining(), in.remaining());
      in.put(in.position(), some, some.position(), n);
      in.position(in.position() + n);
      some.position(some.position() + n);
    }
    return true;
  }
}
