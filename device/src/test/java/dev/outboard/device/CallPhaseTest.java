// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Which call an interruption hits. */
class CallPhaseTest {
  private final CallPhase phase = new CallPhase();
  private final AtomicInteger strikes = new AtomicInteger();

  private boolean interrupt(int sequence) {
    return phase.interrupt(sequence, strikes::incrementAndGet);
  }

  private boolean again(int sequence) {
    return phase.again(sequence, strikes::incrementAndGet);
  }

  @Test
  void aRunningCallIsStruckUntilItIsOut() {
    assertThat(phase.begin(1)).isTrue();
    assertThat(interrupt(1)).isTrue();
    assertThat(again(1)).isTrue();
    assertThat(phase.end()).isTrue();
    assertThat(again(1)).isFalse();
    assertThat(strikes).hasValue(2);
  }

  @Test
  void anInterruptionThatOvertakesItsCallIsFoundByIt() {
    assertThat(interrupt(2)).isFalse();
    assertThat(phase.begin(1)).isTrue();
    assertThat(phase.end()).isFalse();
    assertThat(phase.begin(2)).isFalse();
    assertThat(again(2)).isTrue();
    assertThat(phase.end()).isTrue();
    assertThat(phase.begin(3)).isTrue();
    assertThat(phase.end()).isFalse();
  }

  @Test
  void anInterruptionThatComesTooLateHitsNoOtherCall() {
    assertThat(phase.begin(1)).isTrue();
    assertThat(phase.end()).isFalse();
    assertThat(phase.begin(2)).isTrue();
    assertThat(interrupt(1)).isFalse();
    assertThat(phase.end()).isFalse();
    assertThat(strikes).hasValue(0);
  }

  /** The nudger still repeats the first one when the request for the next has come. */
  @Test
  void aRepetitionDoesNotHideWhatWasAskedForSince() {
    assertThat(phase.begin(1)).isTrue();
    assertThat(interrupt(1)).isTrue();
    assertThat(phase.end()).isTrue();
    assertThat(interrupt(2)).isFalse();
    assertThat(again(1)).isFalse();
    assertThat(phase.begin(2)).isFalse();
  }

  @Test
  void atTheEndAnyCallIsStruckAndNoneStarts() {
    assertThat(phase.begin(1)).isTrue();
    phase.endAll();
    assertThat(again(0)).isTrue();
    assertThat(phase.struck()).isTrue();
    assertThat(phase.end()).isTrue();
    assertThat(phase.begin(2)).isFalse();
    assertThat(phase.ending()).isTrue();
  }

  /** What is asked for, before, during or after a call, ends that call and no other. */
  @Test
  @Timeout(60)
  void everyRequestEndsItsCall() throws InterruptedException {
    int calls = 20_000;
    int[] struck = new int[1];
    // The task's signal: what a blocking call waits for.
    AtomicInteger signal = new AtomicInteger();
    AtomicInteger submitted = new AtomicInteger();
    Thread program =
        Thread.ofPlatform()
            .start(() -> {
              for (int n = 1; n <= calls; n++) {
                submitted.set(n);
                boolean found = !phase.begin(n);
                while (signal.getAndSet(0) == 0) {
                  if (found) {
                    phase.again(n, signal::incrementAndGet);
                  }
                  Thread.onSpinWait();
                }
                assertThat(phase.end()).isTrue();
                signal.set(0);
                struck[0]++;
              }
            });
    for (int n = 1; n <= calls; n++) {
      while (submitted.get() < n && program.isAlive()) {
        Thread.onSpinWait();
      }
      phase.interrupt(n, signal::incrementAndGet);
      phase.again(n - 1, signal::incrementAndGet);
    }
    program.join();
    assertThat(struck[0]).isEqualTo(calls);
  }
}
