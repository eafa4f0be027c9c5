// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** When the thread of a lent slot follows its caller. */
class PlacementTest {
  private final List<Integer> moves = new ArrayList<>();
  private boolean allowed = true;
  private final Placement placement =
      new Placement(processor -> {
        moves.add(processor);
        return allowed;
      });

  private void calls(int count, int where, boolean slept) {
    for (int i = 0; i < count; i++) {
      placement.called(where, slept);
    }
  }

  @Test
  void aThreadThatIsFoundAwakeRunsWhereItLikes() {
    calls(10 * Placement.WINDOW, 3, false);
    assertThat(moves).isEmpty();
    for (int i = 0; i < Placement.WINDOW; i++) {
      placement.called(3, i < Placement.ASLEEP - 1);
    }
    assertThat(placement.together()).isFalse();
  }

  @Test
  void oneThatIsFoundAsleepFollows() {
    calls(Placement.WINDOW - 1, 3, true);
    assertThat(placement.together()).isFalse();
    assertThat(placement.called(3, true)).isTrue();
    assertThat(placement.together()).isTrue();
    assertThat(moves).containsExactly(3);
  }

  @Test
  void itMovesWithItsCallerButNotForOneCall() {
    calls(Placement.WINDOW, 3, true);
    placement.called(1, true);
    calls(Placement.WINDOW, 3, true);
    assertThat(moves).containsExactly(3);
    calls(2, 1, true);
    assertThat(moves).containsExactly(3, 1);
  }

  @Test
  void aCallerThatIsEverywhereIsNotFollowed() {
    calls(Placement.WINDOW, 3, true);
    for (int i = 0; placement.together(); i++) {
      assertThat(i).isLessThan(Placement.WINDOW);
      placement.called(i / 2 % 4, true);
    }
    assertThat(moves.getLast()).isEqualTo(-1);
    int before = moves.size();
    calls(Placement.TOGETHER - Placement.WINDOW, 2, true);
    assertThat(moves).as("for a long time").hasSize(before);
    calls(2 * Placement.WINDOW, 2, true);
    assertThat(placement.together()).isTrue();
  }

  @Test
  void nowAndThenItTriesToRunFreely() {
    calls(Placement.WINDOW + Placement.TOGETHER, 3, true);
    assertThat(placement.together()).isFalse();
    assertThat(moves).containsExactly(3, -1);
    calls(Placement.WINDOW, 3, false);
    assertThat(placement.together()).as("it pays").isFalse();
    calls(Placement.WINDOW, 3, true);
    assertThat(placement.together()).as("it does not any more").isTrue();
  }

  @Test
  void whoseProcessorIsUnknownOrForbiddenIsNotFollowed() {
    calls(4 * Placement.WINDOW, -1, true);
    assertThat(moves).isEmpty();
    allowed = false;
    calls(100 * Placement.WINDOW, 1, true);
    assertThat(placement.together()).isFalse();
    assertThat(moves).as("it is not tried again").containsExactly(1, -1);
  }

  /** The real one, on the processors that this thread may use. */
  @Test
  void aThreadOfThisMachine() throws InterruptedException {
    Thread t =
        Thread.ofPlatform()
            .start(() -> {
              Placement real = new Placement();
              for (int i = 0; i < Placement.WINDOW; i++) {
                real.called(1 << 20, true);
              }
              assertThat(real.together()).isFalse();
            });
    t.join();
  }
}
