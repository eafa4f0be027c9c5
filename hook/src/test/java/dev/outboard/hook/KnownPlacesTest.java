// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class KnownPlacesTest {
  private static final long BASE = 0x7f00_1234_5000L;
  private static final int OPENAT = 257;
  private static final int ROOT = 0;
  private static final int USER = 1000;
  private static final KnownPlaces.Place PLACE =
      new KnownPlaces.Place(0x100, OPENAT, PatchSite.Kind.ASK);

  private final KnownPlaces places = new KnownPlaces();

  private static byte[] page(long seed) {
    byte[] page = new byte[KnownPlaces.PAGE_BYTES];
    new Random(seed).nextBytes(page);
    return page;
  }

  private static boolean is(KnownPlaces.Page page, byte[] content) {
    try (Arena a = Arena.ofConfined()) {
      return page.is(a.allocateFrom(ValueLayout.JAVA_BYTE, content));
    }
  }

  @Test
  void aPlaceLeadsToAllPagesOfItsText() {
    places.learn(ROOT, "8:1 42", 0x3000, page(1), PLACE);
    places.learn(
        ROOT, "8:1 42", 0x9000, page(2), new KnownPlaces.Place(0x50, 0, PatchSite.Kind.PASS));
    places.learn(ROOT, "8:1 43", 0x3000, page(3), PLACE);
    List<KnownPlaces.Page> found = places.candidates(BASE + 0x3100, OPENAT, USER);
    assertThat(found).hasSize(2);
    KnownPlaces.Page mine = found.stream().filter(p -> is(p, page(1))).findFirst().orElseThrow();
    assertThat(places.pages(mine)).extracting(KnownPlaces.Page::at).contains(0x3000L, 0x9000L);
    assertThat(places.pages(mine)).hasSize(2);
    assertThat(places.candidates(BASE + 0x3100, OPENAT + 1, USER)).isEmpty();
    assertThat(places.candidates(BASE + 0x3101, OPENAT, USER)).isEmpty();
  }

  @Test
  void aPageThatDiffersInOneByteIsAnother() {
    places.learn(ROOT, "8:1 42", 0, page(1), PLACE);
    byte[] other = page(1);
    KnownPlaces.Page page = places.candidates(BASE + 0x100, OPENAT, USER).getFirst();
    assertThat(is(page, other)).isTrue();
    for (int at : new int[] {0, 0x101, KnownPlaces.PAGE_BYTES - 1}) {
      other[at] ^= 1;
      assertThat(is(page, other)).isFalse();
      other[at] ^= 1;
    }
  }

  @Test
  void whatAUsersProgramHasShownServesNoOther() {
    places.learn(USER, "8:1 42", 0, page(1), PLACE);
    places.learn(USER + 1, "8:1 42", 0, page(1), PLACE);
    assertThat(places.candidates(BASE + 0x100, OPENAT, USER)).hasSize(1);
    assertThat(places.candidates(BASE + 0x100, OPENAT, USER + 2)).isEmpty();
    assertThat(places.candidates(BASE + 0x100, OPENAT, ROOT)).isEmpty();
    places.learn(ROOT, "8:1 42", 0, page(1), PLACE);
    assertThat(places.candidates(BASE + 0x100, OPENAT, USER + 2)).hasSize(1);
    assertThat(places.pages(places.candidates(BASE + 0x100, OPENAT, ROOT).getFirst())).hasSize(1);
  }

  @Test
  void placesOfOnePageAreTogether() {
    KnownPlaces.Place second = new KnownPlaces.Place(0x200, OPENAT, PatchSite.Kind.ASK);
    places.learn(ROOT, "8:1 42", 0, page(1), PLACE);
    places.learn(ROOT, "8:1 42", 0, page(1), second);
    places.learn(ROOT, "8:1 42", 0, page(1), second);
    for (int offset : new int[] {0x100, 0x200}) {
      List<KnownPlaces.Page> found = places.candidates(BASE + offset, OPENAT, USER);
      assertThat(found).hasSize(1);
      assertThat(found.getFirst().places()).containsExactly(PLACE, second);
    }
  }

  @Test
  void whatWasKnownOfAFileThatHasChangedIsForgotten() {
    KnownPlaces.Place second = new KnownPlaces.Place(0x200, OPENAT, PatchSite.Kind.ASK);
    places.learn(ROOT, "8:1 42", 0, page(1), PLACE);
    places.learn(ROOT, "8:1 42", 0, page(2), second);
    assertThat(places.candidates(BASE + 0x100, OPENAT, USER)).isEmpty();
    KnownPlaces.Page page = places.candidates(BASE + 0x200, OPENAT, USER).getFirst();
    assertThat(is(page, page(2))).isTrue();
    assertThat(page.places()).containsExactly(second);
  }

  @Test
  void whatIsFrequentOrKnownIsWorthwhile() {
    for (int i = 0; i < 3; i++) {
      assertThat(places.isWorthwhile(BASE + i * 0x1000L + 0x100, OPENAT)).isFalse();
    }
    assertThat(places.isWorthwhile(BASE + 0x100, OPENAT)).isTrue();
    assertThat(places.isWorthwhile(BASE + 0x200, OPENAT)).isFalse();
    places.learn(ROOT, "8:1 42", 0, page(1), new KnownPlaces.Place(0x300, 2, PatchSite.Kind.ASK));
    assertThat(places.isWorthwhile(BASE + 0x300, 2)).isTrue();
  }

  @Test
  void whenItIsFullNothingIsAdded() {
    for (int i = 0; i < 600; i++) {
      places.learn(ROOT, "8:1 " + i % 7, i * 0x1000L, page(i), PLACE);
    }
    assertThat(places.candidates(BASE + 0x100, OPENAT, USER)).hasSize(512);
    places.learn(
        ROOT, "8:1 0", 0, page(0), new KnownPlaces.Place(0x200, OPENAT, PatchSite.Kind.ASK));
    assertThat(places.candidates(BASE + 0x200, OPENAT, USER))
        .as("of a page that is known")
        .hasSize(1);
  }

  @Test
  void onlyPlacesOfWhichAllIsInOnePage() {
    assertThat(KnownPlaces.isWithinPage(BASE + PatchSite.BEFORE_BYTES)).isTrue();
    assertThat(KnownPlaces.isWithinPage(BASE + PatchSite.BEFORE_BYTES - 1)).isFalse();
    assertThat(KnownPlaces.isWithinPage(BASE + 0x1000 - PatchSite.AFTER_BYTES)).isTrue();
    assertThat(KnownPlaces.isWithinPage(BASE + 0x1001 - PatchSite.AFTER_BYTES)).isFalse();
  }

  @Test
  void aPatchedPageSaysWhatChanges() {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment memory = a.allocateFrom(ValueLayout.JAVA_BYTE, page(1));
      List<PatchSite.Write> writes =
          List.of(
              new PatchSite.Write(BASE + 0x80, new byte[] {1, 2}),
              new PatchSite.Write(BASE + 0x40, new byte[] {3}));
      assertThat(KnownPlaces.apply(memory, writes, BASE)).containsExactly(0x40, 0x82);
      byte[] wanted = page(1);
      wanted[0x80] = 1;
      wanted[0x81] = 2;
      wanted[0x40] = 3;
      assertThat(memory.toArray(ValueLayout.JAVA_BYTE)).isEqualTo(wanted);
    }
  }
}
