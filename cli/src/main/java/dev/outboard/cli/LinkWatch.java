// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.relay.LinkEvents;
import java.time.Duration;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * How the link of a program fared: nothing that its user would be told, as nothing was lost, but
 * for who looks with {@code --trace} or {@code --stats}. Any thread.
 */
final class LinkWatch implements LinkEvents {
  private final Runnable afterwards;
  private volatile @Nullable Consumer<String> trace;
  private int breaks;
  private Duration down = Duration.ZERO;
  private long bytesAgain;

  /**
   * @param afterwards is run when there is another connection
   */
  LinkWatch(Runnable afterwards) {
    this.afterwards = afterwards;
  }

  /**
   * What happened so far.
   *
   * @param breaks that were got over
   * @param down time without a connection in all
   * @param bytesAgain what was sent a second time
   */
  record Counts(int breaks, Duration down, long bytesAgain) {}

  /** Where lines go from now on; null: nowhere. */
  void trace(@Nullable Consumer<String> lines) {
    trace = lines;
  }

  private void line(String line) {
    Consumer<String> to = trace;
    if (to != null) {
      to.accept(line);
    }
  }

  @Override
  public void broken(String why) {
    line("# the link broke: " + why);
  }

  @Override
  public void resumed(Duration downNow, long bytesAgainNow) {
    synchronized (this) {
      breaks++;
      down = down.plus(downNow);
      bytesAgain += bytesAgainNow;
    }
    line("# the link goes on after " + downNow.toMillis() + " ms; bytes again: " + bytesAgainNow);
    afterwards.run();
  }

  synchronized Counts counts() {
    return new Counts(breaks, down, bytesAgain);
  }
}
