// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ShimTableTest {
  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory = arena.allocate(ShimLayout.TABLE_BYTES, 8);
  private final ShimTable table = new ShimTable(memory, 3);

  @AfterEach
  void free() {
    arena.close();
  }

  private void learn(int fd) {
    table.learn(fd, table.mark(fd));
  }

  /** What a stub does before and after its close. */
  private void shimBegins(int fd) {
    ShimTableStress.closeBegins(memory, fd);
  }

  private void shimEnds(int fd) {
    ShimTableStress.closeEnds(memory, fd);
  }

  @Test
  void keepsWhatItLearns() {
    learn(7);
    learn(ShimLayout.MAX_FD - 1);
    assertThat(table.isHost(7)).isTrue();
    assertThat(table.isHost(6)).isFalse();
    assertThat(table.isHost(ShimLayout.MAX_FD - 1)).isTrue();
    table.forget(7, 7);
    assertThat(table.isHost(7)).isFalse();
  }

  @Test
  void numbersOutsideAreNeverKnown() {
    learn(-1);
    learn(ShimLayout.MAX_FD);
    assertThat(table.isHost(-1)).isFalse();
    assertThat(table.isHost(ShimLayout.MAX_FD)).isFalse();
  }

  @Test
  void aLookUpThatAShimsCloseOvertookIsVoid() {
    int before = table.mark(5);
    shimBegins(5);
    table.learn(5, before);
    assertThat(table.isHost(5)).isFalse();
    learn(5);
    assertThat(table.isHost(5)).as("while it is being closed").isFalse();
    int during = table.mark(5);
    shimEnds(5);
    table.learn(5, during);
    table.learn(5, before);
    assertThat(table.isHost(5)).isFalse();
    learn(5);
    assertThat(table.isHost(5)).isTrue();
  }

  @Test
  void twoClosesOfOneNumberCountBoth() {
    learn(5);
    shimBegins(5);
    shimBegins(5);
    shimEnds(5);
    learn(5);
    assertThat(table.isHost(5)).isFalse();
    shimEnds(5);
    learn(5);
    assertThat(table.isHost(5)).isTrue();
  }

  @Test
  void aLookUpThatWasOvertakenByAForgettingIsVoid() {
    learn(5);
    table.forget(5, 5);
    int mark = table.mark(5);
    table.forget(0, Integer.MAX_VALUE);
    table.learn(5, mark);
    assertThat(table.isHost(5)).isFalse();
  }

  @Test
  void aFrozenTableIsEmpty() {
    learn(5);
    table.freeze(true);
    learn(6);
    assertThat(table.isHost(5)).isFalse();
    assertThat(table.isHost(6)).isFalse();
    table.freeze(false);
    learn(6);
    assertThat(table.isHost(6)).isTrue();
  }

  private int state(int fd) {
    return memory.get(ValueLayout.JAVA_INT, 4L * fd) & 0xff;
  }

  @Test
  void deviceFdsHaveTheirHandles() {
    table.learnDevice(5, table.mark(5), 1234, -7, false);
    assertThat(state(5)).isEqualTo(ShimLayout.STATE_DEVICE);
    assertThat(table.isHost(5)).isFalse();
    assertThat(memory.get(ValueLayout.JAVA_INT, ShimLayout.HANDLES_OFFSET + 40L)).isEqualTo(1234);
    assertThat(memory.get(ValueLayout.JAVA_INT, ShimLayout.HANDLES_OFFSET + 44L)).isEqualTo(-7);
    learn(5);
    assertThat(state(5)).as("it is known already").isEqualTo(ShimLayout.STATE_DEVICE);
    table.forget(5, 5);
    assertThat(state(5)).isZero();
    int mark = table.mark(5);
    table.forget(5, 5);
    table.learnDevice(5, mark, 1234, -7, false);
    assertThat(state(5)).isZero();
    table.learnDevice(ShimLayout.MAX_FD, 0, 1, 1, false);
    table.learnDevice(-1, 0, 1, 1, false);
    assertThat(table.calls(0)).as("what is behind the words").isZero();
  }

  @Test
  void aFileIsWithdrawnFromAllItsNumbers() {
    for (int fd = 3; fd < 9; fd++) {
      table.learnDevice(fd, table.mark(fd), fd % 2 == 0 ? 50 : 51, fd, false);
    }
    learn(20);
    table.withdraw(50);
    for (int fd = 3; fd < 9; fd++) {
      assertThat(state(fd)).isEqualTo(fd % 2 == 0 ? 0 : ShimLayout.STATE_DEVICE);
    }
    assertThat(table.isHost(20)).isTrue();
    table.freeze(true);
    assertThat(state(3)).isZero();
  }

  @Test
  void aHandleSaysWhatItsFileIs() {
    long at = ShimLayout.HANDLES_OFFSET + 40L;
    table.learnDevice(5, table.mark(5), 1234, -7, true);
    assertThat(memory.get(ValueLayout.JAVA_INT, at)).isEqualTo(1234 | ShimLayout.HANDLE_STREAM);
    table.watched(5, 77);
    assertThat(memory.get(ValueLayout.JAVA_INT, at))
        .as("another file's watch")
        .isEqualTo(1234 | ShimLayout.HANDLE_STREAM);
    table.watched(5, 1234);
    int all = 1234 | ShimLayout.HANDLE_STREAM | ShimLayout.HANDLE_WATCHED;
    assertThat(memory.get(ValueLayout.JAVA_INT, at)).isEqualTo(all);
    assertThat(memory.get(ValueLayout.JAVA_INT, at + 4)).as("its birth").isEqualTo(-7);
    table.watched(ShimLayout.MAX_FD, 0);
    table.withdraw(1234);
    assertThat(state(5)).isZero();
    table.learnDevice(5, table.mark(5), 1234, 8, false);
    assertThat(memory.get(ValueLayout.JAVA_INT, at)).as("a new file").isEqualTo(1234);
  }

  @Test
  void aWaiterIsNamedOnlyWhileItIsTheOnlyOne() {
    ProcessEntry p = new ProcessEntry(70, 1, -1, -1);
    p.table(table);
    p.waits(71, true);
    assertThat(waits()).containsExactly(1, 71, 70);
    p.waits(72, true);
    assertThat(waits()).containsExactly(2, 0, 70);
    p.waits(71, false);
    assertThat(waits()).as("nobody knows which is left").containsExactly(1, 0, 70);
    p.waits(72, false);
    assertThat(waits()).containsExactly(0, 0, 70);
  }

  private int[] waits() {
    return new int[] {
      memory.get(ValueLayout.JAVA_INT, ShimLayout.WAITS_OFFSET),
      memory.get(ValueLayout.JAVA_INT, ShimLayout.WAITER_OFFSET),
      memory.get(ValueLayout.JAVA_INT, ShimLayout.HOOK_PID_OFFSET)
    };
  }

  @Test
  void onlyWhoIsAloneInClosingMayLearn() {
    ProcessEntry p = new ProcessEntry(70, 1, -1, -1);
    p.closing(71, 9, 9, false);
    p.table(table);
    assertThat(learner()).as("a close from before there was a table").isEqualTo(71);
    p.closing(71, 4, 4, true);
    assertThat(learner()).isEqualTo(71);
    p.closing(72, 0, Integer.MAX_VALUE, true);
    assertThat(learner()).isEqualTo(ShimLayout.NONE_LEARNS);
    p.settled(71);
    assertThat(learner()).isEqualTo(72);
    p.freeze(true);
    p.settled(72);
    assertThat(learner()).as("empty for the moment").isEqualTo(ShimLayout.NONE_LEARNS);
    p.freeze(false);
    assertThat(learner()).isEqualTo(ShimLayout.ANY_LEARNS);
    p.neverCache(false);
    p.freeze(false);
    assertThat(learner()).as("empty for good").isEqualTo(ShimLayout.NONE_LEARNS);
  }

  private int learner() {
    return memory.get(ValueLayout.JAVA_INT, ShimLayout.LEARNER_OFFSET);
  }

  @Test
  void whatTheShimIsFindingOutIsForgottenToo() {
    int fd = 5000;
    int before = table.mark(fd);
    table.forget(0, Integer.MAX_VALUE);
    assertThat(table.mark(fd)).as("nobody has looked at it").isEqualTo(before);
    memory.set(ValueLayout.JAVA_INT, ShimLayout.END_OFFSET, fd + 1);
    table.forget(0, Integer.MAX_VALUE);
    assertThat(table.mark(fd)).as("somebody may be looking").isNotEqualTo(before);
    memory.set(ValueLayout.JAVA_INT, ShimLayout.END_OFFSET, Integer.MAX_VALUE);
    table.forget(0, Integer.MAX_VALUE);
    memory.set(ValueLayout.JAVA_INT, ShimLayout.END_OFFSET, -1);
    table.forget(0, Integer.MAX_VALUE);
  }

  @Test
  void countersAreTheShims() {
    memory.set(ValueLayout.JAVA_LONG, ShimLayout.COUNTERS_OFFSET + 8L * 3, 42);
    memory.set(ValueLayout.JAVA_LONG, ShimLayout.DEVICE_COUNTERS_OFFSET + 8L * 3, 43);
    memory.set(ValueLayout.JAVA_LONG, ShimLayout.DEVICE_BYTES_OFFSET + 8L * 3, 44);
    memory.set(ValueLayout.JAVA_LONG, ShimLayout.AT_ONCE_OFFSET + 8L * 3, 45);
    assertThat(table.atOnce(3)).isEqualTo(45);
    assertThat(table.atOnce(ShimLayout.AT_ONCE_NUMBERS)).isZero();
    assertThat(table.calls(3)).isEqualTo(42);
    assertThat(table.deviceCalls(3)).isEqualTo(43);
    assertThat(table.deviceBytes(3)).isEqualTo(44);
  }

  /** As a model: descriptors that are opened, closed and looked up in every order. */
  @Test
  void neverSaysHostOfANumberThatIsNot() throws Exception {
    ShimTableStress.run(memory, table);
  }

  private ShimTable.Members members(int fd) {
    return Objects.requireNonNull(table.members(fd));
  }

  @Test
  void aNumberIsASetsUntilItIsClosed() {
    learn(7);
    int word = table.learnSet(7, table.mark(7));
    assertThat(word).isNotZero().isEqualTo(table.mark(7));
    assertThat(table.isSet(7)).isTrue();
    assertThat(table.isHost(7)).isFalse();
    int before = table.mark(8);
    table.cover(8);
    table.forget(7, 8);
    assertThat(table.isSet(7)).isFalse();
    assertThat(table.learnSet(8, before)).isZero();
    table.learnDevice(9, table.mark(9), 3, 5, true);
    assertThat(table.learnSet(9, table.mark(9))).isZero();
  }

  @Test
  void membersAreKnownUnlessSomethingChangedMeanwhile() {
    table.learnSet(7, table.mark(7));
    ShimTable.Members m = members(7);
    long state = m.state();
    m.known(state);
    assertThat(table.knowsMembers(7)).isTrue();
    table.forgetMembers(7);
    assertThat(table.knowsMembers(7)).isFalse();
    long overtaken = m.state();
    table.forgetMembers(7);
    m.known(overtaken);
    assertThat(table.knowsMembers(7)).isFalse();
  }

  @Test
  void whoHasTheLockIsAlone() {
    table.learnSet(7, table.mark(7));
    ShimTable.Members m = members(7);
    assertThat(m.lock()).isTrue();
    assertThat(members(7).lock()).isFalse();
    m.unlock();
    assertThat(members(7).lock()).isTrue();
  }

  @Test
  void aClosedSetMakesRoomForAnother() {
    for (int fd = 0; fd < ShimLayout.MAX_SETS; fd++) {
      table.learnSet(fd, table.mark(fd));
      members(fd).known(members(fd).state());
    }
    table.learnSet(50, table.mark(50));
    assertThat(table.members(50)).isNull();
    table.forget(2, 2);
    assertThat(table.knowsMembers(2)).isFalse();
    ShimTable.Members m = members(50);
    assertThat(table.knowsMembers(50)).isFalse();
    m.known(m.state());
    assertThat(table.knowsMembers(50)).isTrue();
    assertThat(table.knowsMembers(1)).isTrue();
  }
}
