// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.posix.Uninterrupted;
import java.util.HashSet;
import java.util.Set;
import java.util.function.BooleanSupplier;

/**
 * The order between what a host has sent ahead and the calls that it makes after that: a call is
 * made once all that came before it is with the sockets, but for those whose buffers are full.
 *
 * <p>So a program that has sent finds what it would find had it waited: on the device's loopback,
 * for one, the other end is readable.
 *
 * <p>All methods may be called by any thread.
 */
final class AheadOrder {
  private final Set<SendQueue> waiting = new HashSet<>();
  // Written under the monitor; read without by whoever makes a call while nothing is sent ahead.
  private volatile long added;
  private volatile int busy;
  private long bytes;

  /** How many frames have come so far. */
  long added() {
    return added;
  }

  /** Whether nothing is on its way; until the next {@link #add}. */
  boolean isIdle() {
    return busy == 0;
  }

  /** Counts a frame; false if there are more bytes than a session may have. */
  synchronized boolean add(SendQueue queue, int more, long most) {
    added++;
    bytes += more;
    holds(queue);
    return bytes <= most;
  }

  /** A queue has something that calls wait for. */
  synchronized void holds(SendQueue queue) {
    if (waiting.add(queue)) {
      busy = waiting.size();
    }
  }

  /** Something has changed for a queue. */
  synchronized void changed(SendQueue queue, int fewer, boolean empty) {
    bytes -= fewer;
    if (empty && waiting.remove(queue)) {
      busy = waiting.size();
    }
    notifyAll();
  }

  /** Whoever waits may look whether it is to go on. */
  synchronized void wake() {
    notifyAll();
  }

  /** Waits until of the first so many frames none is left but in queues that block. */
  void await(long frames, BooleanSupplier over) {
    if (busy > 0) {
      await(() -> over.getAsBoolean() || waiting.stream().noneMatch(q -> q.holdsUp(frames)));
    }
  }

  /**
   * Waits until of the first so many frames none is left for a socket.
   *
   * @param patient false: not while the socket takes no more
   * @return whether there is none
   */
  boolean awaitAll(long frames, long socket, boolean patient, BooleanSupplier over) {
    if (busy == 0) {
      return true;
    }
    await(() ->
        over.getAsBoolean()
            || waiting.stream()
                .filter(q -> q.isOf(socket) && q.has(frames))
                .allMatch(q -> !patient && q.blocked()));
    synchronized (this) {
      return waiting.stream().noneMatch(q -> q.isOf(socket) && q.has(frames));
    }
  }

  private synchronized void await(BooleanSupplier done) {
    Uninterrupted.waitUntil(this, done);
  }
}
