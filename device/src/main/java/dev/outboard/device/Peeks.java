// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.channel.SlotLayout;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * What the thread of a lent slot has looked at for its process to receive, before it was asked.
 *
 * <p>After a receive the thread looks at the other sockets on which the process has received by
 * this slot, and copies what they have into the slot (MSG_PEEK): there the process takes it without
 * a call. The bytes stay in the kernel's queue until then; what was taken is thrown out of it
 * (MSG_TRUNC) before any other call of any session is made. So there are never two truths, and what
 * was not taken can be taken back at any time. It is, before
 *
 * <ul>
 *   <li>any call on the same handle, from wherever it comes, begins;
 *   <li>anybody is told of an edge of it: who is told that more has come must not receive less.
 * </ul>
 *
 * <p><b>Nobody else may be receiving</b> while something is on offer. A call enters its handle, and
 * then looks whether it is on offer ({@link #settle}); here it is said first that it is, and then
 * looked whether somebody has entered it. Both are sequentially consistent, so one of the two sees
 * the other. Only then are the bytes copied, so what a call that is out has received is not among
 * them.
 *
 * <p><b>Replies.</b> What a receive by the slot finds is offered in the same way, by its reply
 * ({@link #receive}): a process that is ended before it has the bytes has not received them, and
 * they are there for others. Such an offer is as good as a receive that has been made. So it is
 * taken back only before a call that receives itself, and that gives the process a moment to take
 * it.
 *
 * <p>{@link #look}, {@link #received}, {@link #receive}, {@link #endReply} and {@link
 * #settlesWithin} belong to the slot's thread, all else may be called by any thread with a task,
 * with scratch memory of its own.
 */
final class Peeks {
  /** Sockets of one slot, the ones received on last. */
  private static final int KNOWN = 64;

  /** Bytes of scratch memory that {@link #look} and {@link #received} need. */
  static final long SCRATCH_BYTES = Math.max(Pollfds.bytes(KNOWN), SendsAhead.SCRATCH_BYTES);

  /** So many receives are at most answered without a look, after looks that found nothing. */
  private static final int MOST_SKIPPED = 64;

  /** In use: it is open, and somebody is in a call on it. */
  private static final int OPEN_AND_HERE = 2;

  /** How long a call waits that would take a reply's offer back: it is about to be taken. */
  private static final long GRACE_NANOS = 30_000;

  /** How often a receive begins anew since another slot has been faster. */
  private static final int TRIES = 4;

  /** From so many bytes on a reply's are not left in the queue until the next call. */
  private static final int LONG_REPLY = 8 * 1024;

  /** How long the slot's thread sleeps before it looks for that; twice as long each time. */
  private static final long FIRST_LOOK_NANOS = 1_000_000;

  private static final int MOST_LOOKS = 7;

  private static final int EVENTS = Poll.POLLIN | Poll.POLLPRI | Poll.POLLOUT | Poll.POLLRDHUP;

  private final Kernel kernel;
  private final Handles handles;
  private final Readiness readiness;
  private final PeekedReceives table;

  private final Handles.@Nullable Handle[] known = new Handles.@Nullable Handle[KNOWN];
  private final Handles.@Nullable Handle[] polled = new Handles.@Nullable Handle[KNOWN];
  private int skipped;
  private int skip;

  // Guarded by this: whose an entry is that was published.
  private final Handles.@Nullable Handle[] offered =
      new Handles.@Nullable Handle[SlotLayout.PEEKED_ENTRIES];
  private boolean closed;

  // Written under this: of which socket a reply has something on offer.
  private volatile Handles.@Nullable Handle reply;
  private int replyBytes;
  private boolean replyIsMessage;
  private boolean replyIsCopied;
  private int looks;

  /** Whether the last reply has offered something; the slot's thread's. */
  private boolean replyOffers;

  Peeks(Kernel kernel, Handles handles, Readiness readiness, PeekedReceives table) {
    this.kernel = kernel;
    this.handles = handles;
    this.readiness = readiness;
    this.table = table;
  }

  /** The process has received on a handle by this slot. The caller has entered it. */
  void received(Handles.Handle handle, MemorySegment scratch) {
    int at = handle.fd & KNOWN - 1;
    if (known[at] != handle
        && SendsAhead.mayGoAhead(kernel, handle, scratch)
        && SendsAhead.option(kernel, handle.fd, Socket.SO_PROTOCOL, scratch)
            == Socket.IPPROTO_TCP) {
      known[at] = handle;
    }
  }

  /**
   * Looks what there is to receive.
   *
   * @param ring of the same slot
   */
  void look(SendsAhead.Ring ring, MemorySegment scratch) {
    if (++skipped <= skip) {
      return;
    }
    skipped = 0;
    synchronized (this) {
      if (closed) {
        return;
      }
      settleTaken();
      int count = 0;
      for (Handles.Handle handle : known) {
        if (handle != null
            && handle.peeks == null
            && handle.sends == Handles.Sends.AHEAD
            && offered[PeekedReceives.of(handle.fd)] == null) {
          Pollfds.set(scratch, 0, count, handle.fd, EVENTS);
          polled[count++] = handle;
        }
      }
      int generation = ring.generation();
      long since = System.nanoTime();
      long ready = count == 0 ? 0 : Pollfds.poll(kernel, scratch, 0, count, 0);
      for (int i = 0; i < count && ready > 0; i++) {
        int found = Pollfds.found(scratch, 0, i);
        Handles.Handle handle = polled[i];
        // What is at an end, broken or urgent is for a call.
        if (handle != null && (found & ~Poll.POLLOUT) == Poll.POLLIN) {
          boolean room = (found & Poll.POLLOUT) != 0;
          offer(handle, ring, room ? SlotLayout.CREDIT_BYTES : 0, generation, since);
        } else if (handle != null && (found & Poll.POLLNVAL) != 0) {
          forgetIfGone(handle);
        }
      }
      skip = ready > 0 ? 0 : Math.min(MOST_SKIPPED, 2 * skip + 1);
    }
  }

  private void offer(
      Handles.Handle handle, SendsAhead.Ring ring, int credit, int generation, long since) {
    int entry = PeekedReceives.of(handle.fd);
    Handles.Handle entered = offered[entry] == null ? handles.enter(handle.fd) : null;
    if (entered == null) {
      forgetIfGone(handle);
      return;
    }
    try {
      if (entered != handle || !handle.offers(this)) {
        forgetIfGone(handle);
        return;
      }
      long r = 0;
      // A call may have come and gone since the poll, and have had it show what is received.
      if (handle.uses() == OPEN_AND_HERE
          && handle.sends == Handles.Sends.AHEAD
          && !handle.unpeekable
          && !handle.isBeingTaken()
          && !handle.failed()) {
        r =
            kernel.syscall(
                Canonical.RECVFROM,
                handle.fd,
                table.data(entry).address(),
                PeekedReceives.MOST,
                Socket.MSG_PEEK | Socket.MSG_DONTWAIT,
                0,
                0);
      }
      // All that there is, and no less: who receives less than was asked for may take it for all.
      if (r <= 0 || r >= PeekedReceives.MOST) {
        handle.peeks = null;
        return;
      }
      boolean ahead = credit > 0 && handle.ring == ring && handle.rest == null;
      offered[entry] = handle;
      table.publish(entry, handle.fd, handle.birth, (int) r, ahead ? credit : 0, generation, since);
    } finally {
      readiness.closeIfLast(entered);
    }
  }

  private void forgetIfGone(Handles.Handle handle) {
    int at = handle.fd & KNOWN - 1;
    if (known[at] == handle && !handles.isOpen(handle)) {
      known[at] = null;
    }
  }

  /** Throws out what the process has received without a call. */
  void settleTaken() {
    if (!table.isTaken()) {
      return;
    }
    synchronized (this) {
      if (closed) {
        return;
      }
      int takings = table.takings();
      for (int entry = 0; entry < offered.length; entry++) {
        Handles.Handle handle = offered[entry];
        if (handle != null && table.isTaken(entry)) {
          endUnused(entry, handle);
        }
      }
      if (reply != null && table.isReplyTaken()) {
        endUnusedReply();
      }
      // Not before: who finds nothing taken goes on with its call.
      table.settled(takings);
    }
  }

  /** Takes back what is on offer of a handle, which the caller has entered. */
  void settle(Handles.Handle handle) {
    if (reply == handle) {
      awaitTaken();
    }
    synchronized (this) {
      settleEntry(handle);
      if (reply == handle) {
        endReply(true);
      }
    }
  }

  /** The same, but for a reply's offer that is not taken yet. */
  synchronized void settleLooks(Handles.Handle handle) {
    settleEntry(handle);
    if (reply == handle && table.isReplyTaken()) {
      endReply(true);
    }
  }

  private void settleEntry(Handles.Handle handle) {
    int entry = PeekedReceives.of(handle.fd);
    if (offered[entry] == handle) {
      end(entry, true);
    }
  }

  private void awaitTaken() {
    long start = System.nanoTime();
    while (table.isReplyOnOffer() && System.nanoTime() - start < GRACE_NANOS) {
      Thread.onSpinWait();
    }
  }

  /**
   * Receives without waiting, and leaves in the queue what is found: it is the process's when it
   * has taken it. Nothing of an earlier reply is on offer.
   *
   * @param handle that the caller has entered
   * @param sequence of the call whose reply is to offer it
   * @param flags without MSG_PEEK and MSG_DONTWAIT
   * @param messages whether a receive takes one message, which may be empty
   * @param copies whether MSG_TRUNC may copy
   * @return what the receive would have come to; {@link LentCalls#TRAP} if others are receiving
   */
  long receive(
      Handles.Handle handle,
      int sequence,
      long address,
      long bytes,
      long flags,
      boolean messages,
      boolean copies) {
    for (int i = 0; i < TRIES; i++) {
      handle.settlePeeks();
      synchronized (this) {
        if (closed) {
          return LentCalls.TRAP;
        }
        if (!handle.offers(this)) {
          continue;
        }
        long r =
            handle.isBeingTaken()
                ? LentCalls.TRAP
                : kernel.syscall(
                    Canonical.RECVFROM,
                    handle.fd,
                    address,
                    bytes,
                    flags | Socket.MSG_PEEK | Socket.MSG_DONTWAIT,
                    0,
                    0);
        if (r > 0 || (r == 0 && messages)) {
          replyBytes = (int) r;
          replyIsMessage = messages;
          replyIsCopied = copies;
          looks = 0;
          reply = handle;
          replyOffers = true;
          table.offerReply(sequence);
        } else {
          handle.peeks = null;
        }
        return r;
      }
    }
    return LentCalls.TRAP;
  }

  /** Takes back what an earlier reply has offered: the process makes another call. */
  void endReply() {
    if (!replyOffers) {
      return; // Most calls are no receives, and pay for none of it.
    }
    replyOffers = false;
    synchronized (this) {
      if (!closed) {
        endUnusedReply();
        table.noReply();
      }
    }
  }

  /**
   * How long the slot's thread may sleep before it is to call {@link #settleTaken}: much that was
   * received is to make room in the queue, though the process calls nothing for long.
   *
   * @return nanoseconds; 0 for as long as it likes
   */
  long settlesWithin() {
    if (reply == null) {
      return 0; // Mostly; it is asked before each wait for a call.
    }
    synchronized (this) {
      return reply == null || replyBytes < LONG_REPLY || looks == MOST_LOOKS
          ? 0
          : FIRST_LOOK_NANOS << looks++;
    }
  }

  /** Takes everything back; nothing is offered any more, and the memory may go. */
  synchronized void close() {
    closed = true;
    for (int entry = 0; entry < offered.length; entry++) {
      Handles.Handle handle = offered[entry];
      if (handle != null) {
        endUnused(entry, handle);
      }
    }
    endUnusedReply();
    table.close();
  }

  /** As {@link #endUnused}. */
  private void endUnusedReply() {
    Handles.Handle handle = reply;
    if (handle == null) {
      return;
    }
    Handles.Handle entered = handles.enter(handle.fd);
    endReply(entered == handle);
    if (entered != null) {
      readiness.closeIfLast(entered);
    }
  }

  private void endReply(boolean open) {
    Handles.Handle handle = reply;
    if (handle == null) {
      return;
    }
    reply = null;
    if (table.endReply() && open) {
      // Where it may be copied, nothing else is there.
      MemorySegment to = table.data(0);
      int most = replyIsCopied ? PeekedReceives.MOST : replyBytes;
      discard(handle, replyBytes, replyIsMessage ? 0 : most, to);
    }
    // Last, as in `end`.
    handle.peeks = null;
  }

  /** Takes an entry back whose handle the caller has not entered; it may be closed by now. */
  private void endUnused(int entry, Handles.Handle handle) {
    Handles.Handle entered = handles.enter(handle.fd);
    end(entry, entered == handle);
    if (entered != null) {
      readiness.closeIfLast(entered);
    }
  }

  private void end(int entry, boolean open) {
    Handles.Handle handle = offered[entry];
    offered[entry] = null;
    if (handle == null) {
      return;
    }
    int bytes = table.end(entry);
    if (bytes != PeekedReceives.UNTAKEN && open) {
      discard(handle, bytes, bytes, table.data(entry));
    }
    // Last: who does not find it on offer goes on at once.
    handle.peeks = null;
  }

  /**
   * Under MSG_TRUNC TCP throws away what it would copy: {@code tcp(7)}.
   *
   * @param most bytes of one receive; 0 of a message, which is thrown away as a whole
   */
  private void discard(Handles.Handle handle, int bytes, int most, MemorySegment data) {
    int left = bytes;
    int failures = 0;
    while (failures < SendsAhead.MAX_REPEATS) {
      long r =
          kernel.syscall(
              Canonical.RECVFROM,
              handle.fd,
              data.address(),
              Math.min(left, most),
              Socket.MSG_TRUNC | Socket.MSG_DONTWAIT,
              0,
              0);
      if (ShadowThread.isRestart(r)) {
        failures++;
        continue;
      }
      left -= (int) Math.max(0, r);
      if (r <= 0 || left <= 0 || most == 0) {
        break;
      }
    }
    readiness.touched(handle);
  }
}
