// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.hook.Arm64Site.Range;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Encodings of arm64, as an assembler for it has them; on every machine. */
class Arm64SiteTest {
  private static final long PLACE = 0xffff_8123_4564L;
  private static final long ENTRY = 0x0514_0020L;
  private static final long PAGE = 64 * 1024;

  private static int word(byte[] code, int at) {
    return ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN).getInt(at);
  }

  @Test
  void branchesAreAsAnAssemblerHasThem() {
    assertThat(Arm64Site.branch(PLACE, PLACE)).isEqualTo(0x1400_0000);
    assertThat(Arm64Site.branch(PLACE, PLACE + 4)).isEqualTo(0x1400_0001);
    assertThat(Arm64Site.branch(PLACE, PLACE - 64)).isEqualTo(0x17ff_fff0);
    assertThat(Arm64Site.branch(PLACE, PLACE + Arm64Site.REACH - 4)).isEqualTo(0x15ff_ffff);
    assertThat(Arm64Site.branch(PLACE, PLACE - Arm64Site.REACH)).isEqualTo(0x1600_0000);
  }

  @Test
  void branchesReach128MiBAndNoFurther() {
    for (long to : new long[] {PLACE + Arm64Site.REACH, PLACE - Arm64Site.REACH - 4, PLACE + 2}) {
      assertThat(Arm64Site.reaches(PLACE, to)).isFalse();
      assertThatThrownBy(() -> Arm64Site.branch(PLACE, to))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThat(Arm64Site.reaches(PLACE + 1, PLACE + 1)).isFalse();
    assertThat(Arm64Site.reaches(0, Long.MAX_VALUE & -4)).isFalse();
  }

  @Test
  void anAimIsWhereABranchLeads() {
    for (long distance : new long[] {0, 4, -4, 0x1234, Arm64Site.REACH - 4, -Arm64Site.REACH}) {
      int branch = Arm64Site.branch(PLACE, PLACE + distance);
      assertThat(Arm64Site.aim(PLACE, branch)).isEqualTo(PLACE + distance);
      assertThat(Arm64Site.aim(PLACE, branch | 0x8000_0000)).as("bl").isEqualTo(-1);
    }
    assertThat(Arm64Site.aim(PLACE, Arm64Site.CALL)).isEqualTo(-1);
  }

  @Test
  void aPlaceIsOneAlignedWord() {
    long trampoline = PLACE + 0x10_0000;
    List<PatchSite.Write> writes = Arm64Site.patch(Arm64Site.CALL, PLACE + 4, trampoline);
    assertThat(writes).hasSize(1);
    PatchSite.Write w = writes.getFirst();
    assertThat(w.address()).isEqualTo(PLACE);
    assertThat(w.bytes()).hasSize(4);
    assertThat(Arm64Site.aim(PLACE, word(w.bytes(), 0))).isEqualTo(trampoline);
  }

  @Test
  void whatIsNoCallOrTooFarIsLeftAlone() {
    long near = PLACE + 64;
    assertThat(Arm64Site.patch(0xd400_0021, PLACE + 4, near)).as("svc #1").isEmpty();
    assertThat(Arm64Site.patch(0xd400_0002, PLACE + 4, near)).as("hvc #0").isEmpty();
    assertThat(Arm64Site.patch(0x1400_0001, PLACE + 4, near)).as("b").isEmpty();
    assertThat(Arm64Site.patch(Arm64Site.CALL, PLACE + 4, PLACE + Arm64Site.REACH)).isEmpty();
    assertThat(Arm64Site.patch(Arm64Site.CALL, PLACE + 6, near)).as("misaligned").isEmpty();
  }

  @Test
  void aTrampolineGoesToTheShimAndBack() {
    long at = PLACE - 0x100_0004L;
    byte[] code = Arm64Site.trampoline(at, ENTRY, PLACE + 4);
    assertThat(code).hasSize(Arm64Site.TRAMPOLINE_BYTES);
    assertThat(word(code, 0)).as("stp x16, x30, [sp, #-16]!").isEqualTo(0xa9bf_7bf0);
    assertThat(word(code, 4)).as("ldr x16, . + 20").isEqualTo(0x5800_00b0);
    assertThat(word(code, 8)).as("blr x16").isEqualTo(0xd63f_0200);
    assertThat(word(code, 12)).as("ldp x16, x30, [sp], #16").isEqualTo(0xa8c1_7bf0);
    assertThat(Arm64Site.aim(at + 16, word(code, 16))).isEqualTo(PLACE + 4);
    assertThat(word(code, 20)).as("nop").isEqualTo(0xd503_201f);
    ByteBuffer b = ByteBuffer.wrap(code).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(b.getLong(4 + 20)).isEqualTo(ENTRY);
    long far = PLACE + Arm64Site.REACH;
    assertThatThrownBy(() -> Arm64Site.trampoline(far, ENTRY, PLACE))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aLinkTellsThePlace() {
    long at = PLACE + 0x2000;
    byte[] code = Arm64Site.trampoline(at, ENTRY, PLACE + 4);
    long link = at + 12; // behind the blr
    assertThat(Arm64Site.holder(link)).isEqualTo(at);
    assertThat(Arm64Site.back(link, code, ENTRY)).isEqualTo(PLACE + 4);
    assertThat(Arm64Site.back(link, code, ENTRY + 4)).as("another shim's").isEqualTo(-1);
    for (int i = 0; i < Arm64Site.TRAMPOLINE_BYTES; i++) {
      byte[] other = code.clone();
      other[i] ^= (byte) 0x80;
      long back = Arm64Site.back(link, other, ENTRY);
      boolean free = i >= 16 && i < 24; // where it goes, and the nop
      assertThat(back == -1 || free).as("byte %s", i).isTrue();
    }
  }

  private static final Range TEXT = new Range(0xaaaa_0000_0000L, 0xaaaa_0010_0000L);

  private static long island(long bytes, Range... used) {
    return Arm64Site.island(TEXT, List.of(used), bytes, PAGE);
  }

  private static void assertReaches(long island, long bytes) {
    for (long place : new long[] {TEXT.start(), TEXT.end() - 4}) {
      for (long trampoline : new long[] {island, island + bytes - 32}) {
        assertThat(Arm64Site.reaches(place, trampoline)).isTrue();
        assertThat(Arm64Site.reaches(trampoline + 16, place + 4)).isTrue();
      }
    }
  }

  @Test
  void anIslandIsWhereMemoryIsFree() {
    long behind = island(PAGE, TEXT);
    assertThat(behind).isIn(TEXT.start() - PAGE, TEXT.end());
    Range data = new Range(TEXT.end(), TEXT.end() + 0x123_4000);
    Range below = new Range(TEXT.start() - 0x1000, TEXT.start());
    long found = island(2 * PAGE, data, TEXT, below);
    assertThat(found).as("a page in front of part of one").isEqualTo(TEXT.start() - 3 * PAGE);
    assertReaches(found, 2 * PAGE);
  }

  @Test
  void anIslandIsNotFurtherThanBranchesReach() {
    long reach = Arm64Site.REACH;
    Range low = new Range(TEXT.end() - reach, TEXT.start());
    Range high = new Range(TEXT.end(), TEXT.start() + reach);
    assertThat(island(PAGE, low, TEXT, high)).isEqualTo(-1);
    Range lessLow = new Range(TEXT.end() - reach + PAGE, TEXT.start());
    assertThat(island(PAGE, lessLow, TEXT, high)).isEqualTo(TEXT.end() - reach);
    assertReaches(TEXT.end() - reach, PAGE);
    Range lessHigh = new Range(TEXT.end(), TEXT.start() + reach - PAGE);
    assertThat(island(PAGE, low, TEXT, lessHigh)).isEqualTo(TEXT.start() + reach - PAGE);
    assertReaches(TEXT.start() + reach - PAGE, PAGE);
    assertThat(island(2 * PAGE, low, TEXT, lessHigh)).isEqualTo(-1);
  }

  @Test
  void noIslandIsAtTheBottomOfMemory() {
    Range text = new Range(0x1_0000, 0x2_0000);
    List<Range> used = List.of(text, new Range(0x2_0000, Arm64Site.REACH + 0x2_0000));
    assertThat(Arm64Site.island(text, used, PAGE, PAGE)).isEqualTo(-1);
  }

  @Test
  void textOfMoreThanReachHasNoIsland() {
    Range text = new Range(0x1000_0000L, 0x1000_0000L + Arm64Site.REACH);
    assertThat(Arm64Site.island(text, List.of(text), PAGE, PAGE)).isEqualTo(-1);
  }
}
