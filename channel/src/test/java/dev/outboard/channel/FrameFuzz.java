// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Bytes of whoever is at the other end of a link. {@code -Pfuzz} looks for some that do harm
 * ({@code SECURITY.md}); {@link FrameFuzzTest} replays what is kept.
 */
class FrameFuzz {
  /** Nothing is thrown, whatever comes; what it makes of it, it can say again. */
  @FuzzTest(maxDuration = "90s")
  void anyBytesAsAFrame(byte[] bytes) {
    check(bytes.clone());
    if (bytes.length >= FrameCodec.HEADER_BYTES) {
      // So that what is behind the length is looked at, too.
      byte[] whole = bytes.clone();
      ByteBuffer.wrap(whole)
          .order(ByteOrder.LITTLE_ENDIAN)
          .putInt(0, whole.length)
          .putShort(6, (short) 0);
      check(whole);
    }
  }

  private static void check(byte[] bytes) {
    Decoded decoded = FrameCodec.decode(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
    if (decoded instanceof Decoded.Received(Frame frame) && !(frame instanceof Frame.Unknown)) {
      ByteBuffer again = FrameCodec.newBuffer();
      FrameCodec.encode(frame, again);
      assertThat(FrameCodec.decode(again)).isEqualTo(decoded);
    }
  }
}
