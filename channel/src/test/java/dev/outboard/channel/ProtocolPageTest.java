// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.syscalls.PseudoCall;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * What {@code docs/protocol.md} says in numbers is what the code does: the bytes of its examples,
 * where things lie in a slot, and what pseudo calls are called.
 */
class ProtocolPageTest {
  private static final Path PAGE = Path.of("..", "docs", "protocol.md");

  private static final Credentials CREDENTIALS =
      new Credentials(
          1000, 1001, 1002, 1003, 100, 101, 102, 103, List.of(27, 44), 1, 1L << 12, 1L << 40);

  /** What the examples say, in their words. */
  private static final Map<String, Frame> EXAMPLES = examples();

  private static Map<String, Frame> examples() {
    Map<String, Frame> m = new LinkedHashMap<>();
    m.put("1 Hello: versions 3 to 6, 1024 slots, \"run\"", new Frame.Hello(3, 6, 1024, "run"));
    m.put(
        "2 Welcome: version 6, 64 slots, \"library\", \"6.18\", \"Linux\", \"\", paths \"/srv/é\""
            + " and \"/d\", notice \"hi\"",
        new Welcome(
            6,
            64,
            SlotLayout.BYTES,
            "library",
            "6.18",
            "Linux",
            "",
            List.of("/srv/é", "/d"),
            List.of("hi"),
            false));
    m.put(
        "2 Welcome: version 8, 64 slots, \"host\", \"6.18\", \"Linux\", \"nameserver ::1\", no"
            + " paths, no notices, its own names",
        new Welcome(
            8,
            64,
            SlotLayout.BYTES,
            "host",
            "6.18",
            "Linux",
            "nameserver ::1",
            List.of(),
            List.of(),
            true));
    m.put(
        "3 Attach: id 7, pid 16, tid 17, like slot -1, lent; ids 1000 to 1003 and 100 to 103;"
            + " capabilities 0, 12 and 40; groups 27 and 44",
        new Frame.Attach(7, 16, 17, -1, true, CREDENTIALS));
    m.put("4 Attached: id 7, slot 3", new Frame.Attached(7, 3));
    m.put("4 Attached: id 7, -EAGAIN", new Frame.Attached(7, -11));
    m.put("5 Detach: slot 3", new Frame.Detach(3));
    m.put("6 Detached: slot 3", new Frame.Detached(3));
    m.put("7 Interrupt: slot 3, sequence number 258", new Frame.Interrupt(3, 258));
    m.put(
        "8 Ready: handle 4, POLLIN and POLLOUT, 2 edges, stamp 513; handle 5, no bits, no edges"
            + " told, stamp 514",
        new Frame.Ready(
            List.of(
                new Frame.Sample(4, PseudoCall.withEdges(5, 2), 513),
                new Frame.Sample(5, 0, 514))));
    m.put("9 Notice: \"a line\"", new Frame.Notice("a line"));
    m.put("10 CountsRequest: id 8", new Frame.CountsRequest(8));
    m.put(
        "11 Counts: id 8, then 1 to 7, 258 calls, 9 interrupted",
        new Frame.Counts(8, new DeviceCounts(1, 2, 3, 4, 5, 6, 7, 258, 9)));
    m.put("12 Ping: id -1", new Frame.Ping(-1));
    m.put("13 Pong: id 9", new Frame.Pong(9));
    m.put("14 Bye: \"done\"", new Frame.Bye("done"));
    m.put(
        "19 Ahead: slot 3, first, handle 4, MSG_MORE, \"abc\"",
        new Frame.Ahead(3, true, Frame.Ahead.Kind.BYTES, 4, 0x8000, bytes("abc")));
    m.put(
        "19 Ahead: slot 3, the end, handle 4, no flags, no bytes",
        new Frame.Ahead(3, false, Frame.Ahead.Kind.END, 4, 0, bytes("")));
    m.put("20 Done: slot 3, 258 bytes, 2 frames, EPIPE", new Frame.Done(3, 258, 2, 32));
    m.put("21 Look: slot 5, handle 4, generation 1", new Frame.Look(5, 4, 1));
    m.put(
        "22 Looked: handle 4, generation 1, no flags, no error, \"abc\"",
        new Frame.Looked(4, 1, false, false, 0, bytes("abc")));
    m.put(
        "22 Looked: handle 4, generation 1, last and never again, EINVAL, no bytes",
        new Frame.Looked(4, 1, true, true, 22, bytes("")));
    m.put("23 Taken: slot 5, handle 4, generation 1, 258 bytes", new Frame.Taken(5, 4, 1, 258));
    m.put("32 Join: \"web-1\"", new ServiceFrame.Join("web-1"));
    m.put("33 Serve: number 7", new ServiceFrame.Serve(7));
    m.put(
        "34 Started: 258 µs, \"library\", \"6.18\", \"Linux\", notice \"hi\"",
        new ServiceFrame.Started("library", "6.18", "Linux", 258, List.of("hi")));
    m.put("35 SessionEnded: number 7, \"done\"", new ServiceFrame.SessionEnded(7, "done"));
    m.put("36 StatusRequest: id 8", new ServiceFrame.StatusRequest(8));
    m.put(
        "37 ServiceStatus: pid 16, 64 sessions at most, ending, 1 kernel; age 5 ms, 6 sessions, 7"
            + " refused, 8 died; \"0.1.0\", \"weights\"",
        new ServiceFrame.ServiceStatus(
            "0.1.0", 16, 5, 64, false, true, false, 1, 6, 7, 8, "weights"));
    m.put(
        "38 KernelStatus: id 8, age 2 ms, 3 bytes, 4 ns, 5 ns, pid 16, 50 %, \"web\", \"library\","
            + " \"6.18\"; session 7, age 2 ms, 3 calls, 4 ns, 5 ns, 6 bytes, 7 bytes, 10 of 11 bytes of memory, 8 threads, 9"
            + " handles, \"run\"; program 17 of user 1000, \"sh\"",
        new ServiceFrame.KernelStatus(
            8,
            "web",
            16,
            "library",
            "6.18",
            2,
            3,
            50,
            4,
            5,
            List.of(
                new ServiceFrame.SessionStatus(
                    7,
                    "run",
                    2,
                    3,
                    4,
                    5,
                    6,
                    7,
                    10,
                    11,
                    8,
                    9,
                    List.of(new ServiceFrame.Program(17, 1000, "sh"))))));
    m.put("39 Named: pid 17, \"sh\"", new ServiceFrame.Named(17, "sh"));
    m.put(
        "40 Carry: number 7, 30000 ms, the first, \"YQ==\", \"Yg==\"",
        new ServiceFrame.Carry(7, true, 30_000, "YQ==", "Yg=="));
    m.put("41 End: number 7", new ServiceFrame.End(7));
    m.put("42 Said: number 7, \"x\"", new ServiceFrame.Said(7, "x"));
    return m;
  }

  private static ByteBuffer bytes(String s) {
    return ByteBuffer.wrap(s.getBytes(StandardCharsets.US_ASCII));
  }

  private static String page() throws IOException {
    return Files.readString(PAGE);
  }

  /**
   * The bytes under {@code ## Examples} by what stands above them: of frames, which begin with a
   * kind.
   */
  private static Map<String, String> shown() throws IOException {
    Map<String, String> shown = new LinkedHashMap<>();
    String all = page().split("\n## Examples\n", 2)[1];
    Pattern example = Pattern.compile("(?m)^(\\d+ [A-Z].*)\n((?: {2}[0-9a-f ]+\n)+)");
    example
        .matcher(all)
        .results()
        .forEach(r -> shown.put(r.group(1), r.group(2).replaceAll("\\s", "")));
    return shown;
  }

  private static String hex(Frame frame) {
    ByteBuffer b = FrameCodec.newBuffer();
    FrameCodec.encode(frame, b);
    byte[] bytes = new byte[b.remaining()];
    b.get(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  @Test
  void theExamplesAreTheBytesOfTheirFrames() throws IOException {
    Map<String, String> shown = shown();
    // Those of calls over a stream are the relay's to check.
    shown.keySet().removeIf(title -> title.matches("1[678] .*"));
    Map<String, String> wanted = new LinkedHashMap<>();
    EXAMPLES.forEach((title, frame) -> wanted.put(title, hex(frame)));
    assertThat(shown).containsExactlyEntriesOf(wanted);
  }

  @Test
  void theExamplesAreUnderstood() throws IOException {
    Map<String, String> shown = shown();
    EXAMPLES.forEach((title, frame) -> {
      byte[] bytes = HexFormat.of().parseHex(String.valueOf(shown.get(title)));
      assertThat(FrameCodec.decode(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)))
          .isEqualTo(new Decoded.Received(frame));
    });
  }

  @Test
  void thereIsAnExampleOfEachKindAndItHasItsName() throws IOException {
    List<Class<?>> kinds = new ArrayList<>(List.of(Frame.class.getPermittedSubclasses()));
    kinds.addAll(List.of(ServiceFrame.class.getPermittedSubclasses()));
    kinds.removeAll(List.of(ServiceFrame.class, Frame.Unknown.class));
    assertThat(EXAMPLES.values().stream().<Class<?>>map(Frame::getClass).distinct())
        .containsExactlyInAnyOrderElementsOf(kinds);
    String page = page();
    EXAMPLES.forEach((title, frame) -> {
      String kind = title.split(" ", 2)[0];
      String name = frame.getClass().getSimpleName();
      assertThat(title).startsWith(kind + " " + name + ": ");
      assertThat(Integer.parseInt(hex(frame).substring(8, 10), 16))
          .isEqualTo(Integer.parseInt(kind));
      // Those whose kinds stand together are told apart by their place in the row.
      assertThat(page)
          .containsPattern(
              "\n\\| ("
                  + kind
                  + " \\| "
                  + name
                  + "|10, 11 \\| .*"
                  + name
                  + "|12, 13 \\| .*"
                  + name
                  + ") .*\\|\n");
    });
  }

  @Test
  void aSlotIsLaidOutAsThePageSays() throws Exception {
    Map<String, Long> shown = new LinkedHashMap<>();
    String section = section("### A slot\n");
    rows(section, "\\| (\\d+) \\| [^|]+ \\| (\\w+) \\| (?:H|D|both) \\|.*")
        .forEach(r -> shown.put(r.group(2), Long.valueOf(r.group(1))));
    Map<String, Long> wanted = new LinkedHashMap<>();
    for (var field : SlotLayout.class.getFields()) {
      if (field.getType() == long.class && !field.getName().equals("BYTES")) {
        wanted.put(camel(field.getName()), field.getLong(null));
      }
    }
    assertThat(shown).containsExactlyInAnyOrderEntriesOf(wanted);
    assertThat(section)
        .contains("Slot *n* begins at " + SlotLayout.BYTES + " × *n*")
        .contains("| " + SlotLayout.DATA_BYTES + " bytes | data |")
        .contains("| " + SlotLayout.RING_BYTES + " bytes | ring |")
        .contains(
            "| " + SlotLayout.PEEKED_ENTRIES + " × " + SlotLayout.PEEKED_BYTES + " bytes | peeked");
    assertThat(page()).contains("bytes from one slot to the next: " + SlotLayout.BYTES + " |");
  }

  @Test
  void whatWasPeekedAtLiesWhereThePageSays() throws Exception {
    String section = section("**Receives that were peeked at.**");
    List<Integer> shown =
        rows(section, "\\| (\\d+) \\| \\w* ?\\| (?:H|D|both) \\|.*").stream()
            .map(r -> Integer.valueOf(r.group(1)))
            .toList();
    assertThat(shown)
        .containsExactly(
            SlotLayout.PEEKED_STATE,
            SlotLayout.PEEKED_HANDLE,
            SlotLayout.PEEKED_BIRTH,
            SlotLayout.PEEKED_LENGTH,
            SlotLayout.PEEKED_TAKE,
            SlotLayout.PEEKED_CREDIT,
            SlotLayout.PEEKED_GENERATION,
            SlotLayout.PEEKED_SINCE,
            SlotLayout.PEEKED_DATA);
    assertThat(section).contains("bytes, 1 to " + PeekedReceives.MOST + " |");
  }

  @Test
  void pseudoCallsHaveTheNumbersThatThePageSays() throws Exception {
    Map<Integer, String> shown = new LinkedHashMap<>();
    rows(section("### Pseudo calls\n"), "\\| 0x([0-9a-f]+) \\| (\\w+) \\|.*")
        .forEach(r -> shown.put(Integer.parseInt(r.group(1), 16), r.group(2)));
    Map<Integer, String> wanted = new LinkedHashMap<>();
    for (int n = PseudoCall.FIRST; !PseudoCall.name(n).startsWith("pseudo_"); n++) {
      wanted.put(n, PseudoCall.name(n));
    }
    assertThat(shown).isEqualTo(wanted);
  }

  @Test
  void thePageHasTheBounds() throws Exception {
    assertThat(page())
        .contains("at most " + FrameCodec.MAX_BYTES + " |")
        .contains("a u16 length in bytes, at most " + FrameCodec.MAX_STRING_BYTES + ",")
        .contains("call slots: 1 to " + SlotLayout.MAX_SLOTS + ",")
        .contains("at most " + FrameCodec.MAX_SAMPLES + ", oldest first")
        .contains("number of supplementary groups, at most " + Credentials.MAX_GROUPS + " |")
        .contains("number of device paths, at most " + DevicePaths.MAX_PATHS + " |")
        .contains("sessions that follow, at most " + ServiceFrame.KernelStatus.MAX_SESSIONS + " |")
        .contains("programs that follow, at most " + ServiceFrame.SessionStatus.MAX_PROGRAMS + " |")
        .contains(
            "a side speaks " + FrameCodec.LOWEST_VERSION + " to " + FrameCodec.HIGHEST_VERSION)
        .contains("modulo " + PseudoCall.EDGES + ";")
        .contains("at `appended` modulo " + SlotLayout.RING_BYTES + ",")
        .contains(
            "takes its bytes and "
                + SlotLayout.AHEAD_COST
                + " more, the process may send without waiting, at most "
                + SlotLayout.AHEAD_BYTES
                + " bytes at a time");
  }

  /** What stands on the page from there to the next title, or the next part in bold. */
  private static String section(String from) throws IOException {
    String page = page();
    int start = page.indexOf(from);
    assertThat(start).as(from).isPositive();
    String rest = page.substring(start + from.length());
    return rest.split("\n(#|\\*\\*)", 2)[0];
  }

  private static List<MatchResult> rows(String section, String row) {
    return Pattern.compile("(?m)^" + row + "$").matcher(section).results().toList();
  }

  /** {@code DEVICE_SLEEPS} as {@code deviceSleeps}. */
  private static String camel(String constant) {
    String[] words = constant.toLowerCase(Locale.ROOT).split("_");
    StringBuilder name = new StringBuilder(words[0]);
    for (String word : List.of(words).subList(1, words.length)) {
      name.append(Character.toUpperCase(word.charAt(0))).append(word.substring(1));
    }
    return name.toString();
  }
}
