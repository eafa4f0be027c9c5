// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.ServiceFrame;
import dev.outboard.channel.ServiceStatus;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * What either end of a connection for questions says once that is open. {@code -Pfuzz} looks for
 * what does harm ({@code SECURITY.md}); {@link StatusFuzzTest} replays what is kept.
 *
 * <p>An input is a byte for the seed of the pieces in which it arrives, and the bytes.
 */
class StatusFuzz {
  /** As {@code StatusTeller} has it. */
  private static final int QUESTION_BYTES = 16;

  private final Pieces pieces = new Pieces();
  private final ConnectionFrames answers = new ConnectionFrames(pieces, FrameCodec.MAX_BYTES);
  private final ConnectionFrames questions = new ConnectionFrames(pieces, QUESTION_BYTES);
  private final ByteBuffer again =
      ByteBuffer.allocateDirect(FrameCodec.MAX_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** A host is told what a device says of itself, as a whole, or why it is not. */
  @FuzzTest(maxDuration = "90s")
  void anyBytesAsAnAnswer(byte[] bytes) {
    if (bytes.length < 2) {
      return;
    }
    String first = answer(bytes);
    check(first.equals(answer(bytes)));
  }

  private String answer(byte[] bytes) {
    pieces.begin(bytes);
    try {
      ServiceStatus status = ServiceStatus.receive(answers::receive, "somebody");
      check(status.kernels().size() == status.service().kernels());
      whole(status.service());
      status.kernels().forEach(this::whole);
      return status.toString();
    } catch (LinkException e) {
      String why = e.getMessage();
      // It is for a terminal.
      check(why != null && why.chars().noneMatch(Character::isISOControl));
      return String.valueOf(why);
    }
  }

  /** What was taken can be said, and is the same then. */
  private void whole(Frame frame) {
    FrameCodec.encode(frame, again);
    check(FrameCodec.decode(again) instanceof Decoded.Received(Frame f) && f.equals(frame));
  }

  /** A device hears short frames alone, and of a longer one its header. */
  @FuzzTest(maxDuration = "90s")
  void anyBytesAsQuestions(byte[] bytes) {
    if (bytes.length < 2) {
      return;
    }
    pieces.begin(bytes);
    for (int taken = 0; ; ) {
      switch (questions.receive()) {
        case Decoded.Received(ServiceFrame.StatusRequest f) -> {
          taken += QUESTION_BYTES;
          check(pieces.given() == taken);
        }
        case Decoded.Received(Frame f) -> {
          check(pieces.given() <= taken + QUESTION_BYTES);
          return;
        }
        case Decoded.Malformed(String why) -> {
          check(pieces.given() <= taken + QUESTION_BYTES);
          check(why.chars().noneMatch(Character::isISOControl));
          return;
        }
        case Decoded.Ended(String why) -> {
          check(pieces.given() == bytes.length - 1);
          return;
        }
      }
    }
  }

  private static void check(boolean holds) {
    if (!holds) {
      throw new AssertionError("it took what cannot be");
    }
  }

  /** Gives bytes in pieces of random lengths, of which a part may be left, then the end. */
  private static final class Pieces implements Connection {
    private final ByteBuffer bytes = ByteBuffer.allocateDirect(1 << 20);
    private Random random = new Random(0);
    private int end;

    void begin(byte[] input) {
      random = new Random(input[0]);
      end = Math.min(input.length - 1, bytes.capacity());
      bytes.clear().put(input, 1, end).flip().limit(0);
    }

    /** How many bytes were taken. */
    int given() {
      return bytes.position();
    }

    @Override
    public @Nullable ByteBuffer read() {
      if (!bytes.hasRemaining()) {
        int left = end - bytes.limit();
        if (left == 0) {
          return null;
        }
        int most = random.nextBoolean() ? left : Math.min(left, 9);
        bytes.limit(bytes.limit() + 1 + random.nextInt(most));
      }
      return bytes;
    }

    @Override
    public void write(ByteBuffer first, ByteBuffer second) {
      throw new AssertionError("nobody writes");
    }

    @Override
    public void stopReading() {}

    @Override
    public void close() {}
  }
}
