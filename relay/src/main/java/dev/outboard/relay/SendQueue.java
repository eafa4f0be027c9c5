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
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * What a host has sent ahead by one slot and the device has not yet done: bytes that a socket has
 * not yet taken, and what is certain to succeed and comes between them.
 *
 * <p>The wire's reader adds, the slot's thread takes; {@link #holdsUp} and {@link #isOf} may be
 * asked by any thread. The host's word is checked here: no more than it may have on its way. After
 * an error all that belongs to the stream is thrown away, up to a piece that says that it is the
 * first; options are set and handles closed all the same.
 */
final class SendQueue {
  private static final int SHUTDOWN = SyscallTable.row("shutdown").canonical();
  private static final int SETSOCKOPT = SyscallTable.row("setsockopt").canonical();
  private static final int CLOSE = SyscallTable.row("close").canonical();

  /**
   * @param number the how-manieth of the session's
   * @param bytes of a stream, or the value of an option
   * @param length how many bytes of a stream
   */
  private record Piece(
      long number,
      boolean first,
      Frame.Ahead.Kind kind,
      int handle,
      int flags,
      MemorySegment bytes,
      int length) {
    /** There is a call to be made when its bytes are sent. */
    boolean hasCall() {
      return kind != Frame.Ahead.Kind.BYTES;
    }

    /** It belongs to the stream, and is of no use after an error there. */
    boolean streams() {
      return kind == Frame.Ahead.Kind.BYTES || kind == Frame.Ahead.Kind.END;
    }
  }

  private final AheadOrder order;

  // Guarded by this.
  private final ArrayDeque<Piece> pieces = new ArrayDeque<>();
  private int bytes;

  private volatile long oldest = Long.MAX_VALUE;
  private volatile int handle = -1;
  private volatile boolean blocked;

  // The slot's thread's: of the first piece so many bytes are sent.
  private int sentOfFirst;
  private int failed;

  /** What {@link #fill} made: so many bytes to be sent, or 0 and the call of the first piece. */
  private long filled;

  SendQueue(AheadOrder order) {
    this.order = order;
  }

  /** Takes what the host has sent; null, or what is wrong with it. */
  @Nullable String add(Frame.Ahead frame) {
    byte[] copy = new byte[frame.bytes().remaining()];
    frame.bytes().get(copy);
    int length = frame.kind() == Frame.Ahead.Kind.OPTION ? 0 : copy.length;
    boolean within;
    synchronized (this) {
      within = order.add(this, length, Frame.Ahead.SESSION_BYTES);
      pieces.add(
          new Piece(
              order.added(),
              frame.first(),
              frame.kind(),
              frame.handle(),
              frame.flags(),
              MemorySegment.ofArray(copy),
              length));
      bytes += length;
      headChanged();
      within &= bytes <= Frame.Ahead.SLOT_BYTES && pieces.size() <= Frame.Ahead.SLOT_FRAMES + 1;
    }
    return within ? null : "the host sent more ahead than it may";
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

  /** Whether of the first so many frames some are here. */
  boolean has(long frames) {
    return oldest <= frames;
  }

  /** Whether it is this socket's. */
  boolean isOf(long socket) {
    return handle == socket;
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
   * flags, and as fit; or ends the stream, sets an option, closes a handle.
   *
   * @return false if there is nothing
   */
  boolean fill(Call call) {
    int n = 0;
    Piece head;
    synchronized (this) {
      head = pieces.peek();
      if (head == null) {
        return false;
      }
      if (head.first()) {
        failed = 0;
      }
      int from = sentOfFirst;
      for (Piece p : pieces) {
        if (p.number() != head.number()
            && (p.first()
                || !p.streams()
                || p.handle() != head.handle()
                || p.flags() != head.flags())) {
          break;
        }
        int part = Math.min(p.length() - from, Call.PIECE_BYTES - n);
        MemorySegment.copy(
            p.bytes(), ValueLayout.JAVA_BYTE, from, call.data, ValueLayout.JAVA_BYTE, n, part);
        n += part;
        from = 0;
        if (n == Call.PIECE_BYTES || p.hasCall()) {
          break;
        }
      }
    }
    filled = n;
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
      call.args[3] = head.flags();
    } else if (call.number == SHUTDOWN) {
      call.args[1] = Socket.SHUT_WR;
    } else if (call.number == SETSOCKOPT) {
      call.args[1] = Socket.IPPROTO_TCP;
      call.args[2] = head.flags();
      call.args[4] = Integer.BYTES;
      MemorySegment.copy(head.bytes(), 0, call.data, 0, Integer.BYTES);
    }
    return true;
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
   * @return what the host is to know
   */
  Frame.Done made(int slot, long result) {
    if (filled == 0) {
      // Whatever came of it: there is no stream behind its end, an option's value cannot be wrong,
      // and nobody is told what came of a close.
      return take(slot, 0, 1);
    }
    // One that takes nothing and has no error would be tried for ever.
    failed = result < 0 ? (int) -result : result == 0 ? Errno.EIO : 0;
    return failed == 0 ? take(slot, Math.min(result, filled), 0) : drop(slot);
  }

  /** Throws away what came behind an error; what the host is to know, or null. */
  Frame.@Nullable Done dropped(int slot) {
    synchronized (this) {
      Piece head = pieces.peek();
      if (failed == 0 || head == null || head.first() || !head.streams()) {
        return null;
      }
    }
    return drop(slot);
  }

  private Frame.Done drop(int slot) {
    long all = -sentOfFirst;
    int ends = 0;
    synchronized (this) {
      Piece head = pieces.peek();
      for (Piece p : pieces) {
        if (p.number() != head.number() && (p.first() || !p.streams())) {
          break;
        }
        all += p.length();
        ends += p.hasCall() ? 1 : 0;
      }
    }
    return take(slot, all, ends);
  }

  /**
   * @param count bytes that are here no more
   * @param calls pieces that have a call, of which likewise
   */
  private Frame.Done take(int slot, long count, int calls) {
    int left = (int) count;
    int leftCalls = calls;
    int done = 0;
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
        done++;
        if (left == 0 && leftCalls == 0) {
          break;
        }
      }
      bytes -= (int) count;
      blocked = false;
      headChanged();
      order.changed(this, (int) count, pieces.isEmpty());
    }
    return new Frame.Done(slot, (int) count, done, failed);
  }
}
