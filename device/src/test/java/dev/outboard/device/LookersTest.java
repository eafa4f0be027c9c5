// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** How long the watcher holds edges back. */
@Timeout(value = 30, unit = TimeUnit.SECONDS)
class LookersTest {
  private final AtomicBoolean hurried = new AtomicBoolean();
  private final Lookers lookers = new Lookers(hurried::get);

  private long rest() {
    return least(lookers::rest);
  }

  private long told() {
    return least(lookers::told);
  }

  /** Nanoseconds that something takes; the least of some, as the machine may be busy. */
  private static long least(Runnable what) {
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 20; i++) {
      long start = System.nanoTime();
      what.run();
      least = Math.min(least, System.nanoTime() - start);
    }
    return least;
  }

  @Test
  void whereAllCallsTrapNothingIsHeldBack() {
    lookers.enter(1, false);
    assertThat(rest()).isLessThan(Lookers.MAX_REST_NANOS);
  }

  @Test
  void whoIsBusyIsNotDisturbedButNotForgotten() {
    Lookers.Looker l = lookers.enter(1, true);
    assertThat(rest()).isGreaterThanOrEqualTo(Lookers.MAX_REST_NANOS);
    lookers.looks(l);
    assertThat(rest()).as("it may wait").isLessThan(Lookers.MAX_REST_NANOS);
    lookers.runs(l);
    lookers.runs(l);
    assertThat(rest()).isGreaterThanOrEqualTo(Lookers.MAX_REST_NANOS);
  }

  @Test
  void oneThatMayWaitIsEnough() {
    Lookers.Looker busy = lookers.enter(1, true);
    Lookers.Looker other = lookers.enter(2, false);
    lookers.enter(2, false);
    lookers.looks(other);
    lookers.runs(busy);
    assertThat(rest()).isLessThan(Lookers.MAX_REST_NANOS);
    lookers.leave(2, false);
    assertThat(rest()).as("a thread of it is there").isLessThan(Lookers.MAX_REST_NANOS);
    lookers.leave(2, false);
    assertThat(rest()).as("it is gone").isGreaterThanOrEqualTo(Lookers.MAX_REST_NANOS);
    lookers.leave(1, true);
    assertThat(rest()).isLessThan(Lookers.MAX_REST_NANOS);
  }

  @Test
  void aLookEndsARest() throws InterruptedException {
    Lookers.Looker l = lookers.enter(1, true);
    for (int i = 0; i < 200; i++) {
      lookers.runs(l);
      Thread t = Thread.ofPlatform().start(lookers::rest);
      lookers.looks(l);
      t.join();
    }
  }

  @Test
  void whoLooksDirectlyNeedsNoEdges() throws InterruptedException {
    Lookers.Looker l = lookers.enter(1, true);
    lookers.looksDirectly(l);
    assertThat(rest()).as("it did so once").isGreaterThanOrEqualTo(Lookers.MAX_REST_NANOS);
    long most = 0;
    long last = System.nanoTime();
    lookers.looksDirectly(l);
    Thread t = Thread.ofPlatform().start(lookers::rest);
    long until = System.nanoTime() + 20 * Lookers.MAX_REST_NANOS;
    while (System.nanoTime() < until) {
      lookers.looksDirectly(l);
      long now = System.nanoTime();
      most = Math.max(most, now - last);
      last = now;
    }
    boolean rests = t.isAlive();
    most = Math.max(most, System.nanoTime() - last);
    // Unless this thread had no processor for so long. Between two looks lie two of the spans.
    assertThat(rests || most > Lookers.MAX_REST_NANOS / 2).isTrue();
    lookers.looks(l);
    t.join();
  }

  @Test
  void whoeverElseHasLookedDoesNotWaitForIt() throws InterruptedException {
    Lookers.Looker direct = lookers.enter(1, true);
    Lookers.Looker other = lookers.enter(2, true);
    lookers.looks(other);
    lookers.runs(other);
    Thread t = Thread.ofPlatform().start(lookers::rest);
    while (t.isAlive()) {
      lookers.looksDirectly(direct);
    }
    t.join();
  }

  @Test
  void nothingIsHeldBackFromWhoIsToldBySignals() throws InterruptedException {
    Lookers.Looker l = lookers.enter(1, true);
    lookers.looksDirectly(l);
    Thread t = Thread.ofPlatform().start(lookers::rest);
    long until = System.nanoTime() + 20 * Lookers.MAX_REST_NANOS;
    while (System.nanoTime() < until) {
      lookers.looksDirectly(l);
    }
    hurried.set(true);
    lookers.hurry();
    while (t.isAlive()) {
      lookers.looksDirectly(l); // By itself it would have all edges wait.
    }
    t.join();
    assertThat(rest()).isLessThan(Lookers.MAX_REST_NANOS);
    lookers.looks(l);
    assertThat(told()).isLessThan(Lookers.TOLD_NANOS);
  }

  @Test
  void whoWasToldHasTimeToWakeUp() throws InterruptedException {
    Lookers.Looker l = lookers.enter(1, true);
    lookers.looks(l);
    long start = System.nanoTime();
    lookers.told();
    assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(Lookers.TOLD_NANOS);
    Lookers.Looker other = lookers.enter(2, false);
    lookers.looks(other);
    assertThat(told()).as("two may wait").isLessThan(Lookers.TOLD_NANOS);
    lookers.runs(l);
    lookers.runs(other);
    assertThat(told()).as("none waits").isLessThan(Lookers.TOLD_NANOS);
  }
}
