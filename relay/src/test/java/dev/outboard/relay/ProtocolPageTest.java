// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.CallMaker;
import dev.outboard.channel.Frame;
import dev.outboard.syscalls.Call;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * The examples in {@code docs/protocol.md} of what crosses only a stream are the bytes that the
 * code writes, and it understands them. Those of all other frames are checked in module channel.
 */
class ProtocolPageTest {
  private static final String DATA = "16 Data: slot 3, offset 4, \"abc\" and 9 zeros";
  private static final String CALL =
      "17 Call: slot 3, sequence number 258, number 64, flag 1, extent 16, arguments 4, 4, 3, 0, 0,"
          + " -1";
  private static final String REPLY =
      "18 Reply: slot 3, sequence number 258, result -11, mask 5, birth 0x1020304, stamp 513";
  private static final String BEGIN =
      "Host's first bytes: versions 3 to 3, begin, 30000 ms, key with point 00 to 3f, to share"
          + " \"web\"";
  private static final String GO_ON =
      "Host's first bytes: versions 3 to 3, go on, 30000 ms, stream 00 to 0f, key with point 00 to"
          + " 3f";
  private static final String STATUS = "Host's first bytes: versions 3 to 3, status";
  private static final String YES =
      "Device's first bytes: version 3, yes, 30000 ms, stream 00 to 0f, key with point 00 to 3f";
  private static final String NO = "Device's first bytes: version 3, not now, \"full\"";
  private static final String RECEIVED = "Either end's first bytes of the other TLS: received 258";
  private static final String RECORD = "Record: received 0, \"abc\"";
  private static final String ANSWER = "Record: received 3, \"xyz\"";
  private static final String END = "Record: received 3, the end";

  private static final String STREAM = "000102030405060708090a0b0c0d0e0f";
  private static final String POINT =
      IntStream.range(0, 64).mapToObj("%02x"::formatted).collect(Collectors.joining());
  private static final Duration KEPT = Duration.ofSeconds(30);
  private static final int SLOT = 3;
  private static final int SEQUENCE = 258;
  private static final long EXTENT = 16;
  private static final int AREA_BYTES = 4096;

  private final Arena arena = Arena.ofAuto();
  private final Map<String, String> shown = shown();

  private static Map<String, String> shown() {
    String all;
    try {
      all = Files.readString(Path.of("..", "docs", "protocol.md")).split("\n## Examples\n", 2)[1];
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Map<String, String> shown = new LinkedHashMap<>();
    Pattern.compile("(?m)^([0-9A-Z].*)\n((?: {2}[0-9a-f ]+\n)+)")
        .matcher(all)
        .results()
        .forEach(r -> shown.put(r.group(1), r.group(2).replaceAll("\\s", "")));
    shown.keySet().removeIf(title -> title.matches("\\d+ .*") && !title.matches("1[678] .*"));
    return shown;
  }

  private byte[] example(String title) {
    return HexFormat.of().parseHex(Objects.requireNonNull(shown.get(title), title));
  }

  @Test
  void thereAreNoOtherExamples() {
    assertThat(shown.keySet())
        .containsExactly(
            DATA, CALL, REPLY, BEGIN, GO_ON, STATUS, YES, NO, RECEIVED, RECORD, ANSWER, END);
  }

  private SlotMirror mirror() {
    MemorySegment area = arena.allocate(AREA_BYTES, 64);
    SlotMirror mirror = new SlotMirror(area, arena);
    MemorySegment.copy(new byte[] {'a', 'b', 'c'}, 0, area, ValueLayout.JAVA_BYTE, 4, 3);
    return mirror;
  }

  @Test
  void callsAndReplies() {
    Written calls = new Written();
    Call call = new Call(arena.allocate(AREA_BYTES, 64));
    call.start(64);
    System.arraycopy(new long[] {4, 4, 3, 0, 0, -1}, 0, call.args, 0, 6);
    new WireFrames(calls)
        .sendCall(SLOT, SEQUENCE, call, Call.AFTER | Extent.flags(3), mirror(), EXTENT);
    assertThat(calls.hex()).isEqualTo(shown.get(DATA) + shown.get(CALL));
    Written replies = new Written();
    new WireFrames(replies).sendReply(SLOT, SEQUENCE, -11, new Made(), mirror(), EXTENT);
    assertThat(replies.hex()).isEqualTo(shown.get(DATA) + shown.get(REPLY));
  }

  /** What is told with a call's end. */
  private static final class Made implements CallMaker {
    @Override
    public long make(int sequence) {
      throw new IllegalStateException("nothing is to be made");
    }

    @Override
    public int readyMask() {
      return 5;
    }

    @Override
    public long readyStamp() {
      return 513;
    }

    @Override
    public int newBirth() {
      return 0x1020304;
    }
  }

  /** The same frames as one by one, and one write. */
  @Test
  void bytesSentAheadAreFramesAsAnyOther() {
    byte[] bytes = new byte[2 * Frame.Ahead.MAX_BYTES + 5];
    new Random(1).nextBytes(bytes);
    Written single = new Written();
    WireFrames frames = new WireFrames(single);
    for (int at = 0; at < bytes.length; at += Frame.Ahead.MAX_BYTES) {
      int count = Math.min(bytes.length - at, Frame.Ahead.MAX_BYTES);
      ByteBuffer part = ByteBuffer.wrap(bytes, at, count);
      frames.send(new Frame.Ahead(SLOT, at == 0, Frame.Ahead.Kind.BYTES, 9, 0x8000, part));
    }
    Written together = new Written();
    new WireFrames(together).sendAhead(SLOT, true, 9, 0x8000, MemorySegment.ofArray(bytes), true);
    assertThat(together.hex()).isEqualTo(single.hex());
    assertThat(single.writes).isEqualTo(3);
    assertThat(together.writes).isEqualTo(1);
  }

  @Test
  void callsAndRepliesAreUnderstood() {
    Written wire = new Written();
    for (String title : List.of(DATA, CALL, REPLY)) {
      wire.coming.put(example(title));
    }
    wire.coming.flip();
    List<String> heard = new ArrayList<>();
    new WireFrames(wire)
        .serve(
            new WireFrames.Receiver() {
              @Override
              public @Nullable String frame(Frame frame) {
                return "not one of those";
              }

              @Override
              public @Nullable String data(int slot, int offset, ByteBuffer bytes) {
                heard.add(slot + " " + offset + " " + HexFormat.of().formatHex(rest(bytes)));
                return null;
              }

              @Override
              public @Nullable String call(
                  int slot, int sequence, int number, int flags, long[] args) {
                long extent = Extent.of(flags, AREA_BYTES);
                heard.add(
                    slot
                        + " "
                        + sequence
                        + " "
                        + number
                        + " "
                        + (flags & Call.ORDER)
                        + " "
                        + extent
                        + " "
                        + Arrays.toString(args));
                return null;
              }

              @Override
              public @Nullable String reply(
                  int slot, int sequence, long result, int mask, int birth, long stamp) {
                heard.add(
                    slot + " " + sequence + " " + result + " " + mask + " " + birth + " " + stamp);
                return null;
              }
            });
    assertThat(heard)
        .containsExactly(
            "3 4 616263" + "00".repeat(9),
            "3 258 64 1 16 [4, 4, 3, 0, 0, -1]",
            "3 258 -11 5 " + 0x1020304 + " 513");
  }

  @Test
  void theFirstBytesOfAConnection() throws Exception {
    byte[] encoded =
        HexFormat.of().parseHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004" + POINT);
    PeerKey key = PeerKey.of(encoded, "");
    Opening.Request begin = new Opening.Request(Opening.Kind.BEGIN, KEPT, Opening.NONE, key, "web");
    Opening.Request goOn = new Opening.Request(Opening.Kind.GO_ON, KEPT, STREAM, key, "");
    Opening.Request status =
        new Opening.Request(Opening.Kind.STATUS, Duration.ZERO, Opening.NONE, null, "");
    Opening.Answer yes = new Opening.Answer(3, Opening.OK, KEPT, STREAM, "", key);
    Opening.Answer no =
        new Opening.Answer(3, Opening.NOT_NOW, Duration.ZERO, Opening.NONE, "full", null);
    Talk talk = new Talk();
    Opening.send(talk, begin);
    assertThat(talk.next()).isEqualTo(shown.get(BEGIN));
    Opening.send(talk, goOn);
    assertThat(talk.next()).isEqualTo(shown.get(GO_ON));
    Opening.send(talk, status);
    assertThat(talk.next()).isEqualTo(shown.get(STATUS));
    Opening.send(talk, yes);
    assertThat(talk.next()).isEqualTo(shown.get(YES));
    Opening.send(talk, no);
    assertThat(talk.next()).isEqualTo(shown.get(NO));
    talk.comes(example(BEGIN));
    assertThat(Opening.receiveRequest(talk)).isEqualTo(begin);
    talk.comes(example(GO_ON));
    assertThat(Opening.receiveRequest(talk)).isEqualTo(goOn);
    talk.comes(example(STATUS));
    assertThat(Opening.receiveRequest(talk)).isEqualTo(status);
    talk.comes(example(YES));
    assertThat(Opening.receiveAnswer(talk, Opening.Kind.GO_ON)).isEqualTo(yes);
    talk.comes(example(NO));
    assertThat(Opening.receiveAnswer(talk, Opening.Kind.BEGIN)).isEqualTo(no);
    Opening.sendReceived(talk, 258);
    assertThat(talk.next()).isEqualTo(shown.get(RECEIVED));
    talk.comes(example(RECEIVED));
    assertThat(Opening.receiveReceived(talk)).isEqualTo(258);
  }

  @Test
  void recordsOfAStream() throws Exception {
    Talk talk = new Talk();
    try (ResumableWire wire = new ResumableWire(talk, NO_MORE, Duration.ZERO, LinkEvents.NONE)) {
      ByteBuffer into = ByteBuffer.allocateDirect(64);
      talk.comes(example(RECORD));
      assertThat(wire.read(into)).isEqualTo(3);
      assertThat(new String(rest(into.flip()), StandardCharsets.US_ASCII)).isEqualTo("abc");
      wire.write(ByteBuffer.allocateDirect(3).put(new byte[] {'x', 'y', 'z'}).flip());
      assertThat(talk.next()).isEqualTo(shown.get(ANSWER));
      wire.finish();
      assertThat(talk.next()).isEqualTo(shown.get(END));
      // The other end has had three bytes, too, when it ends.
      talk.comes(example(END));
      assertThat(wire.read(into.clear())).isEqualTo(-1);
    }
  }

  private static final Renewal NO_MORE =
      new Renewal() {
        @Override
        public Renewed renew(long received, long deadline) throws IOException {
          throw new IOException("there is only one connection");
        }

        @Override
        public void abandon() {}
      };

  private static byte[] rest(ByteBuffer b) {
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    return bytes;
  }

  /** Keeps what is written, and gives what was put into it. */
  private static final class Written implements Wire {
    final ByteBuffer coming = ByteBuffer.allocate(1024);
    private final StringBuilder hex = new StringBuilder();
    private int writes;

    String hex() {
      return hex.toString();
    }

    @Override
    public int read(ByteBuffer into) {
      if (!coming.hasRemaining()) {
        return -1;
      }
      int n = coming.remaining();
      into.put(coming);
      return n;
    }

    @Override
    public void write(ByteBuffer from) {
      writes++;
      hex.append(HexFormat.of().formatHex(rest(from)));
    }

    @Override
    public void stop() {}

    @Override
    public void close() {}
  }

  /** The same as a connection, write by write. */
  private static final class Talk implements Connection {
    private final BlockingQueue<String> written = new LinkedBlockingQueue<>();
    private final BlockingQueue<ByteBuffer> coming = new LinkedBlockingQueue<>();
    private ByteBuffer now = ByteBuffer.allocateDirect(0);

    void comes(byte[] bytes) {
      coming.add(ByteBuffer.allocateDirect(bytes.length).put(bytes).flip());
    }

    String next() throws InterruptedException {
      return Objects.requireNonNull(written.poll(5, TimeUnit.SECONDS), "nothing was written");
    }

    @Override
    public @Nullable ByteBuffer read() throws IOException {
      if (!now.hasRemaining()) {
        now = Objects.requireNonNull(coming.poll(), "nothing more comes");
      }
      return now;
    }

    @Override
    public void write(ByteBuffer first, ByteBuffer second) {
      written.add(HexFormat.of().formatHex(rest(first)) + HexFormat.of().formatHex(rest(second)));
    }

    @Override
    public void stopReading() {}

    @Override
    public void close() {}
  }
}
