// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.channel.Frame;
import dev.outboard.channel.ServiceFrame;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * Bytes of the other end of a relay's link. {@code -Pfuzz} looks for some that do harm ({@code
 * SECURITY.md}); {@link WireFuzzTest} replays what is kept.
 *
 * <p>An input is a byte for the seed of the pieces in which it arrives, and the bytes.
 */
class WireFuzz {
  private static final int AREA_BYTES = 160 << 10;

  /** Of all frames. */
  private static final int MOST_BYTES = 64 << 10;

  private final Arena arena = Arena.ofAuto();
  private final SlotMirror mirror = new SlotMirror(arena.allocate(AREA_BYTES, 64), arena);
  private final Pieces pieces = new Pieces();
  private final WireFrames frames = new WireFrames(pieces);

  /** It ends with a reason, having handed on only what lies in what came. */
  @FuzzTest(maxDuration = "90s")
  void anyBytesOverALink(byte[] bytes) {
    if (bytes.length < 2) {
      return;
    }
    pieces.begin(bytes);
    String why = frames.serve(new Checking());
    if (why.isEmpty()) {
      throw new AssertionError("the link ended for no reason");
    }
    pieces.begin(bytes);
    String again = frames.serve(new Checking());
    if (!again.equals(why)) {
      throw new AssertionError(why + ", but then: " + again);
    }
  }

  /** What the two ends of a connection say first, and the frames of a stream that is taken up. */
  @FuzzTest(maxDuration = "90s")
  void anyBytesAsAnOpening(byte[] bytes) {
    for (Opening.@Nullable Kind answered :
        new Opening.@Nullable Kind[] {null, Opening.Kind.GO_ON, Opening.Kind.STATUS}) {
      try {
        Connection once = new Once(bytes);
        if (answered == null) {
          Opening.Request r = Opening.receiveRequest(once);
          check(r.stream().length() == 32 && !r.patience().isNegative());
          check(r.share().isEmpty() || ServiceFrame.validName(r.share()));
        } else {
          Opening.Answer a = Opening.receiveAnswer(once, answered);
          check(a.key() == null || (answered.carries() && a.status() == Opening.OK));
          check(a.stream().length() == 32 && !a.patience().isNegative());
          check(a.text().chars().noneMatch(Character::isISOControl));
        }
      } catch (IOException e) {
        check(e.getMessage() != null);
      }
    }
  }

  private static void check(boolean holds) {
    if (!holds) {
      throw new AssertionError("it took what cannot be");
    }
  }

  /** Takes it all, as the two relays do. */
  private final class Checking implements WireFrames.Receiver {
    @Override
    public @Nullable String frame(Frame frame) {
      return frame instanceof Frame.Bye bye ? bye.why() + '.' : null;
    }

    @Override
    public @Nullable String data(int slot, int offset, ByteBuffer bytes) {
      check(bytes.remaining() > 0 && bytes.remaining() < MOST_BYTES);
      if (!mirror.holds(offset, bytes.remaining())) {
        return "beyond the end of a slot";
      }
      mirror.apply(offset, bytes);
      check(!bytes.hasRemaining() && !mirror.next(0, AREA_BYTES, AREA_BYTES));
      return null;
    }

    @Override
    public @Nullable String call(int slot, int sequence, int number, int flags, long[] args) {
      check(args.length == 6);
      return null;
    }

    @Override
    public @Nullable String reply(
        int slot, int sequence, long result, int mask, int birth, long stamp) {
      return null;
    }
  }

  /** Gives bytes in pieces of random lengths, then the end. */
  private static final class Pieces implements Wire {
    private byte[] bytes = {};
    private int at;
    private Random random = new Random(0);

    void begin(byte[] bytes) {
      this.bytes = bytes;
      random = new Random(bytes[0]);
      at = 1;
    }

    @Override
    public int read(ByteBuffer into) {
      check(into.hasRemaining());
      if (at == bytes.length) {
        return -1;
      }
      int most = random.nextBoolean() ? bytes.length - at : Math.min(bytes.length - at, 9);
      int n = Math.min(into.remaining(), 1 + random.nextInt(most));
      into.put(bytes, at, n);
      at += n;
      return n;
    }

    @Override
    public void write(ByteBuffer from) {
      throw new AssertionError("the reader does not write");
    }

    @Override
    public void stop() {}

    @Override
    public void close() {}
  }

  /** Gives bytes at once, then the end. */
  private static final class Once implements Connection {
    private final ByteBuffer bytes;

    Once(byte[] bytes) {
      this.bytes = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
    }

    @Override
    public @Nullable ByteBuffer read() {
      return bytes.hasRemaining() ? bytes : null;
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
