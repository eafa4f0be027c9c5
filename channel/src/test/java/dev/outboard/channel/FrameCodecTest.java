// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FrameCodecTest {
  /** Of all sessions that a kernel tells of, with all their programs: one frame holds it. */
  @Test
  void theLongestStatusIsAFrame() {
    ServiceFrame.Program program =
        new ServiceFrame.Program(1, 2, "\u20ac".repeat(ServiceFrame.Program.MAX_NAME));
    ServiceFrame.SessionStatus session =
        new ServiceFrame.SessionStatus(
            1,
            "\u20ac".repeat(ServiceFrame.SessionStatus.MAX_CLIENT),
            2,
            3,
            4,
            5,
            10,
            11,
            6,
            7,
            8,
            9,
            Collections.nCopies(ServiceFrame.SessionStatus.MAX_PROGRAMS, program));
    ServiceFrame.KernelStatus fullest =
        new ServiceFrame.KernelStatus(
            1,
            "n".repeat(64),
            2,
            "library",
            "r".repeat(65),
            3,
            4,
            5,
            6,
            7,
            Collections.nCopies(ServiceFrame.KernelStatus.MAX_SESSIONS, session));
    ByteBuffer buffer = FrameCodec.newBuffer();
    FrameCodec.encode(fullest, buffer);
    assertThat(FrameCodec.decode(buffer)).isEqualTo(new Decoded.Received(fullest));
  }

  @Test
  void aServiceHasNoMoreKernelsThanThat() {
    for (int kernels : new int[] {-1, ServiceFrame.ServiceStatus.MAX_KERNELS + 1}) {
      ByteBuffer buffer = FrameCodec.newBuffer();
      FrameCodec.encode(
          new ServiceFrame.ServiceStatus("v", 1, 2, 3, false, false, true, kernels, 5, 6, 7, "cpu"),
          buffer);
      assertThat(FrameCodec.decode(buffer)).isInstanceOf(Decoded.Malformed.class);
    }
  }

  /** One of each kind; a kind that is missing here fails {@link #everyKindIsCovered}. */
  private static final List<Frame> FRAMES =
      List.of(
          new Frame.Hello(1, 3, 1024, "a host"),
          new Welcome(
              1,
              64,
              SlotLayout.BYTES,
              "library",
              "6.12.1",
              "Linux 6.12.1 x",
              "nameserver é\n",
              List.of("/srv/a", "/data é"),
              List.of("one", "two"),
              false),
          new Frame.Attach(
              7,
              10,
              11,
              -1,
              true,
              new Credentials(1, 2, 3, 4, 5, 6, 7, 8, List.of(9, 10, 11), 1L << 40, -1, 12)),
          new Frame.Attached(7, -11),
          new Frame.Detach(3),
          new Frame.Detached(3),
          new Frame.Interrupt(3, Integer.MAX_VALUE),
          new Frame.Ready(List.of(new Frame.Sample(4, 5, 6), new Frame.Sample(7, -1, -2))),
          new Frame.Notice("a line"),
          new Frame.CountsRequest(1L << 60),
          new Frame.Counts(2, new DeviceCounts(1, 2, 3, 4, 5, 6, 7, 8, 9)),
          new Frame.Ping(-1),
          new Frame.Pong(-1),
          new Frame.Ahead(
              3, true, Frame.Ahead.Kind.BYTES, 4, -1, ByteBuffer.wrap(new byte[] {1, 2, 3})),
          new Frame.Ahead(3, false, Frame.Ahead.Kind.END, 4, 0, ByteBuffer.wrap(new byte[] {1})),
          new Frame.Ahead(3, false, Frame.Ahead.Kind.OPTION, 4, 3, ByteBuffer.wrap(new byte[4])),
          new Frame.Ahead(3, true, Frame.Ahead.Kind.CLOSE, 4, 0, ByteBuffer.wrap(new byte[0])),
          new Frame.Done(3, 60_000, 2, 104),
          new Frame.Look(3, 4, 5),
          new Frame.Looked(4, 5, true, true, 0, ByteBuffer.allocate(0)),
          new Frame.Looked(4, 5, false, false, 5, ByteBuffer.wrap(new byte[] {1, 2, 3})),
          new Frame.Taken(3, 4, 5, 6),
          new ServiceFrame.Join("web-1"),
          new ServiceFrame.Named(7, "perl"),
          new ServiceFrame.Serve(7),
          new ServiceFrame.Carry(7, true, 30_000, "own", "host"),
          new ServiceFrame.Carry(7, false, 0, "own", "host"),
          new ServiceFrame.End(7),
          new ServiceFrame.Said(7, "it goes on"),
          new ServiceFrame.Started("library", "6.12", "Linux", 12, List.of("é", "")),
          new ServiceFrame.SessionEnded(7, "why"),
          new ServiceFrame.StatusRequest(9),
          new ServiceFrame.ServiceStatus("0.1.0", 1, 2, 3, true, false, true, 4, 5, 6, 7, "apart"),
          new ServiceFrame.KernelStatus(
              1,
              "",
              2,
              "host",
              "6.12",
              3,
              4,
              50,
              5,
              6,
              List.of(
                  new ServiceFrame.SessionStatus(
                      1,
                      "run",
                      2,
                      3,
                      4,
                      5,
                      6,
                      7,
                      8,
                      9,
                      10,
                      11,
                      List.of(
                          new ServiceFrame.Program(1, 2, "a"),
                          new ServiceFrame.Program(3, 4, "b"))))),
          new Frame.Bye(""),
          new Welcome(
              FrameCodec.NAMES_VERSION,
              64,
              SlotLayout.BYTES,
              "library",
              "6.12.1",
              "Linux 6.12.1 x",
              "",
              List.of(),
              List.of("one"),
              true));

  private static byte[] bytes(Frame frame) {
    ByteBuffer b = FrameCodec.newBuffer();
    FrameCodec.encode(frame, b);
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    return bytes;
  }

  private static Decoded decode(byte[] bytes) {
    return FrameCodec.decode(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
  }

  private static ByteBuffer view(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Test
  void everyFrameComesBack() {
    for (Frame frame : FRAMES) {
      assertThat(decode(bytes(frame))).isEqualTo(new Decoded.Received(frame));
    }
  }

  /** What goes ahead must be what cannot fail, in the form that it has. */
  @Test
  void whatIsNotCertainDoesNotGoAhead() {
    Frame.Ahead.Kind option = Frame.Ahead.Kind.OPTION;
    Frame.Ahead.Kind close = Frame.Ahead.Kind.CLOSE;
    for (Frame wrong :
        List.of(
            new Frame.Ahead(3, false, option, 4, 2, ByteBuffer.allocate(4)),
            new Frame.Ahead(3, false, option, 4, -1, ByteBuffer.allocate(4)),
            new Frame.Ahead(3, false, option, 4, 3, ByteBuffer.allocate(3)),
            new Frame.Ahead(3, false, option, 4, 3, ByteBuffer.allocate(5)),
            new Frame.Ahead(3, false, option, 4, 3, ByteBuffer.allocate(0)),
            new Frame.Ahead(3, false, close, 4, 0, ByteBuffer.allocate(1)),
            new Frame.Ahead(3, false, close, 4, 1, ByteBuffer.allocate(0)))) {
      assertThat(decode(bytes(wrong))).as("%s", wrong).isInstanceOf(Decoded.Malformed.class);
    }
    byte[] two = bytes(new Frame.Ahead(3, false, close, 4, 0, ByteBuffer.allocate(0)));
    view(two).putInt(FrameCodec.HEADER_BYTES + 4, 2 | 8);
    assertThat(decode(two)).isInstanceOf(Decoded.Malformed.class);
  }

  @Test
  void everyKindIsCovered() {
    List<Class<?>> covered = FRAMES.stream().<Class<?>>map(Frame::getClass).toList();
    List<Class<?>> kinds = new ArrayList<>(List.of(Frame.class.getPermittedSubclasses()));
    kinds.remove(ServiceFrame.class);
    kinds.addAll(List.of(ServiceFrame.class.getPermittedSubclasses()));
    for (Class<?> kind : kinds) {
      if (kind != Frame.Unknown.class) {
        assertThat(covered).contains(kind);
      }
    }
  }

  @Test
  void aFrameThatIsCutShortIsMalformed() {
    for (Frame frame : FRAMES) {
      byte[] whole = bytes(frame);
      for (int length = 0; length < whole.length; length++) {
        byte[] cut = Arrays.copyOf(whole, length);
        // As received: the length field says more than there is.
        assertThat(decode(cut)).as("%s at %d", frame, length).isInstanceOf(Decoded.Malformed.class);
        // As sent by a liar: the length field agrees. A list of samples or text may end early by
        // its own count only, so a cut must be noticed, except on the boundary of a sample.
        if (length >= FrameCodec.HEADER_BYTES) {
          view(cut).putInt(0, length);
          boolean boundary =
              frame instanceof Frame.Ready && (length - FrameCodec.HEADER_BYTES) % 16 == 0;
          if (boundary) {
            assertThat(decode(cut)).isInstanceOf(Decoded.Received.class);
          } else {
            assertThat(decode(cut)).isInstanceOf(Decoded.Malformed.class);
          }
        }
      }
    }
  }

  @Test
  void aFrameWithBytesTooManyIsMalformed() {
    for (Frame frame : FRAMES) {
      byte[] whole = bytes(frame);
      byte[] more = Arrays.copyOf(whole, whole.length + 1);
      assertThat(decode(more)).isInstanceOf(Decoded.Malformed.class);
      view(more).putInt(0, more.length);
      assertThat(decode(more)).as("%s", frame).isInstanceOf(Decoded.Malformed.class);
    }
  }

  @Test
  void aPathThatIsNotInItsPlainFormIsMalformed() {
    for (String path :
        List.of("", "/", "srv", "/srv/", "//srv", "/srv//a", "/srv/.", "/a/../b", "/a\nb")) {
      assertThat(DevicePaths.valid(path)).as(path).isFalse();
    }
    assertThat(DevicePaths.valid("/" + "é".repeat(DevicePaths.MAX_BYTES / 2))).isFalse();
    for (String path : List.of("/srv", "/a/b", "/...", "/a b/é")) {
      assertThat(DevicePaths.valid(path)).as(path).isTrue();
    }
    byte[] bytes = bytes(FRAMES.get(1));
    String text = new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1);
    bytes[text.indexOf("/srv/a") + 5] = '/';
    assertThat(decode(bytes)).isInstanceOf(Decoded.Malformed.class);
  }

  @Test
  void reservedBitsMustBeZero() {
    byte[] bytes = bytes(new Frame.Ping(1));
    bytes[6] = 1;
    assertThat(decode(bytes)).isInstanceOf(Decoded.Malformed.class);
  }

  @Test
  void anUnknownKindIsAValue() {
    byte[] bytes = bytes(new Frame.Ping(1));
    view(bytes).putShort(4, (short) 0xfff0);
    assertThat(decode(bytes)).isEqualTo(new Decoded.Received(new Frame.Unknown(0xfff0, 16)));
    assertThatThrownBy(() -> bytes(new Frame.Unknown(1, 8)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void lengthsThatNoFrameHasAreNotLengths() {
    for (int length : new int[] {0, 7, -1, Integer.MIN_VALUE, FrameCodec.MAX_BYTES + 1}) {
      byte[] header = new byte[8];
      view(header).putInt(0, length);
      assertThat(FrameCodec.length(view(header))).as("%d", length).isEqualTo(-1);
    }
    byte[] header = new byte[8];
    view(header).putInt(0, FrameCodec.MAX_BYTES);
    assertThat(FrameCodec.length(view(header))).isEqualTo(FrameCodec.MAX_BYTES);
  }

  @Test
  void countsInsideAreChecked() {
    byte[] attach = bytes(FRAMES.get(2));
    int groupCount = FrameCodec.HEADER_BYTES + 24 + 32 + 24;
    assertThat(view(attach).getInt(groupCount)).isEqualTo(3);
    for (int count : new int[] {-1, 4, Integer.MAX_VALUE, Integer.MIN_VALUE, 4097}) {
      view(attach).putInt(groupCount, count);
      assertThat(decode(attach)).as("%d groups", count).isInstanceOf(Decoded.Malformed.class);
    }
    byte[] welcome = bytes(FRAMES.getLast());
    view(welcome).putInt(welcome.length - 4, 3);
    assertThat(decode(welcome)).isInstanceOf(Decoded.Malformed.class);
    byte[] flags = bytes(FRAMES.get(2));
    view(flags).putInt(FrameCodec.HEADER_BYTES + 20, 3);
    assertThat(decode(flags)).as("an unknown flag").isInstanceOf(Decoded.Malformed.class);
    byte[] notice = bytes(new Frame.Notice("abc"));
    view(notice).putShort(FrameCodec.HEADER_BYTES, (short) 0xffff);
    assertThat(decode(notice)).isInstanceOf(Decoded.Malformed.class);
    byte[] invalid = bytes(new Frame.Notice("abc"));
    invalid[FrameCodec.HEADER_BYTES + 2] = (byte) 0xff;
    assertThat(decode(invalid)).as("not UTF-8").isInstanceOf(Decoded.Malformed.class);
  }

  @Test
  void longTextIsCutBetweenCharacters() {
    String text = "é".repeat(FrameCodec.MAX_STRING_BYTES);
    Decoded decoded = decode(bytes(new Frame.Notice("x" + text)));
    assertThat(decoded).isInstanceOf(Decoded.Received.class);
    Frame.Notice notice = (Frame.Notice) ((Decoded.Received) decoded).frame();
    assertThat(notice.line()).startsWith("xéé").doesNotContain("\ufffd");
    assertThat(notice.line().length()).isEqualTo(FrameCodec.MAX_STRING_BYTES / 2);
  }

  @Test
  void noiseIsAValueToo() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    Random random = new Random(seed);
    for (int i = 0; i < 50_000; i++) {
      byte[] bytes;
      if (random.nextBoolean()) {
        bytes = new byte[random.nextInt(300)];
        random.nextBytes(bytes);
      } else {
        bytes = bytes(FRAMES.get(random.nextInt(FRAMES.size())));
        for (int n = random.nextInt(4); n >= 0; n--) {
          bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
        }
      }
      if (bytes.length >= 8 && random.nextInt(8) != 0) {
        view(bytes).putInt(0, bytes.length);
      }
      // Throws nothing, whatever comes; what it makes of it, it can say again.
      if (decode(bytes) instanceof Decoded.Received(Frame frame)
          && !(frame instanceof Frame.Unknown)) {
        assertThat(decode(bytes(frame))).as("seed %d", seed).isEqualTo(new Decoded.Received(frame));
      }
    }
  }
}
