// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.hook.ProgramEvents;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * Makes {@code outboard run} look like the program: passes on what the front hears, stops and
 * continues the front with the program, and lets the front go when the program has ended although
 * its children live on.
 *
 * <p>{@link #close} says that nothing of the program is left.
 */
final class ProgramWatch implements ProgramEvents, AutoCloseable {
  /**
   * How long after the program's end its tree may take to be found empty. Then the front ends last,
   * when the device and its network are gone too; if it takes longer, there are children that live
   * on, and the front ends first.
   */
  private static final Duration CHILDREN_LIVE_ON = Duration.ofMillis(150);

  /** The same if a report is due at the end, without which the command is of less use. */
  private static final Duration REPORT_IS_DUE = Duration.ofSeconds(5);

  private static final String NULL_DEVICE = "/dev/null";

  private final @Nullable Front front;
  private final Duration patience;
  private boolean closed;
  private int pidfd = -1;

  /**
   * @param reports whether something is reported when nothing of the program is left
   */
  ProgramWatch(@Nullable Front front, boolean reports) {
    this.front = front;
    this.patience = reports ? REPORT_IS_DUE : CHILDREN_LIVE_ON;
  }

  @Override
  public synchronized void started(int pid) {
    pidfd = (int) Processes.pidfdOpen(pid);
    if (front == null) {
      return;
    }
    // The program has them now. If we kept them too, its end of a pipe would stay open after it
    // closed it.
    Streams.redirect(0, NULL_DEVICE);
    Streams.redirect(1, NULL_DEVICE);
    front.listen(
        new Front.Listener() {
          @Override
          public void signal(int signal) {
            ProgramWatch.this.signal(signal);
          }

          @Override
          public void gone() {
            // The hook's guard ends what is left of the program, and the device ends with its link.
            Runtime.getRuntime().halt(ExitStatus.OURS);
          }
        });
  }

  private synchronized void signal(int signal) {
    if (pidfd >= 0) {
      Processes.pidfdSendSignal(pidfd, signal);
    }
  }

  @Override
  public void stopped() {
    if (front != null) {
      Processes.kill(front.pid(), Processes.SIG_STOP);
    }
  }

  @Override
  public void continued() {
    if (front != null) {
      Processes.kill(front.pid(), Processes.SIG_CONT);
    }
  }

  @Override
  public synchronized void ended(int status) {
    if (pidfd >= 0) {
      Linux.close(pidfd);
      pidfd = -1;
    }
    if (front != null) {
      Thread.ofPlatform().daemon().name("front-release").start(() -> releaseLater(front, status));
    }
  }

  private void releaseLater(Front waiting, int status) {
    synchronized (this) {
      long deadline = System.nanoTime() + patience.toNanos();
      try {
        for (long left; !closed && (left = deadline - System.nanoTime()) > 0; ) {
          wait(left / 1_000_000 + 1);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      if (closed) {
        return;
      }
    }
    release(waiting, status);
  }

  /** Lets the front, if there is one, end now with {@code status}; this process goes on. */
  static void release(@Nullable Front waiting, int status) {
    if (waiting != null) {
      // Whoever reads what the program wrote waits for the last holder of the pipe.
      Streams.redirect(2, NULL_DEVICE);
      waiting.end(status);
    }
  }

  @Override
  public synchronized void close() {
    closed = true;
    notifyAll();
  }
}
