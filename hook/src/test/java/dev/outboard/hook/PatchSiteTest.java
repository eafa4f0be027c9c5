// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class PatchSiteTest {
  private static final long BACK = 0x7f12_3456_7890L;
  private static final String AFTER = "483d00f0ffff7758c30f1f8000000000".repeat(2);

  /** The hexadecimal bytes up to the return address, and those behind it. */
  private static byte[] code(String before, String after) {
    ByteBuffer b = ByteBuffer.allocate(PatchSite.BEFORE_BYTES + PatchSite.AFTER_BYTES);
    byte[] head = HexFormat.of().parseHex(before.replace(" ", ""));
    int known = Math.min(head.length, PatchSite.BEFORE_BYTES);
    b.position(PatchSite.BEFORE_BYTES - known);
    b.put(head, head.length - known, known);
    byte[] tail = HexFormat.of().parseHex(after.replace(" ", ""));
    b.put(tail, 0, Math.min(tail.length, PatchSite.AFTER_BYTES));
    return b.array();
  }

  private static List<PatchSite.Write> patch(String before, int number) {
    return PatchSite.patch(code(before, AFTER), number, BACK, 0x123);
  }

  @Test
  void aMoveOfTheNumberBecomesAJumpThatEndsInTheSyscall() {
    List<PatchSite.Write> writes = patch("74 17 b8 01 00 00 00 0f 05", 1);
    assertThat(writes).hasSize(1);
    assertThat(writes.getFirst().address()).isEqualTo(BACK - 7);
    byte[] patched = new byte[7];
    System.arraycopy(writes.getFirst().bytes(), 0, patched, 0, 5);
    patched[5] = 0x0f;
    patched[6] = 0x05;
    assertThat(patched).startsWith(0xff, 0x24, 0x25);
    int pointer = ByteBuffer.wrap(patched).order(ByteOrder.LITTLE_ENDIAN).getInt(3);
    assertThat(pointer).isEqualTo((int) ShimLayout.BASE + 0x123 * 8);
  }

  @Test
  void leavesAloneWhatCouldBeAnotherInstruction() {
    assertThat(patch("74 17 b8 02 00 00 00 0f 05", 1)).as("another number").isEmpty();
    assertThat(patch("74 41 b8 01 00 00 00 0f 05", 1)).as("mov to r8d").isEmpty();
    assertThat(patch("74 66 b8 01 00 00 00 0f 05", 1)).as("mov to ax").isEmpty();
    assertThat(patch("c7 45 b8 01 00 00 00 0f 05", 1)).as("mov to -0x48(%rbp)").isEmpty();
    assertThat(patch("44 24 b8 01 00 00 00 0f 05", 1)).as("to -0x48(%rsp)").isEmpty();
    assertThat(patch("8b b8 20 01 00 00 0f 05 90", 0x120)).as("no syscall there").isEmpty();
    assertThat(patch("49 8b b8 20 01 00 00 0f 05", 0x120)).as("a load from r8").isEmpty();
    assertThat(patch("89 c0 89 d0 90 90 90 0f 05", 1)).as("another shape").isEmpty();
  }

  @Test
  void theReadOfGlibcGetsItsJumpInThePadding() {
    // Back is 0x…ad: padding of ten bytes from 0x…b6 on, up to the aim of the first je, 0x…c0.
    long back = 0x7f12_3456_78adL;
    String before = "00 00 00 74 17 31 c0 0f 05";
    String after = "483d00f0ffff 775b c3 662e0f1f840000000000 4883";
    List<PatchSite.Write> writes = PatchSite.patch(code(before, after), 0, back, 0x123);
    assertThat(writes).hasSize(2);
    assertThat(writes.get(0).address()).isEqualTo(back + 9);
    assertThat(writes.get(0).bytes()).hasSize(7).startsWith(0xff, 0x24, 0x25);
    assertThat(writes.get(1).address()).isEqualTo(back - 4);
    assertThat(writes.get(1).bytes()).containsExactly(0xeb, 0x0b);
    // 0x…ab is where the jump's own end is.
    assertThat(back - 2 + 0x0b).isEqualTo(writes.get(0).address());

    String otherAim = "00 00 00 74 16 31 c0 0f 05";
    assertThat(PatchSite.patch(code(otherAim, after), 0, back, 0)).isEmpty();
    String noReturn = "483d00f0ffff 775b c2 662e0f1f840000000000 4883";
    assertThat(PatchSite.patch(code(before, noReturn), 0, back, 0)).isEmpty();
    String noPadding = "483d00f0ffff 775b c3 662e0f1f840000000001 4883";
    assertThat(PatchSite.patch(code(before, noPadding), 0, back, 0)).isEmpty();
    assertThat(PatchSite.patch(code(before, after), 1, back, 0)).isEmpty();
  }

  /** Where a thread can be cancelled: what follows the first instruction stays as it is. */
  @Test
  void theReadOfGlibcThatCanBeCancelledKeepsAllButItsFirstInstruction() {
    String before = "e849d5f8ff 488b542418 488b742410 4189c0 8b7c2408 31c0 0f05".replace(" ", "");
    String after = "483d00f0ffff 7734 4489c7 4889442408".replace(" ", "") + "00".repeat(12);
    byte[] code = code(before, after);
    assertThat(PatchSite.isReload(code, 0)).isTrue();
    List<PatchSite.Write> writes = PatchSite.patch(code, 0, BACK, 0x123);
    assertThat(writes).hasSize(1);
    assertThat(writes.getFirst().address()).isEqualTo(BACK - 8);
    assertThat(writes.getFirst().bytes()).containsExactly(0x90, 0xff, 0x24, 0x25);
    ByteBuffer patched = ByteBuffer.wrap(code.clone()).order(ByteOrder.LITTLE_ENDIAN);
    patched.put(PatchSite.BEFORE_BYTES - 8, writes.getFirst().bytes());
    assertThat(patched.getInt(PatchSite.BEFORE_BYTES - 4)).isEqualTo((int) PatchSite.XOR_POINTER);
    long pointers = ShimLayout.BASE + (long) ShimLayout.MAX_STUBS * ShimLayout.POINTER_BYTES;
    assertThat(PatchSite.XOR_POINTER)
        .isGreaterThanOrEqualTo(pointers)
        .isLessThanOrEqualTo(ShimLayout.IMAGE_NUMBER - 8);

    assertThat(PatchSite.isReload(code, 1)).as("another number").isFalse();
    for (int i = 0; i < PatchSite.BEFORE_BYTES + 7; i++) {
      byte[] other = code.clone();
      other[i] ^= 0x10;
      boolean free = (i >= 1 && i < 5) || i == 9 || i == 14 || i == 21;
      assertThat(PatchSite.isReload(other, 0)).as("byte %s", i).isEqualTo(free);
    }
  }

  private static final String OPEN_OF_GLIBC = "7489f2 b801010000 4889fe bf9cffffff 0f05";

  @Test
  void theOpenOfGlibcThatIsNotCancelledKeepsTheNumbersMove() {
    byte[] code = code(OPEN_OF_GLIBC.replace(" ", ""), AFTER);
    List<PatchSite.Write> writes = PatchSite.patch(code, 257, BACK, 0x123);
    assertThat(writes).hasSize(1);
    assertThat(writes.getFirst().address()).isEqualTo(BACK - 7);
    int pointer = (int) ShimLayout.BASE + 0x123 * ShimLayout.POINTER_BYTES;
    assertThat(writes.getFirst().bytes())
        .containsExactly(0xff, 0x24, 0x25, pointer & 0xff, pointer >> 8 & 0xff);

    for (int i = PatchSite.BEFORE_BYTES - 10; i < PatchSite.BEFORE_BYTES; i++) {
      byte[] other = code.clone();
      other[i] ^= 0x10;
      assertThat(PatchSite.patch(other, 257, BACK, 0)).as("byte %s", i).isEmpty();
    }
    assertThat(patch("49 ba 48 89 fe bf 9c ff ff ff 0f 05", 257)).as("a constant").isEmpty();
  }

  /** Each shape's place, with what its stub has to make up for, and the number. */
  private static Stream<Arguments> shapes() {
    return Stream.of(
        Arguments.of(code("b82d000000 0f05".replace(" ", ""), AFTER), 45, ""),
        Arguments.of(
            code(
                "e849d5f8ff488b542418488b7424104189c08b7c240831c00f05", "483d00f0ffff7734" + AFTER),
            0,
            "8b7c2408"),
        Arguments.of(code(OPEN_OF_GLIBC.replace(" ", ""), AFTER), 257, "bf9cffffff"));
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void stubsFitAndKnowTheirSite(byte[] code, int number, String replaced) {
    byte[] first = HexFormat.of().parseHex(replaced);
    for (PatchSite.Kind kind : PatchSite.Kind.values()) {
      byte[] stub =
          PatchSite.stub(kind, number, code, ShimLayout.STUBS, ShimLayout.TEXT + 0x1c, BACK);
      ByteBuffer b = ByteBuffer.wrap(stub).order(ByteOrder.LITTLE_ENDIAN);
      assertThat(stub).hasSize(ShimLayout.STUB_BYTES);
      assertThat(Arrays.copyOf(stub, first.length)).isEqualTo(first);
      assertThat(b.getLong(112)).isEqualTo(BACK - 2);
      assertThat(b.getLong(120)).isEqualTo(BACK);
      assertThat(PatchSite.number(stub)).isEqualTo(number);
      assertThat(PatchSite.progress(stub, 0))
          .isEqualTo(first.length > 0 ? PatchSite.Progress.NOT_BEGUN : PatchSite.Progress.BEFORE);
      assertThat(PatchSite.progress(stub, Math.max(5, first.length)))
          .isEqualTo(PatchSite.Progress.BEFORE);
      if (first.length > 0) {
        int at = (int) (PatchSite.replaced(stub) - BACK) + PatchSite.BEFORE_BYTES;
        assertThat(Arrays.copyOfRange(code, at, at + first.length)).isEqualTo(first);
      }
    }
  }

  /** The number may be another's who jumped to the last instruction before the call. */
  @Test
  void aStubThatFindsAnotherNumberTraps() {
    byte[] code = code(OPEN_OF_GLIBC.replace(" ", ""), AFTER);
    byte[] stub =
        PatchSite.stub(
            PatchSite.Kind.ASK, 257, code, ShimLayout.STUBS, ShimLayout.TEXT + 0x1c, BACK);
    ByteBuffer b = ByteBuffer.wrap(stub).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(HexFormat.of().formatHex(stub, 5, 14)).isEqualTo("3d01010000" + "7406" + "ff25");
    assertThat(18 + b.getInt(14)).as("jmp *trap").isEqualTo(112);
  }

  /** Wherever a thread stands in a stub that asks, it has not made its call. */
  @Test
  void aStubThatAsksMakesNoCall() {
    byte[] stub =
        PatchSite.stub(
            PatchSite.Kind.ASK,
            233,
            code("b8e90000000f05", AFTER),
            ShimLayout.STUBS,
            ShimLayout.TEXT + 0x1c,
            BACK);
    assertThat(stub).startsWith(0xb8, 233, 0, 0, 0, 0x41, 0xbb);
    for (int offset : new int[] {0, 5, 11}) {
      assertThat(PatchSite.progress(stub, offset)).isEqualTo(PatchSite.Progress.BEFORE);
    }
    assertThat(PatchSite.number(stub)).isEqualTo(233);
    assertThat(PatchSite.back(stub)).isEqualTo(BACK);
  }
}
