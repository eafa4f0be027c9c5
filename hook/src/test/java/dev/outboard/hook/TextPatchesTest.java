// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Patches that are undone in a copy of a page. */
class TextPatchesTest {
  private static final int PAGE = KnownPlaces.PAGE_BYTES;
  private static final long ADDRESS = 0x40_0000;

  private static ShimImage.Patch patch(long address) {
    return new ShimImage.Patch(
        new PatchSite.Write(address, new byte[] {1, 2, 3, 4, 5}),
        new PatchSite.Write(address, new byte[] {6, 7, 8, 9, 10}));
  }

  private static byte[] restored(long at, ShimImage.Patch patch, boolean expected) {
    try (Arena arena = Arena.ofConfined()) {
      // Two pages that are patched, of which the first or the second is looked at.
      MemorySegment text = arena.allocate(2L * PAGE);
      MemorySegment.copy(
          patch.done().bytes(),
          0,
          text,
          ValueLayout.JAVA_BYTE,
          patch.done().address() - ADDRESS,
          5);
      MemorySegment page = text.asSlice(at - ADDRESS, PAGE);
      assertThat(TextPatches.restore(page, List.of(patch), at)).isEqualTo(expected);
      return text.asSlice(PAGE - 4, 8).toArray(ValueLayout.JAVA_BYTE);
    }
  }

  @Test
  void onesThatCrossTheEndOfThePageAreUndoneInIt() {
    ShimImage.Patch crossing = patch(ADDRESS + PAGE - 2);
    assertThat(restored(ADDRESS, crossing, true)).containsExactly(0, 0, 6, 7, 3, 4, 5, 0);
    assertThat(restored(ADDRESS + PAGE, crossing, true)).containsExactly(0, 0, 1, 2, 8, 9, 10, 0);
  }

  @Test
  void onesOfOtherPagesAreLeft() {
    ShimImage.Patch before = patch(ADDRESS + PAGE - 5);
    assertThat(restored(ADDRESS + PAGE, before, false)).startsWith(2, 3, 4, 5, 0);
    assertThat(restored(ADDRESS, before, true)).startsWith(7, 8, 9, 10, 0);
  }

  @Test
  void onesThatAreNotThereAreLeft() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment page = arena.allocate(PAGE);
      assertThat(TextPatches.restore(page, List.of(patch(ADDRESS + 8)), ADDRESS)).isFalse();
      assertThat(page.mismatch(arena.allocate(PAGE))).isEqualTo(-1);
    }
  }
}
