// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.Frame;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * What a host has sent ahead by one slot and the device has not yet done: bytes that a socket has
 * not yet taken, and what is certain to succeed and comes between them.
 *
 * <p>The wire's reader adds, the slot's thread takes, or the reader on its behalf after {@link
 * #wakes}; {@link #holdsUp} and {@link #isOf} may be asked by any thread. The host's word is
 * checked here: no more than it may have on its way. After an error all that belongs to the stream
 * is thrown away, up to a piece that says that it is the first; options are set and handles closed
 * all the same.
 *
 * <p>The host is told at once of an error and of all that was on its way last, and of what comes
 * before that only where it could be short of room: each word of it costs a record of the link at
 * both ends, and two wake-ups over there. Of what looks like a long transfer it is told of the last
 * a moment later, as more is about to come.
 */
final class SendQueue {
  private static final int SHUTDOWN = SyscallTable.row("shutdown").canonical();
  private static final int SETSOCKOPT = SyscallTable.row("setsockopt").canonical();
  private static final int CLOSE = SyscallTable.row("close").canonical();

  /**
   * @param number the how-manieth of the session's
   * @param value of an option, as it came
   * @param length how many bytes of a stream
   */
  private record Piece(
      long number,
      boolean first,
      Frame.Ahead.Kind kind,
      int handle,
      int flags,
      int value,
      int length) {
    /** There is a call to be made when its bytes are sent. */
    boolean hasCall() {
      return kind != Frame.Ahead.Kind.BYTES;
    }

    /** It sets TCP_CORK, after which bytes are held back that do not fill a segment. */
    boolean corks() {
      return kind == Frame.Ahead.Kind.OPTION && flags == Socket.TCP_CORK && value != 0;
    }

    /** It belongs to the stream, and is of no use after an error there. */
    boolean streams() {
      return kind == Frame.Ahead.Kind.BYTES || kind == Frame.Ahead.Kind.END;
    }
  }

  /** So many bytes or frames are told of before all are done. */
  static final int TELL_BYTES = Frame.Ahead.SLOT_BYTES / 8;

  static final int TELL_FRAMES = Frame.Ahead.SLOT_FRAMES / 8;

  /** After so many nanoseconds without more of a long transfer, all is told of. */
  static final long TELL_NANOS = 1_000_000;

  /** A long transfer: so many calls one after the other with so many bytes each. */
  static final int LONG_CALLS = 4;

  static final int LONG_BYTES = 32 * 1024;

  private final AheadOrder order;

  // Guarded by this.
  private final ArrayDeque<Piece> pieces = new ArrayDeque<>();
  private final ByteQueue bytes;

  /** The slot's thread was told that there is something, and has not found nothing since. */
  private boolean told;

  private volatile long oldest = Long.MAX_VALUE;
  private volatile int handle = -1;
  private volatile boolean blocked;

  // An error that the host is not told of yet: since which frame, and of what.
  private volatile long failing = Long.MAX_VALUE;
  private volatile int failingHandle = -1;

  // The slot's thread's: of the first piece so many bytes are sent.
  private int sentOfFirst;
  private int failed;

  // Of whoever makes the calls: so many in a row have sent LONG_BYTES at least.
  private int longCalls;

  // Guarded by this: what is on its way no more and the host has not been told of.
  private int untoldBytes;
  private int untoldFrames;

  /** Likewise: the slot's thread sees to it that the host is told. */
  private boolean telling;

  /** Likewise: a socket that the wire's reader does not send to. */
  private int notByReader = -1;

  /** Likewise: the wire's reader has made so many calls. */
  private int madeByReader;

  /** What {@link #fill} made: so many bytes to be sent, or 0 and the call of the first piece. */
  private long filled;

  /** If bytes: behind the first piece, which corks. */
  private boolean corks;

  /**
   * @param order that of all queues of the session
   * @param pool where the memory of its bytes comes from
   */
  SendQueue(AheadOrder order, ByteQueue.Pool pool) {
    this.order = order;
    this.bytes = new ByteQueue(pool);
  }

  /**
   * Whether the wire's reader may make the next call itself: nothing is here, and the slot's thread
   * looks for nothing until it {@link #wakes}. Then it is the reader that makes the calls, up to
   * the next {@link #add}.
   *
   * @param frame that the call is for
   */
  synchronized boolean leavesToReader(Frame.Ahead frame) {
    if (told || !pieces.isEmpty()) {
      return false;
    }
    if (frame.first()) {
      failed = 0;
      notByReader = -1;
    }
    return failed == 0 && frame.handle() != notByReader;
  }

  /** The reader cannot send there: up to the next frame that is the first it does not try to. */
  synchronized void keepFromReader(int socket) {
    notByReader = socket;
  }

  /**
   * Notes what the reader has done of what has come.
   *
   * @param count bytes that the socket has taken
   * @param frames of which nothing is left
   */
  synchronized void madeByReader(int count, int frames) {
    madeByReader++;
    longCalls = count >= LONG_BYTES ? longCalls + 1 : 0;
    untoldBytes += count;
    untoldFrames += frames;
  }

  /** Whether the host is to be told at once; who calls has the monitor. */
  private boolean isToBeTold() {
    return isUntold()
        && ((pieces.isEmpty() && longCalls < LONG_CALLS)
            || failed != 0
            || untoldBytes >= TELL_BYTES
            || untoldFrames >= TELL_FRAMES);
  }

  /** How often that was: if it changes, more is coming. */
  synchronized int madeByReader() {
    return madeByReader;
  }

  /**
   * Notes an error of the socket, for which what has come is thrown away; as {@link #madeByReader}.
   */
  synchronized void failsByReader(int errno, int socket, int count, int frames) {
    madeByReader(count, frames);
    failed = errno;
    longCalls = 0;
    fails(order.added(), socket);
    order.holds(this);
  }

  /** Calls that come after so many frames wait until the host has been told. */
  private void fails(long since, int socket) {
    failingHandle = socket;
    failing = since;
  }

  /** What was to be told is on the wire; there may be another error since. */
  synchronized void isTold(Frame.Done done) {
    if (done.errno() != 0 && !isUntold()) {
      failing = Long.MAX_VALUE;
      order.changed(this, 0, pieces.isEmpty());
    }
  }

  /** The slot has been taken back: no call waits any more for what is here. By its thread. */
  synchronized void abandon() {
    int left = bytes.size();
    pieces.clear();
    bytes.remove(left);
    sentOfFirst = 0;
    headChanged();
    failing = Long.MAX_VALUE;
    order.changed(this, left, true);
  }

  /** Takes what the host has sent; null, or what is wrong with it. */
  @Nullable String add(Frame.Ahead frame) {
    return add(frame, 0);
  }

  /**
   * The same of what is left of a frame, if there is nothing here.
   *
   * @param before how many bytes of it the socket has taken
   */
  @Nullable String add(Frame.Ahead frame, int before) {
    ByteBuffer from = frame.bytes();
    boolean option = frame.kind() == Frame.Ahead.Kind.OPTION;
    int value = option ? MemorySegment.ofBuffer(from).get(ValueLayout.JAVA_INT_UNALIGNED, 0) : 0;
    int length = option ? 0 : from.remaining();
    synchronized (this) {
      if (!order.add(this, length, Frame.Ahead.SESSION_BYTES)
          || bytes.size() + length > Frame.Ahead.SLOT_BYTES
          || pieces.size() > Frame.Ahead.SLOT_FRAMES) {
        return "the host sent more ahead than it may";
      }
      if (length > 0) {
        bytes.add(from);
      }
      pieces.add(
          new Piece(
              order.added(),
              frame.first(),
              frame.kind(),
              frame.handle(),
              frame.flags(),
              value,
              before + length));
      if (before > 0) {
        sentOfFirst = before;
      }
      headChanged();
    }
    return null;
  }

  /**
   * Whether the slot's thread is to be told that there is something: it has found nothing since it
   * was told last, or is about to. Who asks tells it.
   */
  synchronized boolean wakes() {
    boolean wakes = !told && !pieces.isEmpty();
    told |= wakes;
    return wakes;
  }

  private void headChanged() {
    Piece head = pieces.peek();
    handle = head == null ? -1 : head.handle();
    oldest = head == null ? Long.MAX_VALUE : head.number();
  }

  /** Whether a call that came after so many frames has to wait for this queue. */
  boolean holdsUp(long frames) {
    return has(frames) && !blocked;
  }

  /** Whether of the first so many frames some are here, or the host is to hear of an error. */
  boolean has(long frames) {
    return oldest <= frames || failing <= frames;
  }

  /** Whether it is this socket's. */
  boolean isOf(long socket) {
    return handle == socket || (failing != Long.MAX_VALUE && failingHandle == socket);
  }

  boolean blocked() {
    return blocked;
  }

  /** The socket takes no more for now. */
  void blocks() {
    blocked = true;
    order.changed(this, 0, false);
  }

  /**
   * Makes the call that comes next of what is here: sends as many bytes as there are with the same
   * flags, and as fit; or ends the stream, sets an option, closes a handle. An option that holds
   * back what is sent behind it, as a header before a file, is set by the same call.
   *
   * @return false if there is nothing, or only what is to be {@link #dropped}
   */
  boolean fill(Call call) {
    int n = 0;
    Piece head;
    Piece sends;
    synchronized (this) {
      head = pieces.peek();
      if (head == null) {
        told = false;
        return false;
      }
      if (isDropped(head)) {
        return false; // it has come since dropped() looked
      }
      if (head.first()) {
        failed = 0;
      }
      sends = failed == 0 && head.corks() ? corked(head) : head;
      int from = sentOfFirst;
      for (Piece p : pieces) {
        if (p.number() < sends.number()) {
          continue;
        }
        if (p.number() != sends.number()
            && (p.first()
                || !p.streams()
                || p.handle() != sends.handle()
                || p.flags() != sends.flags())) {
          break;
        }
        n += Math.min(p.length() - from, Call.PIECE_BYTES - n);
        from = 0;
        if (n == Call.PIECE_BYTES || p.hasCall()) {
          break;
        }
      }
    }
    filled = n;
    corks = !sends.equals(head);
    bytes.peek(call.data, n); // without the monitor, which the wire's reader wants
    call.start(
        n > 0
            ? PseudoCall.SEND
            : switch (head.kind()) {
              case BYTES, END -> SHUTDOWN;
              case OPTION -> SETSOCKOPT;
              case CLOSE -> CLOSE;
            });
    call.args[0] = head.handle();
    if (n > 0) {
      call.args[2] = n;
      call.args[3] = sends.flags();
      call.args[5] = corks ? 1 : 0;
    } else if (call.number == SHUTDOWN) {
      call.args[1] = Socket.SHUT_WR;
    } else if (call.number == SETSOCKOPT) {
      call.args[1] = Socket.IPPROTO_TCP;
      call.args[2] = head.flags();
      call.args[4] = Integer.BYTES;
      call.data.set(ValueLayout.JAVA_INT, 0, head.value());
    }
    return true;
  }

  /** The bytes behind a piece that corks; if there are none, that one itself. */
  private Piece corked(Piece head) {
    for (Piece p : pieces) {
      if (p.number() != head.number()) {
        return p.length() > 0 && p.handle() == head.handle() && !p.first() ? p : head;
      }
    }
    return head;
  }

  /** Whether the call that {@link #fill} made closes a handle. */
  boolean closes() {
    synchronized (this) {
      Piece head = pieces.peek();
      return filled == 0 && head != null && head.kind() == Frame.Ahead.Kind.CLOSE;
    }
  }

  /**
   * Notes what has come of the call that {@link #fill} made.
   *
   * @param result of it
   * @return what the host is to know now, if anything; if not, and it {@link #hasToTell} once
   *     {@link #fill} has found nothing, it is to know {@link #lastUntold} within {@link
   *     #TELL_NANOS}
   */
  Frame.@Nullable Done made(int slot, long result) {
    if (filled == 0) {
      // Whatever came of it: there is no stream behind its end, an option's value cannot be wrong,
      // and nobody is told what came of a close.
      return take(0, 1) ? untold(slot) : null;
    }
    // One that takes nothing and has no error would be tried for ever.
    int error = result < 0 ? (int) -result : result == 0 ? Errno.EIO : 0;
    synchronized (this) {
      failed = error;
    }
    if (error != 0) {
      return drop(slot);
    }
    return take(Math.min(result, filled), corks ? 1 : 0) ? untold(slot) : null;
  }

  private boolean isUntold() {
    return untoldBytes > 0 || untoldFrames > 0;
  }

  /**
   * Whether the slot's thread has to see to it that the host is told: if so, it does from now on.
   */
  synchronized boolean hasToTell() {
    telling = isUntold();
    return telling;
  }

  /** What the host is to know at once of what is on its way no more; null if nothing. */
  synchronized Frame.@Nullable Done due(int slot) {
    return isToBeTold() ? untold(slot) : null;
  }

  /** Whether it has to, and does not yet; from now on it does: who asks has it look. */
  synchronized boolean needsTeller() {
    boolean needs = !telling && isUntold();
    telling |= needs;
    return needs;
  }

  /** As {@link #untold}, by the slot's thread, which has nothing to tell for now. */
  synchronized Frame.@Nullable Done lastUntold(int slot) {
    telling = false;
    return untold(slot);
  }

  /** What the host does not know yet of what is on its way no more; null if it knows all. */
  synchronized Frame.@Nullable Done untold(int slot) {
    if (!isUntold()) {
      return null;
    }
    Frame.Done done = new Frame.Done(slot, untoldBytes, untoldFrames, failed);
    untoldBytes = 0;
    untoldFrames = 0;
    return done;
  }

  /** Takes back what {@link #due} gave the reader and has not been told. */
  synchronized void notTold(Frame.Done done) {
    untoldBytes += done.bytes();
    untoldFrames += done.frames();
    if (done.errno() != 0) {
      // Again: another thread may have told of one before meanwhile, and found nothing here.
      failing = order.added();
      order.holds(this);
    }
  }

  /** Throws away what came behind an error; what the host is to know, or null. */
  Frame.@Nullable Done dropped(int slot) {
    synchronized (this) {
      if (!isDropped(pieces.peek())) {
        return null;
      }
    }
    return drop(slot);
  }

  /** Whether it is behind an error. */
  private boolean isDropped(@Nullable Piece head) {
    return failed != 0 && head != null && !head.first() && head.streams();
  }

  /** Whether nothing is here. */
  synchronized boolean isEmpty() {
    return pieces.isEmpty();
  }

  private Frame.@Nullable Done drop(int slot) {
    long all = -sentOfFirst;
    int ends = 0;
    synchronized (this) {
      Piece head = pieces.peek();
      if (head != null) {
        fails(head.number(), head.handle());
      }
      for (Piece p : pieces) {
        if (p.number() != head.number() && (p.first() || !p.streams())) {
          break;
        }
        all += p.length();
        ends += p.hasCall() ? 1 : 0;
      }
    }
    take(all, ends);
    return untold(slot);
  }

  /**
   * @param count bytes that are here no more
   * @param calls pieces that have a call, of which likewise
   * @return whether the host is to be told at once
   */
  private boolean take(long count, int calls) {
    int left = (int) count;
    int leftCalls = calls;
    synchronized (this) {
      for (Piece p = pieces.peek(); p != null; p = pieces.peek()) {
        int part = Math.min(left, p.length() - sentOfFirst);
        sentOfFirst += part;
        left -= part;
        if (sentOfFirst < p.length() || (p.hasCall() && leftCalls == 0)) {
          break;
        }
        leftCalls -= p.hasCall() ? 1 : 0;
        pieces.removeFirst();
        sentOfFirst = 0;
        untoldFrames++;
        if (left == 0 && leftCalls == 0) {
          break;
        }
      }
      bytes.remove((int) count);
      blocked = false;
      headChanged();
      order.changed(this, (int) count, pieces.isEmpty() && failing == Long.MAX_VALUE);
      untoldBytes += (int) count;
      longCalls = count >= LONG_BYTES && calls == 0 ? longCalls + 1 : 0;
      return isToBeTold();
    }
  }
}
