// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** What a slot has of receives that were peeked at, taken by the rules and otherwise. */
class PeekedReceivesTest {
  private static final int HANDLE = 7;
  private static final int BIRTH = -99;
  private static final int ENTRY = PeekedReceives.of(HANDLE);

  private final MemorySegment slot = Arena.ofAuto().allocate(SlotLayout.BYTES, 4096);
  private final PeekedReceives peeked = new PeekedReceives(slot);

  private static long at(int field) {
    return SlotLayout.PEEKED + (long) ENTRY * SlotLayout.PEEKED_BYTES + field;
  }

  private int get(int field) {
    return (int) SlotLayout.INT.getVolatile(slot, at(field));
  }

  private void publish(int length) {
    peeked.data(ENTRY).fill((byte) length);
    peeked.publish(ENTRY, HANDLE, BIRTH, length, 5, 6, 7);
  }

  /** As the shim takes it; false if it was not there. */
  private boolean take(int bytes) {
    int state = get(SlotLayout.PEEKED_STATE);
    if (state % SlotLayout.PEEKED_COUNT != SlotLayout.PEEKED_FRESH) {
      return false;
    }
    slot.set(ValueLayout.JAVA_INT, at(SlotLayout.PEEKED_TAKE), bytes);
    boolean taken =
        SlotLayout.INT.compareAndSet(
            slot,
            at(SlotLayout.PEEKED_STATE),
            state,
            state - SlotLayout.PEEKED_FRESH + SlotLayout.PEEKED_TAKEN);
    if (taken) {
      SlotLayout.INT.getAndAdd(slot, SlotLayout.TAKINGS, 1);
    }
    return taken;
  }

  @Test
  void whatIsPublishedCanBeTakenOnce() {
    assertThat(take(1)).isFalse();
    publish(9);
    assertThat(get(SlotLayout.PEEKED_HANDLE)).isEqualTo(HANDLE);
    assertThat(get(SlotLayout.PEEKED_BIRTH)).isEqualTo(BIRTH);
    assertThat(get(SlotLayout.PEEKED_LENGTH)).isEqualTo(9);
    assertThat(get(SlotLayout.PEEKED_CREDIT)).isEqualTo(5);
    assertThat(get(SlotLayout.PEEKED_GENERATION)).isEqualTo(6);
    assertThat(slot.get(ValueLayout.JAVA_LONG, at(SlotLayout.PEEKED_SINCE))).isEqualTo(7);
    assertThat(slot.get(ValueLayout.JAVA_BYTE, at(SlotLayout.PEEKED_DATA))).isEqualTo((byte) 9);
    assertThat(peeked.isTaken()).isFalse();
    assertThat(take(4)).isTrue();
    assertThat(take(4)).isFalse();
    assertThat(peeked.isTaken()).isTrue();
    assertThat(peeked.isTaken(ENTRY)).isTrue();
    int takings = peeked.takings();
    assertThat(peeked.end(ENTRY)).isEqualTo(4);
    assertThat(peeked.isTaken()).as("until it is settled").isTrue();
    peeked.settled(takings);
    assertThat(peeked.isTaken()).isFalse();
    publish(3);
    assertThat(take(3)).isTrue();
    assertThat(peeked.isTaken()).isTrue();
    peeked.close();
    assertThat(peeked.isTaken()).as("the memory may be gone").isFalse();
    assertThat(take(4)).isFalse();
  }

  @Test
  void whatIsTakenBackCannotBeTaken() {
    publish(9);
    int state = get(SlotLayout.PEEKED_STATE);
    assertThat(peeked.end(ENTRY)).isEqualTo(PeekedReceives.UNTAKEN);
    assertThat(take(9)).isFalse();
    publish(8);
    assertThat(get(SlotLayout.PEEKED_STATE)).as("who saw the one before").isNotEqualTo(state);
    assertThat(take(8)).isTrue();
    assertThat(peeked.end(ENTRY)).isEqualTo(8);
  }

  @Test
  void whoBreaksTheRulesGetsNothingThrownAway() {
    for (int bytes : new int[] {0, -1, 10, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
      publish(9);
      assertThat(take(bytes)).isTrue();
      assertThat(peeked.end(ENTRY)).as("%d bytes", bytes).isEqualTo(PeekedReceives.UNTAKEN);
    }
    publish(9);
    slot.set(ValueLayout.JAVA_INT, at(SlotLayout.PEEKED_STATE), 0x7777_7777);
    assertThat(peeked.isTaken(ENTRY)).isFalse();
    assertThat(peeked.end(ENTRY)).isEqualTo(PeekedReceives.UNTAKEN);
    publish(9);
    // What the program says of the length does not count.
    slot.set(ValueLayout.JAVA_INT, at(SlotLayout.PEEKED_LENGTH), 900);
    assertThat(take(900)).isTrue();
    assertThat(peeked.end(ENTRY)).isEqualTo(PeekedReceives.UNTAKEN);
  }

  /** Each entry is taken by the program or taken back by the device, and never both. */
  @Test
  void onlyOneOfBothHasIt() throws InterruptedException {
    int rounds = 200_000;
    AtomicLong taken = new AtomicLong();
    Thread program =
        Thread.ofPlatform()
            .start(() -> {
              while ((int) SlotLayout.INT.getVolatile(slot, SlotLayout.REQUEST) == 0) {
                if (take(1)) {
                  taken.incrementAndGet();
                }
                Thread.onSpinWait();
              }
            });
    long seen = 0;
    for (int i = 0; i < rounds; i++) {
      publish(1);
      for (int k = i % 50; k > 0; k--) {
        Thread.onSpinWait();
      }
      seen += peeked.end(ENTRY) == 1 ? 1 : 0;
    }
    SlotLayout.INT.setVolatile(slot, SlotLayout.REQUEST, 1);
    program.join();
    assertThat(seen).isEqualTo(taken.get());
  }
}
