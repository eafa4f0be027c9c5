// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.Frame;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Finds out that the other end of a wire is gone though nothing says so: both ends send something
 * now and then, and end the wire when nothing has come for long.
 *
 * <p>Two daemon threads, as one that sends may be held up by the very wire that it looks at.
 */
final class Heartbeat implements AutoCloseable {
  /** The id of a Ping that is for the relay at the other end, not for who stands behind it. */
  static final long ID = -1;

  private final Wire wire;
  private final WireFrames frames;
  private final Duration every;
  private final Duration patience;
  private final Duration first;
  private final CountDownLatch over = new CountDownLatch(1);
  private volatile boolean silent;

  /**
   * @param every how often to send
   * @param patience how long the other end may be silent; several times its {@code every}
   * @param first how long it may take until it says anything; more where it is just being started
   */
  Heartbeat(Wire wire, WireFrames frames, Duration every, Duration patience, Duration first) {
    this.wire = wire;
    this.frames = frames;
    this.every = every;
    this.patience = patience;
    this.first = first;
    Thread.ofPlatform().daemon().name("relay-pings").start(this::send);
    Thread.ofPlatform().daemon().name("relay-silence").start(this::look);
  }

  private void send() {
    while (!over(every)) {
      frames.send(new Frame.Ping(ID));
    }
  }

  private void look() {
    while (!over(every)) {
      Duration limit = limit();
      if (!wire.silent(limit) && System.nanoTime() - frames.heard() > limit.toNanos()) {
        silent = true;
        wire.stop();
        return;
      }
    }
  }

  private Duration limit() {
    return frames.heardAnything() ? patience : first;
  }

  private boolean over(Duration time) {
    try {
      return over.await(time.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      return true;
    }
  }

  /** Why the wire has ended, given what its reader says. */
  String reason(String readers) {
    return silent ? "the other side has been silent for " + limit().toSeconds() + " s" : readers;
  }

  @Override
  public void close() {
    over.countDown();
  }
}
