// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** The rules of {@link Descriptors}, where an entry keeps them. */
class ProcessEntryTest {
  private final ProcessEntry entry = new ProcessEntry(1000, 1, -1, -1);

  @Test
  void whatWasLookedUpIsKnown() {
    entry.learn(5, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(5)).isSameAs(ProcessEntry.HOST);
    assertThat(entry.known(6)).isNull();
    assertThat(entry.known(100_000)).isNull();
  }

  @Test
  void aNumberThatIsBeingClosedIsUnknownUntilThatIsSettled() {
    entry.learn(5, ProcessEntry.HOST, entry.version());
    entry.closing(77, 5, 5, true);
    assertThat(entry.known(5)).isNull();
    entry.learn(5, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(5)).as("found before the close was carried out").isNull();
    entry.settled(78);
    entry.learn(5, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(5)).as("another thread's close").isNull();
    entry.settled(77);
    entry.learn(5, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(5)).isSameAs(ProcessEntry.HOST);
  }

  @Test
  void aLookUpThatOverlapsACloseIsNotKept() {
    long before = entry.version();
    entry.closing(77, 5, 5, true);
    entry.settled(77);
    entry.learn(5, ProcessEntry.HOST, before);
    assertThat(entry.known(5)).isNull();
  }

  @Test
  void aLookUpBetweenCloseAndItsEndIsNotKept() {
    entry.closing(77, 5, 5, true);
    long during = entry.version();
    entry.settled(77);
    entry.learn(5, ProcessEntry.HOST, during);
    assertThat(entry.known(5)).isNull();
  }

  @Test
  void aRangeClosesItsNumbersAndNoOthers() {
    for (int fd = 3; fd < 10; fd++) {
      entry.learn(fd, ProcessEntry.HOST, entry.version());
    }
    entry.closing(77, 5, 7, true);
    for (int fd = 3; fd < 10; fd++) {
      assertThat(entry.known(fd) == null).as("%d", fd).isEqualTo(fd >= 5 && fd <= 7);
    }
  }

  @Test
  void onlyClosesThatASendCouldTellHoldUpDirectCalls() {
    MemorySegment memory = Arena.ofAuto().allocate(ShimLayout.TABLE_BYTES, Long.BYTES);
    entry.table(new ShimTable(memory, 0));
    entry.closing(77, 5, 5, false);
    assertThat(held(memory)).isZero();
    entry.closing(78, 6, 6, true);
    assertThat(held(memory)).isEqualTo(1);
    entry.settled(77);
    assertThat(held(memory)).isEqualTo(1);
    entry.closing(77, 7, 7, false);
    entry.settled(78);
    assertThat(held(memory)).as("the other is a regular file's").isZero();
  }

  private static int held(MemorySegment table) {
    return table.get(ValueLayout.JAVA_INT, ShimLayout.CONTROL_OFFSET);
  }

  @Test
  void execForgetsAll() {
    entry.learn(3, ProcessEntry.HOST, entry.version());
    entry.learn(60_000, ProcessEntry.HOST, entry.version());
    entry.closing(77, 0, Integer.MAX_VALUE, true);
    assertThat(entry.known(3)).isNull();
    assertThat(entry.known(60_000)).isNull();
  }

  @Test
  void aTableSharedInUnusualWaysIsNeverRemembered() {
    entry.learn(3, ProcessEntry.HOST, entry.version());
    entry.neverCache(true);
    assertThat(entry.known(3)).isNull();
    entry.learn(3, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(3)).isNull();
    assertThat(entry.tablesPerThread()).isTrue();
  }

  @Test
  void anAbsurdNumberCostsNoMemory() {
    entry.learn(Integer.MAX_VALUE, ProcessEntry.HOST, entry.version());
    assertThat(entry.known(Integer.MAX_VALUE)).isNull();
    assertThat(entry.mayBeDevice(Integer.MAX_VALUE)).isFalse();
    assertThat(entry.mayBeDevice(-1)).isFalse();
  }
}
