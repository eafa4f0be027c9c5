// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Which attributes of route netlink are changed, and that no others are. */
class BpfNetlinkTest {
  private static final int NEW_LINK = 16;
  private static final int SET_LINK = 19;
  private static final int NEW_QDISC = 36;
  private static final int NEW_FILTER = 44;
  private static final int NEW_ACTION = 48;
  private static final int NESTED = 0x8000;

  private static byte[] bytes(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  private static byte[] attribute(int type, byte[]... value) {
    byte[] v = bytes(value);
    ByteBuffer b = ByteBuffer.allocate(4 + ((v.length + 3) & ~3)).order(ByteOrder.LITTLE_ENDIAN);
    return b.putShort((short) (4 + v.length)).putShort((short) type).put(v).array();
  }

  private static byte[] attribute(int type, int value) {
    return attribute(
        type, ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
  }

  private static byte[] attribute(int type, String value) {
    return attribute(type, (value + "\0").getBytes(StandardCharsets.US_ASCII));
  }

  private static byte[] message(int type, int head, byte[]... attributes) {
    byte[] rest = bytes(attributes);
    ByteBuffer b = ByteBuffer.allocate(16 + head + rest.length).order(ByteOrder.LITTLE_ENDIAN);
    b.putInt(b.capacity()).putShort((short) type).position(16 + head);
    return b.put(rest).array();
  }

  /** The numbers that were asked for; each becomes 1000 more. */
  private static List<Integer> translate(byte[] message) {
    List<Integer> asked = new ArrayList<>();
    BpfNetlink.translate(
        MemorySegment.ofArray(message),
        fd -> {
          asked.add(fd);
          return fd + 1000;
        });
    return asked;
  }

  private static byte[] filter(String kind, byte[]... options) {
    return message(NEW_FILTER, 20, attribute(1, kind), attribute(2, options));
  }

  private static byte[] action(int place, String kind, int fd) {
    return attribute(
        place,
        attribute(1, kind),
        attribute(2 | NESTED, attribute(2, new byte[20]), attribute(5, fd)));
  }

  @Test
  void filtersActionsAndInterfaces() {
    byte[] xdp = attribute(43 | NESTED, attribute(1, 7), attribute(3, 2), attribute(8, 9));
    for (int type : new int[] {NEW_LINK, SET_LINK}) {
      byte[] m = message(type, 16, attribute(3, "eth0"), xdp);
      assertThat(translate(m)).containsExactly(7, 9);
      byte[] changed =
          attribute(43 | NESTED, attribute(1, 1007), attribute(3, 2), attribute(8, 1009));
      assertThat(m).isEqualTo(message(type, 16, attribute(3, "eth0"), changed));
    }
    byte[] m = filter("bpf", attribute(6, 5), attribute(8, 1), attribute(1, action(1, "bpf", 6)));
    assertThat(translate(m)).containsExactly(5, 6);
    assertThat(m)
        .isEqualTo(
            filter(
                "bpf", attribute(6, 1005), attribute(8, 1), attribute(1, action(1, "bpf", 1006))));
    assertThat(translate(filter("u32", attribute(7, action(1, "gact", 3), action(2, "bpf", 4)))))
        .containsExactly(4);
    assertThat(translate(filter("flower", attribute(3, action(1, "bpf", 4))))).containsExactly(4);
    assertThat(translate(filter("matchall", attribute(2, action(1, "bpf", 4))))).containsExactly(4);
    assertThat(translate(message(NEW_ACTION, 4, attribute(1, action(1, "bpf", 8)))))
        .containsExactly(8);
  }

  @Test
  void nothingElse() {
    List<byte[]> others =
        List.of(
            message(SET_LINK, 16, attribute(43 | NESTED, attribute(1, -1))), // XDP ends
            message(SET_LINK, 16, attribute(42, attribute(1, 7))),
            message(NEW_QDISC, 20, attribute(1, "bpf"), attribute(2, attribute(6, 5))),
            filter("u32", attribute(6, 5)),
            filter("bpfx", attribute(6, 5)),
            filter("bpf", attribute(6, new byte[] {5})),
            message(NEW_ACTION, 4, attribute(1, action(1, "gact", 8))),
            message(NEW_FILTER, 4),
            new byte[15]);
    for (byte[] other : others) {
      byte[] before = other.clone();
      assertThat(translate(other)).isEmpty();
      assertThat(other).isEqualTo(before);
    }
  }

  /** Several messages in one send, and one that says that it is longer than what is there. */
  @Test
  void manyAndCut() {
    byte[] one = message(SET_LINK, 16, attribute(43, attribute(1, 7)));
    assertThat(translate(bytes(one, one, filter("bpf", attribute(6, 5))))).containsExactly(7, 7, 5);
    byte[] cut = one.clone();
    cut[0] = (byte) (cut[0] + 4);
    assertThat(translate(cut)).isEmpty();
  }

  /** Whatever is in it, what is read and changed lies in the message. */
  @Test
  void noise() {
    Random random = Seeds.random("noise");
    byte[][] good = {
      message(SET_LINK, 16, attribute(43, attribute(1, 7))),
      filter("bpf", attribute(6, 5), attribute(1, action(1, "bpf", 6))),
      message(NEW_ACTION, 4, attribute(1, action(1, "bpf", 8)))
    };
    for (int i = 0; i < 100_000; i++) {
      byte[] m = good[i % good.length].clone();
      for (int n = random.nextInt(4); n >= 0; n--) {
        m[random.nextInt(m.length)] = (byte) random.nextInt(random.nextBoolean() ? 256 : 32);
      }
      assertThat(translate(m).size()).isLessThan(20);
    }
  }
}
