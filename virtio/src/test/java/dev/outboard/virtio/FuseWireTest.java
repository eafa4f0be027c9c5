// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fuse;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Requests as a guest may write them: short, long, without an end, and with room for nothing. */
class FuseWireTest {
  private static final int MEMORY_BYTES = 1 << 20;
  private static final int REPLY = 512 << 10;
  private static final byte UNTOUCHED = 0x5a;

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment memory = arena.allocate(MEMORY_BYTES, 4096);
  private final GuestMemory guest = new GuestMemory(memory, 1 << 30);
  private final RequestDevice.Request request =
      new RequestDevice.Request(arena, FuseWire.SCRATCH_BYTES);
  private final MemorySegment scratch = request.scratch;
  private final long seed = Long.getLong("tests.seed", System.nanoTime());
  private final Random random = new Random(seed);

  @AfterEach
  void free() {
    arena.close();
  }

  private static byte[] header(int opcode, int bytes) {
    byte[] message = new byte[Math.max(bytes, Fuse.IN_HEADER_BYTES)];
    MemorySegment m = MemorySegment.ofArray(message);
    m.set(JAVA_INT.withByteAlignment(1), Fuse.IN_OPCODE, opcode);
    m.set(JAVA_LONG.withByteAlignment(1), Fuse.IN_UNIQUE, 0x0123456789abcdefL);
    return Arrays.copyOf(message, bytes);
  }

  /** Has the queue name a message, in parts of odd lengths. */
  private void offer(byte[] message) {
    MemorySegment.copy(message, 0, memory, JAVA_BYTE, 0, message.length);
    request.readable.clear();
    for (int at = 0; at < message.length; ) {
      int part = Math.min(message.length - at, 1 + random.nextInt(20_000) * 2);
      request.readable.add(memory.address() + at, part);
      at += part;
    }
  }

  private void offerRoom(int bytes) {
    memory.asSlice(REPLY, bytes + 16L).fill(UNTOUCHED);
    request.writable.clear();
    int half = bytes / 2 | 1;
    if (half < bytes) {
      request.writable.add(memory.address() + REPLY, half);
      request.writable.add(memory.address() + REPLY + half, bytes - half);
    } else if (bytes > 0) {
      request.writable.add(memory.address() + REPLY, bytes);
    }
  }

  private long take(byte[] message) throws RingViolation {
    offer(message);
    return FuseWire.take(guest, request);
  }

  /** Puts a body into the scratch memory, with something other than 0 behind it. */
  private int body(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
    scratch.fill((byte) 'x');
    MemorySegment.copy(bytes, 0, scratch, JAVA_BYTE, FuseWire.BODY, bytes.length);
    return bytes.length;
  }

  @Test
  void aRequestWithoutAHeaderBreaksTheRules() throws RingViolation {
    for (int bytes = 0; bytes < Fuse.IN_HEADER_BYTES; bytes++) {
      byte[] message = header(Fuse.LOOKUP, bytes);
      assertThatThrownBy(() -> take(message))
          .isInstanceOf(RingViolation.class)
          .hasMessageContaining("a request of " + bytes + " bytes");
    }
    assertThat(take(header(Fuse.LOOKUP, Fuse.IN_HEADER_BYTES))).isEqualTo(Fuse.IN_HEADER_BYTES);
    assertThat(FuseWire.bodyBytes(scratch, Fuse.IN_HEADER_BYTES)).isZero();
  }

  /** What was left by the request before does not count as this one's. */
  @ParameterizedTest
  @ValueSource(
      ints = {
        Fuse.GETATTR,
        Fuse.SETATTR,
        Fuse.OPEN,
        Fuse.READ,
        Fuse.WRITE,
        Fuse.RELEASE,
        Fuse.FORGET,
        Fuse.BATCH_FORGET,
        Fuse.INIT,
        Fuse.CREATE,
        Fuse.RENAME2,
        Fuse.LSEEK,
        Fuse.COPY_FILE_RANGE
      })
  void aTruncatedRequestIsShorterThanTheLeast(int opcode) throws RingViolation {
    int least = FuseWire.least(opcode);
    assertThat(least).isPositive();
    take(header(opcode, Fuse.IN_HEADER_BYTES + least + 100));
    for (int body = 0; body <= least; body++) {
      long bytes = take(header(opcode, Fuse.IN_HEADER_BYTES + body));
      assertThat(FuseWire.bodyBytes(scratch, bytes)).isEqualTo(body);
      assertThat(FuseWire.bodyBytes(scratch, bytes) < least).isEqualTo(body < least);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {Fuse.SETXATTR, Fuse.LOOKUP, 777, -1})
  void anOversizedRequestIsCutWhereItsMemoryEnds(int opcode) throws RingViolation {
    byte[] message = header(opcode, FuseWire.IN_BYTES + 30_000);
    Arrays.fill(message, Fuse.IN_HEADER_BYTES, message.length, (byte) 7);
    scratch.fill(UNTOUCHED);
    long bytes = take(message);
    assertThat(bytes).isEqualTo(message.length);
    assertThat(FuseWire.bodyBytes(scratch, bytes))
        .isEqualTo(FuseWire.IN_BYTES - Fuse.IN_HEADER_BYTES);
    assertThat(scratch.get(JAVA_BYTE, FuseWire.IN_BYTES - 1)).isEqualTo((byte) 7);
    assertThat(scratch.asSlice(FuseWire.IN_BYTES).toArray(JAVA_BYTE)).containsOnly(UNTOUCHED);
    assertThat(FuseWire.text(scratch, 0, FuseWire.bodyBytes(scratch, bytes)))
        .isEqualTo(-Errno.EINVAL);
  }

  @Test
  void theDataOfAWriteStayWhereTheyAre() throws RingViolation {
    byte[] message = header(Fuse.WRITE, FuseWire.IO_BYTES + 5000);
    Arrays.fill(message, FuseWire.IO_BYTES, message.length, (byte) 7);
    scratch.fill(UNTOUCHED);
    long bytes = take(message);
    assertThat(FuseWire.bodyBytes(scratch, bytes)).isEqualTo(Fuse.IO_IN_BYTES);
    assertThat(scratch.asSlice(FuseWire.IO_BYTES).toArray(JAVA_BYTE)).containsOnly(UNTOUCHED);
  }

  @Test
  void aTextEndsWithinTheBody() {
    int length = body("abc\0de");
    assertThat(FuseWire.text(scratch, 0, length)).isEqualTo(3);
    assertThat(FuseWire.text(scratch, 3, length)).isZero();
    assertThat(FuseWire.text(scratch, 4, length)).isEqualTo(-Errno.EINVAL);
    assertThat(FuseWire.text(scratch, 0, 3)).as("its end is behind").isEqualTo(-Errno.EINVAL);
    assertThat(FuseWire.text(scratch, length, length)).isEqualTo(-Errno.EINVAL);
    assertThat(FuseWire.text(scratch, length + 9, length)).isEqualTo(-Errno.EINVAL);
  }

  @ParameterizedTest
  @CsvSource({
    "'',-22",
    "'.',-22",
    "'..',-22",
    "'...',3",
    "'.a',2",
    "'..a',3",
    "a/b,-22",
    "/,-22",
    "../x,-22",
    "x/..,-22",
    "'a b',3",
    "\u00e9,1"
  })
  void aNameLeadsNowhere(String name, long expected) {
    assertThat(FuseWire.name(scratch, 0, body(name + "\0"))).isEqualTo(expected);
    // Behind something else, whose characters are not its.
    int length = body("/.\0" + name + "\0");
    assertThat(FuseWire.name(scratch, 3, length)).isEqualTo(expected);
  }

  @Test
  void aNameHasABound() {
    assertThat(FuseWire.name(scratch, 0, body("n".repeat(255) + "\0"))).isEqualTo(255);
    assertThat(FuseWire.name(scratch, 0, body("n".repeat(256) + "\0")))
        .isEqualTo(-Errno.ENAMETOOLONG);
    assertThat(FuseWire.name(scratch, 0, body("n".repeat(255)))).isEqualTo(-Errno.EINVAL);
  }

  @Test
  void aReplyFitsOrIsNotWritten() throws RingViolation {
    long bytes = take(header(Fuse.GETATTR, 60));
    scratch.asSlice(FuseWire.PAYLOAD, 100).fill((byte) 3);
    offerRoom(Fuse.OUT_HEADER_BYTES + 99);
    assertThatThrownBy(() -> FuseWire.reply(guest, request, bytes, 100))
        .isInstanceOf(RingViolation.class)
        .hasMessageContaining("115 bytes for a reply of 116 to a request of 60");
    assertThat(memory.asSlice(REPLY, 115).toArray(JAVA_BYTE)).containsOnly(UNTOUCHED);
    offerRoom(0);
    assertThatThrownBy(() -> FuseWire.reply(guest, request, bytes, -Errno.EIO))
        .isInstanceOf(RingViolation.class);

    offerRoom(Fuse.OUT_HEADER_BYTES + 100);
    FuseWire.reply(guest, request, bytes, 100);
    assertThat(request.written).isEqualTo(116);
    assertThat(memory.get(JAVA_INT, REPLY + Fuse.OUT_LENGTH)).isEqualTo(116);
    assertThat(memory.get(JAVA_INT, REPLY + Fuse.OUT_ERROR)).isZero();
    assertThat(memory.get(JAVA_LONG, REPLY + Fuse.OUT_UNIQUE)).isEqualTo(0x0123456789abcdefL);
    assertThat(memory.asSlice(REPLY + Fuse.OUT_HEADER_BYTES, 100).toArray(JAVA_BYTE))
        .containsOnly((byte) 3);
    assertThat(memory.get(JAVA_BYTE, REPLY + 116)).isEqualTo(UNTOUCHED);
  }

  @Test
  void anErrorHasNoPayload() throws RingViolation {
    long bytes = take(header(Fuse.READ, FuseWire.IO_BYTES));
    offerRoom(400);
    FuseWire.reply(guest, request, bytes, -Errno.EIO);
    assertThat(request.written).isEqualTo(Fuse.OUT_HEADER_BYTES);
    assertThat(memory.get(JAVA_INT, REPLY + Fuse.OUT_ERROR)).isEqualTo(-Errno.EIO);
    assertThat(memory.asSlice(REPLY + Fuse.OUT_HEADER_BYTES, 384).toArray(JAVA_BYTE))
        .containsOnly(UNTOUCHED);
  }

  /** Data that were read lie in the guest's memory already: only the header goes there. */
  @Test
  void theReplyOfAReadLeavesItsData() throws RingViolation {
    long bytes = take(header(Fuse.READ, FuseWire.IO_BYTES));
    offerRoom(400);
    FuseWire.reply(guest, request, bytes, 300);
    assertThat(request.written).isEqualTo(Fuse.OUT_HEADER_BYTES + 300);
    assertThat(memory.asSlice(REPLY + Fuse.OUT_HEADER_BYTES, 300).toArray(JAVA_BYTE))
        .containsOnly(UNTOUCHED);
  }

  /** Anything at all, against what a slow model says of it. */
  @Test
  void findsNamesInAnything() throws RingViolation {
    String alphabet = "\0./ab";
    for (int round = 0; round < 20_000; round++) {
      byte[] message = header(random.nextInt(60), Fuse.IN_HEADER_BYTES + random.nextInt(20));
      for (int i = Fuse.IN_HEADER_BYTES; i < message.length; i++) {
        message[i] = (byte) alphabet.charAt(random.nextInt(alphabet.length()));
      }
      long bytes = take(message);
      int body = FuseWire.bodyBytes(scratch, bytes);
      int from = random.nextInt(8);
      assertThat(FuseWire.name(scratch, from, body))
          .as("seed %d, round %d", seed, round)
          .isEqualTo(name(message, from));
    }
  }

  private static long name(byte[] message, int from) {
    String body = new String(message, StandardCharsets.ISO_8859_1).substring(Fuse.IN_HEADER_BYTES);
    int end = body.indexOf('\0', from);
    if (end < 0) {
      return -Errno.EINVAL;
    }
    String name = body.substring(from, end);
    return name.contains("/") || name.isEmpty() || name.equals(".") || name.equals("..")
        ? -Errno.EINVAL
        : name.length();
  }
}
