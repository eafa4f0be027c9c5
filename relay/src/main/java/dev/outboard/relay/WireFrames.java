// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.CallMaker;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.syscalls.Call;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Frames over a {@link Wire}: those of the control link, and three more that carry what call slots
 * hold ({@code docs/protocol.md}).
 *
 * <pre>
 *   Data   slot u32, offset u32, bytes           changed there, as of the Call or Reply that follows
 *   Call   slot u32, sequence u32, number u32, flags u32, six arguments u64
 *   Reply  slot u32, sequence u32, result s64, poll mask s32, birth s32, stamp s64
 * </pre>
 *
 * <p>Any thread sends; one receives. What cannot be sent is lost with the wire, whose reader says
 * so.
 */
final class WireFrames {
  private static final int DATA = 16;
  private static final int CALL = 17;
  private static final int REPLY = 18;
  private static final int DATA_FIELDS = 8;
  private static final int CALL_BODY = 16 + 6 * 8;
  private static final int REPLY_BODY = 8 + 8 + 8 + 8;
  private static final int MOST_DATA = FrameCodec.MAX_BYTES - FrameCodec.HEADER_BYTES - DATA_FIELDS;

  /** Room for all that one call changes, in one write. */
  private static final int OUT_BYTES = 4 * FrameCodec.MAX_BYTES;

  private static final int IN_BYTES = 4 * FrameCodec.MAX_BYTES;

  /** Of a reply that a reader sends: with its frames' headers it is less than twice as long. */
  static final int OFFERED_EXTENT = 4096;

  /** Who sends a frame is done in so many microseconds, unless it has to wait. */
  private static final long OFFER_MICROS = 200;

  /** What comes; each method returns null, or why the wire must end. */
  interface Receiver {
    /** A frame of the control link; the bytes in it are valid up to {@link #handedOn}. */
    @Nullable String frame(Frame frame);

    /** Bytes of a slot's data: all that remains of the buffer, valid during the call. */
    @Nullable String data(int slot, int offset, ByteBuffer bytes);

    /** A call; the six arguments are valid during this one. */
    @Nullable String call(int slot, int sequence, int number, int flags, long[] args);

    @Nullable String reply(int slot, int sequence, long result, int mask, int birth, long stamp);

    /** All that has come was handed on: more has to be waited for, or to be read at least. */
    default void handedOn() {}
  }

  private final Wire wire;
  // Who has it may wait for what the wire's reader reads.
  private final ReentrantLock sending = new ReentrantLock();
  private final ByteBuffer out = direct(OUT_BYTES);
  private final ByteBuffer in = direct(IN_BYTES);
  private final long[] args = new long[6];
  private volatile long heard = System.nanoTime();
  private volatile boolean heardAnything;

  WireFrames(Wire wire) {
    this.wire = wire;
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** When something came last, or this was made, as {@link System#nanoTime}. */
  long heard() {
    return heard;
  }

  /** Whether anything has come at all. */
  boolean heardAnything() {
    return heardAnything;
  }

  /** Sends a frame of the control link. */
  void send(Frame frame) {
    sending.lock();
    try {
      FrameCodec.encode(frame, out);
      write();
    } finally {
      sending.unlock();
    }
  }

  /**
   * The same by the wire's reader, which does not wait for what is to come by it.
   *
   * @return false if somebody else has to send it
   */
  boolean offer(Frame frame) {
    if (!locked()) {
      return false;
    }
    try {
      FrameCodec.encode(frame, out);
      return wire.offer(out);
    } finally {
      sending.unlock();
    }
  }

  /** The same of one that can wait for another to go with, for a few milliseconds. */
  void sendLater(Frame frame) {
    put(frame);
    keep();
  }

  private boolean locked() {
    try {
      return sending.tryLock(OFFER_MICROS, TimeUnit.MICROSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** The same of one that stays until something is sent, which the caller sees to. */
  void put(Frame frame) {
    sending.lock();
    try {
      FrameCodec.encode(frame, out);
      put();
    } finally {
      sending.unlock();
    }
  }

  /**
   * Sends bytes ahead by as many frames as they take, all in one write.
   *
   * @param first of the first of them, as of a {@link Frame.Ahead}; likewise handle and flags
   * @param bytes one at least
   * @param now false if they may stay here until the caller's {@link #push} or {@link #keep}
   */
  void sendAhead(int slot, boolean first, int handle, int flags, MemorySegment bytes, boolean now) {
    sending.lock();
    try {
      boolean gathers = wire.gathers();
      long all = bytes.byteSize();
      out.clear();
      for (long at = 0; at < all; ) {
        int count = (int) Math.min(all - at, Frame.Ahead.MAX_BYTES);
        if (out.remaining() < FrameCodec.MAX_BYTES) {
          flush();
          out.clear();
        }
        FrameCodec.beginAhead(slot, first && at == 0, handle, flags, count, out);
        if (gathers) {
          out.flip();
          put();
          put(bytes.asSlice(at, count).asByteBuffer());
          out.clear();
        } else {
          MemorySegment.copy(bytes, at, MemorySegment.ofBuffer(out), 0, count);
          out.position(out.position() + count);
        }
        at += count;
      }
      out.flip();
      if (now) {
        write();
      } else {
        put();
      }
    } finally {
      sending.unlock();
    }
  }

  /** Has on its way what may have stayed here. */
  void push() {
    try {
      wire.push();
    } catch (IOException e) {
      wire.writingFailed();
    }
  }

  /** Leaves it here for a few milliseconds, if nothing else takes it along. */
  void keep() {
    wire.keep();
  }

  private void put() {
    put(out);
  }

  private void put(ByteBuffer from) {
    try {
      wire.put(from);
    } catch (IOException e) {
      wire.writingFailed(); // as below
    }
  }

  /**
   * Sends a call and what it needs: all that has changed in its slot's data up to its extent.
   *
   * @param flags those of its frame
   * @param extent what they say, in bytes
   */
  void sendCall(int slot, int sequence, Call call, int flags, SlotMirror mirror, long extent) {
    sending.lock();
    try {
      putChanges(slot, mirror, extent);
      begin(CALL, CALL_BODY);
      out.putInt(slot).putInt(sequence).putInt(call.number).putInt(flags);
      for (long arg : call.args) {
        out.putLong(arg);
      }
      flush();
    } finally {
      sending.unlock();
    }
  }

  /**
   * Sends a call's end, and all that it has changed in its slot's data up to its extent.
   *
   * @param extent what the call said with its flags, in bytes
   */
  void sendReply(
      int slot, int sequence, long result, CallMaker made, SlotMirror mirror, long extent) {
    sending.lock();
    try {
      putChanges(slot, mirror, extent);
      putReply(slot, sequence, result, made);
      flush();
    } finally {
      sending.unlock();
    }
  }

  /**
   * The same, as {@link #offer}.
   *
   * @param extent at most {@link #OFFERED_EXTENT}
   */
  boolean offerReply(
      int slot, int sequence, long result, CallMaker made, SlotMirror mirror, long extent) {
    if (!locked()) {
      return false;
    }
    try {
      // Before it is known at the other end what has changed.
      if (extent > OFFERED_EXTENT || !wire.offers(2 * OFFERED_EXTENT)) {
        return false;
      }
      putChanges(slot, mirror, extent);
      putReply(slot, sequence, result, made);
      out.flip();
      wire.offer(out);
      return true;
    } finally {
      sending.unlock();
    }
  }

  private void putReply(int slot, int sequence, long result, CallMaker made) {
    begin(REPLY, REPLY_BODY);
    out.putInt(slot).putInt(sequence).putLong(result);
    out.putInt(made.readyMask()).putInt(made.newBirth()).putLong(made.readyStamp());
  }

  private void putChanges(int slot, SlotMirror mirror, long extent) {
    out.clear();
    for (long at = 0; mirror.next(at, extent, MOST_DATA); at = mirror.end()) {
      int bytes = (int) (mirror.end() - mirror.start());
      if (out.remaining() < FrameCodec.MAX_BYTES + FrameCodec.HEADER_BYTES + CALL_BODY) {
        flush();
        out.clear();
      }
      begin(DATA, DATA_FIELDS + bytes);
      out.putInt(slot).putInt((int) mirror.start());
      mirror.copy(out);
    }
  }

  private void begin(int kind, int body) {
    out.putInt(FrameCodec.HEADER_BYTES + body).putShort((short) kind).putShort((short) 0);
  }

  private void flush() {
    out.flip();
    write();
  }

  private void write() {
    try {
      wire.write(out);
    } catch (IOException e) {
      // The reader ends, too, and says why, which the other end may have said; nobody can do
      // without.
      wire.writingFailed();
    }
  }

  /** Hands on all that comes, until the wire's end; returns why it has ended. */
  String serve(Receiver receiver) {
    in.clear();
    while (true) {
      try {
        int n = wire.read(in);
        if (n < 0) {
          return in.position() > 0
              ? "the other side closed the link in the middle of a frame"
              : "the other side closed the link";
        }
      } catch (IOException e) {
        return "the link failed: " + e.getMessage();
      }
      heard = System.nanoTime();
      heardAnything = true; // after the time, which the shorter limit counts from
      in.flip();
      int filled = in.limit();
      String why = null;
      while (why == null && filled - in.position() >= FrameCodec.HEADER_BYTES) {
        int start = in.position();
        int length = FrameCodec.length(in);
        if (length < 0) {
          why = "a frame header says " + in.getInt(start) + " bytes, which none has";
        } else if (filled - start < length) {
          break;
        } else {
          in.limit(start + length);
          why = receive(receiver, start);
          in.limit(filled).position(start + length);
        }
      }
      if (why != null) {
        return why;
      }
      receiver.handedOn();
      in.compact();
    }
  }

  /** One whole frame, from {@code start} to the buffer's limit. */
  private @Nullable String receive(Receiver receiver, int start) {
    int kind = in.getShort(start + 4);
    if (kind < DATA || kind > REPLY) {
      in.position(start);
      return switch (FrameCodec.decode(in)) {
        case Decoded.Received(Frame frame) -> receiver.frame(frame);
        case Decoded.Malformed(String what) -> "it sent what is not a frame: " + what;
        case Decoded.Ended(String what) -> what;
      };
    }
    in.position(start + FrameCodec.HEADER_BYTES);
    int body = in.remaining();
    if (in.getShort(start + 6) != 0
        || (kind == DATA ? body <= DATA_FIELDS : body != (kind == CALL ? CALL_BODY : REPLY_BODY))) {
      return "a call's frame has a wrong length";
    }
    int slot = in.getInt();
    return switch (kind) {
      case DATA -> receiver.data(slot, in.getInt(), in);
      case CALL -> call(receiver, slot);
      default ->
          receiver.reply(slot, in.getInt(), in.getLong(), in.getInt(), in.getInt(), in.getLong());
    };
  }

  private @Nullable String call(Receiver receiver, int slot) {
    int sequence = in.getInt();
    int number = in.getInt();
    int flags = in.getInt();
    for (int i = 0; i < args.length; i++) {
      args[i] = in.getLong();
    }
    return receiver.call(slot, sequence, number, flags, args);
  }
}
