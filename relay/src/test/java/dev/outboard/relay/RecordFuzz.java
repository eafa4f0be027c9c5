// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.posix.Uninterrupted;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * The records of a hostile other end of a stream that is taken up again, over connections that it
 * breaks. {@code -Pfuzz} looks for some that do harm ({@code SECURITY.md}); {@link RecordFuzzTest}
 * replays what is kept.
 *
 * <p>An input is a byte for the seed of the pieces in which bytes come, one for how much this end
 * has written, and connections: for each how many bytes come over it (two bytes), what the other
 * end says that it has received when it begins (eight; nobody asks the first one), and the bytes.
 */
class RecordFuzz {
  private static final int RING_BYTES = 4096;
  private static final int HEADER_BYTES = 12;
  private static final int END = -1;
  private static final int PEER_BYTES = 10;

  /** How the reader comes to its end. */
  private static final String ENDED = "the other end has ended the stream";

  private static final String FAILED = "the stream has failed";

  /**
   * The reader gets the bytes of the records and no others, in order, and what this end has written
   * goes over each connection from where the other end says.
   */
  @FuzzTest(maxDuration = "90s")
  void anyRecords(byte[] bytes) {
    if (bytes.length < 2 + PEER_BYTES) {
      return;
    }
    int written = Byte.toUnsignedInt(bytes[1]);
    List<Far> connections = connections(bytes, written);
    Expected expected = new Expected(connections, written);
    Queue<Far> next = new ArrayDeque<>(connections);
    Far first = next.remove();
    first.begin(0);
    Renewal renewal =
        new Renewal() {
          @Override
          public Renewed renew(long received, long deadline) throws IOException {
            check(received <= expected.bytes.position(), "more was received than there was");
            Far far = next.poll();
            if (far == null) {
              throw new IOException("there are no more connections");
            }
            far.begin(far.peerReceived);
            return new Renewed(far, far.peerReceived);
          }

          @Override
          public void abandon() {}
        };
    ByteBuffer into = ByteBuffer.allocateDirect(1 << 16);
    String end;
    try (ResumableWire wire =
        new ResumableWire(first, renewal, Duration.ofSeconds(30), LinkEvents.NONE, RING_BYTES)) {
      ByteBuffer ours = ByteBuffer.allocateDirect(written);
      for (int i = 0; i < written; i++) {
        ours.put(pattern(i));
      }
      wire.write(ours.flip());
      end = read(wire, into);
    } catch (IOException e) {
      throw new AssertionError("nothing was in the way of what was written", e);
    }
    for (Far far : connections) {
      far.judge();
    }
    ByteBuffer got = into.flip();
    check(end.equals(expected.end), end + ", and not: " + expected.end);
    check(got.equals(expected.bytes.flip()), "it received what was not sent");
  }

  private static String read(ResumableWire wire, ByteBuffer into) {
    try {
      int before = into.position();
      while (true) {
        int n = wire.read(into);
        if (n < 0) {
          return ENDED;
        }
        check(n > 0 && into.position() == before + n, n + " bytes are said to have come");
        before = into.position();
      }
    } catch (IOException e) {
      check(e.getMessage() != null, "no reason");
      return FAILED;
    }
  }

  private static List<Far> connections(byte[] bytes, int written) {
    Random random = new Random(bytes[0]);
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).position(2);
    List<Far> connections = new ArrayList<>();
    while (in.remaining() >= PEER_BYTES) {
      int length = Short.toUnsignedInt(in.getShort());
      long peerReceived = in.getLong();
      byte[] part = new byte[Math.min(length, in.remaining())];
      in.get(part);
      connections.add(new Far(part, peerReceived, written, random));
    }
    return connections;
  }

  private static byte pattern(long at) {
    return (byte) (at * 31 + 7);
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  /** What a reader has to make of it, by the page on the protocol and not by the code. */
  private static final class Expected {
    final ByteBuffer bytes = ByteBuffer.allocate(1 << 16);
    String end = FAILED;

    Expected(List<Far> connections, long written) {
      long acknowledged = 0;
      for (int i = 0; i < connections.size(); i++) {
        Far far = connections.get(i);
        if (i > 0) {
          if (far.peerReceived < acknowledged || far.peerReceived > written) {
            return;
          }
          acknowledged = far.peerReceived;
        }
        ByteBuffer in = ByteBuffer.wrap(far.bytes).order(ByteOrder.LITTLE_ENDIAN);
        while (in.remaining() >= HEADER_BYTES) {
          int length = in.getInt();
          long received = in.getLong();
          if (length < END
              || length > ResumableWire.MAX_RECORD_BYTES
              || received < acknowledged
              || received > written) {
            return;
          }
          acknowledged = received;
          if (length == END) {
            end = ENDED;
            return;
          }
          int here = Math.min(length, in.remaining());
          bytes.put(in.slice(in.position(), here));
          in.position(in.position() + here);
        }
      }
    }
  }

  /** A connection of the other end's: bytes that come, and a look at what goes. */
  private static final class Far implements Connection {
    final byte[] bytes;
    final long peerReceived;
    private final int written;
    private final Random random;
    private final ByteBuffer coming;
    private final ByteBuffer piece;
    private int at;

    // Guarded by this.
    private long position;
    private @Nullable String wrong;
    private boolean closed;

    Far(byte[] bytes, long peerReceived, int written, Random random) {
      this.bytes = bytes;
      this.peerReceived = peerReceived;
      this.written = written;
      this.random = random;
      this.coming = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
      this.piece = coming.duplicate().limit(0);
    }

    /** From so many of this end's bytes on. */
    synchronized void begin(long from) {
      position = from;
    }

    @Override
    public @Nullable ByteBuffer read() {
      // What the other end may say to have got depends on what was sent: all of it was.
      synchronized (this) {
        Uninterrupted.waitUntil(this, () -> position >= written || closed);
      }
      if (!piece.hasRemaining() && at < bytes.length) {
        int n = random.nextBoolean() ? bytes.length - at : Math.min(bytes.length - at, 9);
        int end = at + 1 + random.nextInt(n);
        piece.limit(end).position(at);
        at = end;
      }
      return piece.hasRemaining() ? piece : null;
    }

    @Override
    public synchronized void write(ByteBuffer header, ByteBuffer data) {
      int length = header.getInt(header.position());
      boolean ends = length == END && !data.hasRemaining();
      if (header.remaining() != HEADER_BYTES || (!ends && length != data.remaining())) {
        wrong = "a record of " + length + " bytes with " + data.remaining();
      }
      while (data.hasRemaining()) {
        if (data.get() != pattern(position)) {
          wrong = "another byte at " + position;
        }
        position++;
      }
      if (position > written) {
        wrong = "more than was written";
      }
      notifyAll();
    }

    synchronized void judge() {
      String why = wrong;
      check(why == null, String.valueOf(why));
    }

    @Override
    public synchronized void stopReading() {
      closed = true;
      notifyAll();
    }

    @Override
    public synchronized void close() {
      closed = true;
      notifyAll();
    }
  }
}
