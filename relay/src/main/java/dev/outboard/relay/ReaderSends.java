// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CarrierTask;
import dev.outboard.channel.Frame;
import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * What the wire's reader does itself of what has come ahead, as a task of the session: it sends,
 * and sets options. What has come in a row for a stream is one call. What a stream does not take is
 * left to the thread of its slot, and so is all that might have to wait.
 *
 * <p>For the wire's reader alone.
 */
final class ReaderSends {
  /** A slot by which a host sends ahead. */
  interface Owner {
    int index();

    SendQueue queue();

    /**
     * Puts bytes into the slot's data.
     *
     * @return false if the slot has been taken back
     */
    boolean put(int at, ByteBuffer bytes);

    /**
     * Has the first bytes of the slot's data sent by the task.
     *
     * @return as {@link CarrierTask#send}; all of them if the slot has been taken back
     */
    long send(CarrierTask task, int handle, int count, int flags);

    /** Has the slot's thread look at its queue. */
    void due();
  }

  /** So many frames become one call at most. */
  private static final int MOST_FRAMES = 64;

  private final WireFrames frames;
  private final CarrierTask task;

  // What has been put into an owner's data: frames of bytes, with the same handle and flags.
  private @Nullable Owner owner;
  private final Frame.@Nullable Ahead[] gathered = new Frame.Ahead[MOST_FRAMES];
  private int count;
  private int bytes;

  /** One of whose frames something has been done that its host may not know. */
  private @Nullable Owner untold;

  private @Nullable String wrong;

  private ReaderSends(WireFrames frames, CarrierTask task) {
    this.frames = frames;
    this.task = task;
  }

  /**
   * By which the calling thread sends from now on.
   *
   * @return null if it cannot
   */
  static @Nullable ReaderSends begin(WireFrames frames, CarrierTask task) {
    return task.enter() ? new ReaderSends(frames, task) : null;
  }

  /** As which the calling thread does it. */
  CarrierTask task() {
    return task;
  }

  /** The last call. */
  void end() {
    task.leave();
  }

  /** What the host has done wrong, if anything. */
  @Nullable String wrong() {
    return wrong;
  }

  /**
   * Does what a frame says, soon. Its bytes are copied.
   *
   * @return false if it has to go into its queue, behind what has been done here so far
   */
  boolean takes(Owner of, Frame.Ahead frame) {
    if ((owner != null && !owner.equals(of)) || (untold != null && !untold.equals(of))) {
      handedOn();
    }
    if (frame.kind() == Frame.Ahead.Kind.BYTES) {
      return gathers(of, frame);
    }
    settle();
    return frame.kind() == Frame.Ahead.Kind.OPTION && sets(of, frame);
  }

  private boolean gathers(Owner of, Frame.Ahead frame) {
    int more = frame.bytes().remaining();
    Frame.Ahead before = count > 0 ? gathered[count - 1] : null;
    if (before != null
        && (frame.first()
            || frame.handle() != before.handle()
            || frame.flags() != before.flags()
            || bytes + more > Call.PIECE_BYTES
            || count == MOST_FRAMES)) {
      settle();
    }
    if (count == 0 && !of.queue().leavesToReader(frame)) {
      return false;
    }
    if (!of.put(bytes, frame.bytes().duplicate())) {
      return true; // nobody is there to be told of it
    }
    owner = of;
    gathered[count++] = frame;
    bytes += more;
    return true;
  }

  private boolean sets(Owner of, Frame.Ahead frame) {
    int value = MemorySegment.ofBuffer(frame.bytes()).get(ValueLayout.JAVA_INT_UNALIGNED, 0);
    if (!of.queue().leavesToReader(frame)
        || !task.setOption(frame.handle(), frame.flags(), value)) {
      return false;
    }
    of.queue().madeByReader(0, 1);
    untold = of;
    return true;
  }

  /** Sends what has been gathered: before anything else of the session's is done. */
  void settle() {
    Owner of = owner;
    Frame.Ahead head = gathered[0];
    if (of == null || head == null) {
      return;
    }
    long result = of.send(task, head.handle(), bytes, head.flags());
    untold = of;
    if (result == bytes) {
      of.queue().madeByReader(bytes, count);
    } else if (result > 0 || result == -Errno.EAGAIN || result == -Errno.EOPNOTSUPP) {
      if (result == -Errno.EOPNOTSUPP) {
        of.queue().keepFromReader(head.handle());
      }
      leave(of, (int) Math.max(result, 0));
    } else {
      // One that takes nothing and has no error would be tried for ever.
      int errno = result == 0 ? Errno.EIO : (int) -result;
      of.queue().failsByReader(errno, head.handle(), bytes, count);
    }
    for (int i = 0; i < count; i++) {
      gathered[i] = null;
    }
    count = 0;
    bytes = 0;
    owner = null;
  }

  /** Leaves to the slot's thread what the stream has not taken. */
  private void leave(Owner of, int taken) {
    int whole = 0;
    int at = 0;
    SendQueue queue = of.queue();
    for (int i = 0; i < count; i++) {
      Frame.Ahead frame = gathered[i];
      if (frame == null) {
        break;
      }
      int end = at + frame.bytes().remaining();
      if (end <= taken) {
        whole++;
      } else {
        if (at <= taken && taken > 0) {
          queue.madeByReader(taken, whole);
        }
        int before = Math.max(taken - at, 0);
        ByteBuffer rest = frame.bytes().duplicate();
        String more = queue.add(frame.with(rest.position(rest.position() + before)), before);
        wrong = wrong == null ? more : wrong;
      }
      at = end;
    }
    if (queue.wakes()) {
      of.due();
    }
  }

  /** All that has come was handed on: what was gathered is sent, and its host told. */
  void handedOn() {
    settle();
    Owner of = untold;
    untold = null;
    if (of == null) {
      return;
    }
    SendQueue queue = of.queue();
    Frame.Done done = queue.due(of.index());
    if (done == null) {
      if (queue.needsTeller()) {
        of.due();
      }
    } else if (frames.offer(done)) {
      queue.isTold(done);
    } else {
      queue.notTold(done);
      of.due(); // the slot's thread finds that it is to be told
    }
  }
}
