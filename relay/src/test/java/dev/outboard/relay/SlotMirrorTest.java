// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

class SlotMirrorTest {
  private static final int BYTES = 160 * 1024;
  private static final int PIECE = 60_000;

  /** Two ends, each with an area and a mirror. */
  private static final class Ends {
    final Arena arena = Arena.ofAuto();
    final MemorySegment here = arena.allocate(BYTES, 64);
    final MemorySegment there = arena.allocate(BYTES, 64);
    final SlotMirror mirrorHere = new SlotMirror(here, arena);
    final SlotMirror mirrorThere = new SlotMirror(there, arena);

    long cross(SlotMirror from, SlotMirror to) {
      return cross(from, to, BYTES);
    }

    long cross(SlotMirror from, SlotMirror to, long extent) {
      long crossed = 0;
      for (long at = 0; from.next(at, extent, PIECE); at = from.end()) {
        assertThat(from.end()).isLessThanOrEqualTo(extent);
        ByteBuffer piece = ByteBuffer.allocateDirect(PIECE);
        from.copy(piece);
        piece.flip();
        assertThat(piece.remaining()).isBetween(1, PIECE);
        assertThat(from.start()).isGreaterThanOrEqualTo(at);
        crossed += piece.remaining();
        assertThat(to.holds(from.start(), piece.remaining())).isTrue();
        to.apply(from.start(), piece);
      }
      return crossed;
    }
  }

  @Test
  void whatChangesAtEitherEndIsTheSameAtBothAfterItHasCrossed() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    Ends ends = new Ends();
    for (int round = 0; round < 300; round++) {
      boolean back = random.nextBoolean();
      MemorySegment area = back ? ends.there : ends.here;
      for (int edits = random.nextInt(5); edits >= 0; edits--) {
        int most = random.nextInt(4) == 0 ? BYTES : 200;
        int length = 1 + random.nextInt(most);
        int at = random.nextInt(BYTES - length + 1);
        for (int i = 0; i < length; i++) {
          area.set(
              ValueLayout.JAVA_BYTE, at + i, (byte) random.nextInt(random.nextBoolean() ? 2 : 256));
        }
      }
      if (back) {
        ends.cross(ends.mirrorThere, ends.mirrorHere);
      } else {
        ends.cross(ends.mirrorHere, ends.mirrorThere);
      }
      assertThat(ends.here.mismatch(ends.there))
          .as("first difference after round %d", round)
          .isEqualTo(-1);
    }
  }

  @Test
  void whatHasNotChangedDoesNotCross() {
    Ends ends = new Ends();
    assertThat(ends.mirrorHere.next(0, BYTES, PIECE)).isFalse();
    ends.here.set(ValueLayout.JAVA_LONG, 4096, 7);
    ends.here.set(ValueLayout.JAVA_LONG, 100_000, 7);
    assertThat(ends.cross(ends.mirrorHere, ends.mirrorThere)).isLessThan(300);
    assertThat(ends.mirrorHere.next(0, BYTES, PIECE)).isFalse();
    // What has come from there is known there.
    assertThat(ends.mirrorThere.next(0, BYTES, PIECE)).isFalse();
    ends.here.asSlice(0, 128 * 1024).fill((byte) 1);
    assertThat(ends.cross(ends.mirrorHere, ends.mirrorThere)).isBetween(128L * 1024, 132L * 1024);
  }

  @Test
  void aPieceThatIsNotInTheAreaIsNotHeld() {
    Ends ends = new Ends();
    assertThat(ends.mirrorHere.holds(0, BYTES)).isTrue();
    assertThat(ends.mirrorHere.holds(BYTES, 0)).isTrue();
    assertThat(ends.mirrorHere.holds(BYTES, 1)).isFalse();
    assertThat(ends.mirrorHere.holds(-1, 1)).isFalse();
    assertThat(ends.mirrorHere.holds(1, BYTES)).isFalse();
    assertThat(ends.mirrorHere.holds(Integer.MAX_VALUE, Integer.MAX_VALUE)).isFalse();
  }

  @Test
  void whatLiesBehindTheExtentCrossesWhenTheExtentIsBeyondIt() {
    Ends ends = new Ends();
    for (long at = 0; at < BYTES; at += 100) {
      ends.here.set(ValueLayout.JAVA_BYTE, at, (byte) 7);
    }
    assertThat(ends.cross(ends.mirrorHere, ends.mirrorThere, 0)).isZero();
    for (long extent : new long[] {1, 999, 1001, 70_000, BYTES}) {
      ends.cross(ends.mirrorHere, ends.mirrorThere, extent);
      assertThat(MemorySegment.mismatch(ends.here, 0, extent, ends.there, 0, extent)).isEqualTo(-1);
      assertThat(ends.there.asSlice(extent).mismatch(MemorySegment.ofArray(new byte[BYTES])))
          .as("nothing behind %d", extent)
          .isEqualTo(BYTES - extent);
    }
  }
}
