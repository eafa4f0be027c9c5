// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class StartStackTest {
  private static final long TOP = 0x7fff_ffff_f000L;
  private static final int BYTES = 1 << 20;
  private static final long AT_EXECFN = 31;
  private static final long AT_PAGESZ = 6;

  /** The last megabyte of a program's memory, where its stack begins. */
  private final byte[] memory = new byte[BYTES];

  private long texts = TOP;

  private byte[] read(long address, int bytes) {
    int from = (int) (address - (TOP - BYTES));
    return from < 0 || from >= BYTES
        ? new byte[0]
        : Arrays.copyOfRange(memory, from, Math.min(BYTES, from + bytes));
  }

  private void write(long address, byte[] bytes) {
    System.arraycopy(bytes, 0, memory, (int) (address - (TOP - BYTES)), bytes.length);
  }

  private long text(String text) {
    texts -= text.length() + 1L;
    write(texts, (text + "\0").getBytes(StandardCharsets.US_ASCII));
    return texts;
  }

  /** As a kernel lays it out. */
  private StartStack stack(String name, List<String> arguments, List<String> environment) {
    long nameAt = text(name);
    long[] environmentAt = environment.reversed().stream().mapToLong(this::text).toArray();
    long[] argumentsAt = arguments.reversed().stream().mapToLong(this::text).toArray();
    int words = 1 + arguments.size() + 1 + environment.size() + 1 + 6;
    ByteBuffer b = ByteBuffer.allocate(words * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    b.putLong(arguments.size());
    for (int i = argumentsAt.length - 1; i >= 0; i--) {
      b.putLong(argumentsAt[i]);
    }
    b.putLong(0);
    for (int i = environmentAt.length - 1; i >= 0; i--) {
      b.putLong(environmentAt[i]);
    }
    b.putLong(0).putLong(AT_PAGESZ).putLong(4096).putLong(AT_EXECFN).putLong(nameAt);
    b.putLong(0).putLong(0);
    long at = (texts - b.capacity()) & -16;
    write(at, b.array());
    return Objects.requireNonNull(StartStack.read(this::read, at));
  }

  private StartStack rewritten(StartStack.Rewritten r) {
    assertThat(r.stack() % 16).isZero();
    assertThat(r.spare() % 8).isZero();
    write(r.stack(), r.bytes());
    return Objects.requireNonNull(StartStack.read(this::read, r.stack()));
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static String argument(StartStack s, int i) {
    return new String(s.argument(i, 4096), StandardCharsets.US_ASCII);
  }

  private String textAt(long address) {
    byte[] text = read(address, 64);
    int end = 0;
    while (text[end] != 0) {
      end++;
    }
    return new String(text, 0, end, StandardCharsets.US_ASCII);
  }

  @Test
  void aProgramGetsItsName() {
    StartStack before = stack("/dev/fd/3", List.of("tool", "a", ""), List.of("PATH=/bin", "X="));
    StartStack.Rewritten r = before.rewrite(bytes("/export/bin/tool"), 0, List.of(), bytes("tool"));
    assertThat(r.arguments()).isZero();
    StartStack after = rewritten(r);
    assertThat(textAt(r.threadName())).isEqualTo("tool");
    assertThat(read(r.spare(), StartStack.SPARE_BYTES)).containsOnly(0);
    assertThat(new String(after.name(100), StandardCharsets.US_ASCII))
        .isEqualTo("/export/bin/tool");
    assertThat(after.arguments()).isEqualTo(3);
    assertThat(argument(after, 0)).isEqualTo("tool");
    assertThat(argument(after, 1)).isEqualTo("a");
    assertThat(argument(after, 2)).isEmpty();
  }

  @Test
  void aScriptGetsItsPathAndAllArgumentsStandInARow() {
    StartStack before =
        stack("/dev/fd/3", List.of("/proc/self/fd/4", "-", "/dev/fd/3", "one", "two"), List.of());
    List<byte[]> others = List.of(bytes("/export/sh"), bytes("-e"), bytes("/export/script"));
    StartStack.Rewritten r = before.rewrite(bytes("./script"), 0, others, bytes("script"));
    StartStack after = rewritten(r);
    assertThat(argument(after, 0)).isEqualTo("/export/sh");
    assertThat(argument(after, 1)).isEqualTo("-e");
    assertThat(argument(after, 2)).isEqualTo("/export/script");
    assertThat(argument(after, 4)).isEqualTo("two");
    byte[] row = read(r.arguments(), (int) (r.argumentsEnd() - r.arguments()));
    assertThat(new String(row, StandardCharsets.US_ASCII))
        .isEqualTo("/export/sh\0-e\0/export/script\0one\0two\0");
  }

  @Test
  void onlyWhatIsOthersMovesIfThereIsMuch() {
    String much = "x".repeat(40_000);
    StartStack before = stack("/dev/fd/3", List.of("/bin/sh", "/dev/fd/3", much, much), List.of());
    StartStack.Rewritten r = before.rewrite(bytes("s"), 1, List.of(bytes("/e/s")), bytes("s"));
    assertThat(r.arguments()).isZero();
    assertThat(r.bytes().length).isLessThan(1000);
    StartStack after = rewritten(r);
    assertThat(argument(after, 0)).isEqualTo("/bin/sh");
    assertThat(argument(after, 1)).isEqualTo("/e/s");
    assertThat(after.argument(3, 50_000)).hasSize(40_000);
  }

  @Test
  void aStackOfManyWordsIsReadInPieces() {
    List<String> many = Collections.nCopies(30_000, "a");
    StartStack before = stack("/dev/fd/3", many, many);
    StartStack after = rewritten(before.rewrite(bytes("/e/s"), 0, List.of(bytes("0")), bytes("s")));
    assertThat(after.arguments()).isEqualTo(30_000);
    assertThat(argument(after, 0)).isEqualTo("0");
    assertThat(argument(after, 29_999)).isEqualTo("a");
  }

  @Test
  void whatIsNoStackIsNone() {
    assertThat(StartStack.read(this::read, TOP)).isNull();
    assertThat(StartStack.read(this::read, TOP - 64)).isNull();
    Arrays.fill(memory, (byte) -1);
    assertThat(StartStack.read(this::read, TOP - 4096)).isNull();
  }
}
