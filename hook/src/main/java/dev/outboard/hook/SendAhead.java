// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SocketOptions;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * Sends what programs send over a link on its way, and does not wait until the device has sent it:
 * a send ends when its bytes are in a window, as natively when they are in the socket's buffer.
 *
 * <p>The window is a file's, whoever holds that: it needs no care at dup, fork, exec or SCM_RIGHTS.
 * It is bounded by {@link Frame.Ahead}'s numbers; a sender that finds it full waits, or gets EAGAIN
 * and OUT when there is room. While anything is on its way the file counts as used, so that its
 * close comes after that.
 *
 * <p>Calls that come later are made later: the device's end of the link sees to that, for all that
 * its sockets take at once. What they do not take is overtaken by all calls but those to which
 * {@link #order} says otherwise.
 *
 * <p>An error is the file's next send's, receive's, or SO_ERROR's, and ends sending ahead there.
 *
 * <p>Calls whose result is certain go in the same way: options that cannot fail, between the bytes
 * where they were set ({@link #option}), and closes, whose result nobody is told ({@link #close}).
 *
 * <p>Slots: one for each file that has something on its way, made when first needed and kept, and
 * one for all closes. Until there is one, sends and closes are waited for.
 *
 * <p>Any thread may call.
 */
final class SendAhead implements AutoCloseable {
  /** Another result than any call has: the call is to be made, and to be waited for. */
  static final long NOT_TAKEN = Long.MIN_VALUE + 1;

  private static final int PLAIN = Socket.MSG_NOSIGNAL | Socket.MSG_DONTWAIT | Socket.MSG_MORE;

  /** How long to wait for what is on the link already. */
  private static final long SETTLE_NANOS = 1_000_000_000;

  /** The most files that may have something on its way at a time. */
  private static final int MAX_SLOTS = 32;

  private static final int SHUTDOWN = DeviceCalls.canonical("shutdown");
  private static final int SETSOCKOPT = DeviceCalls.canonical("setsockopt");
  private static final int CONNECT = DeviceCalls.canonical("connect");
  private static final int SENDFILE = DeviceCalls.canonical("sendfile");

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final Readiness readiness;

  /** Whether calls other than sends go ahead. */
  private final boolean certain;

  // Guarded by this.
  private final @Nullable SendWindow[] bySlot;
  private final ArrayDeque<CallSlot> idle = new ArrayDeque<>();
  private int slots;
  private boolean attaching;
  private int closing;
  private long bytes;
  private boolean lost;

  // Likewise: by which closes go, and how many are on their way.
  private @Nullable CallSlot closer;
  private boolean attachingCloser;
  private int closes;

  /** Windows with something on its way; changed under the monitor, read by all calls. */
  private final AtomicInteger busy = new AtomicInteger();

  private final LinkedBlockingQueue<Runnable> work = new LinkedBlockingQueue<>();
  private final Thread worker;
  private boolean over; // the worker's

  private final LongAdder sends = new LongAdder();
  private final LongAdder certainCalls = new LongAdder();

  /**
   * @param certain whether calls whose result is certain go ahead, too
   */
  SendAhead(DeviceLink link, DeviceCalls calls, Readiness readiness, boolean certain) {
    this.certain = certain;
    this.link = link;
    this.calls = calls;
    this.readiness = readiness;
    this.bySlot = new @Nullable SendWindow[link.welcome().slots()];
    this.worker = Thread.ofPlatform().daemon().name("outboard-ahead").start(this::work);
  }

  /** How many sends did not wait, for statistics. */
  long sends() {
    return sends.sum();
  }

  /** How many other calls did not wait, for statistics. */
  long certainCalls() {
    return certainCalls.sum();
  }

  /**
   * Puts the bytes of a send on their way, if the device tells of the file's readiness. Between
   * {@link DeviceCalls#begin} and {@link DeviceCalls#end}.
   *
   * @param at where in the data of the caller's slot they begin, or -1 if the send is not only of
   *     bytes
   * @param count how many
   * @param flags of send(2)
   * @return how many it took, all of them unless that would have to wait; {@code -errno}; or {@link
   *     #NOT_TAKEN}
   */
  long send(Notification n, Placeholder p, OpenFile file, long at, long count, int flags) {
    if (at < 0 || count <= 0 || (flags & ~PLAIN) != 0 || !isFit(p, file)) {
      return NOT_TAKEN;
    }
    SendWindow w = file.window(this);
    MemorySegment bytes = n.slot().call().data.asSlice(at, count);
    long started = n.timed() ? System.nanoTime() : 0;
    long taken = 0;
    while (true) {
      n.willBlock(); // the link may have to be waited for
      long left = leaveAll(w, p, bytes.asSlice(taken), flags, true);
      taken += left < 0 ? ~left : left;
      if (taken == count) {
        if (started != 0) {
          n.deviceTime(System.nanoTime() - started, 0, 0);
        }
        return taken;
      }
      if (left < 0) {
        int put = taken > 0 ? 0 : file.takeDeferredError();
        if (put != 0) {
          p.pin(file.pinned()); // it shows no more
        }
        return taken > 0 ? taken : put != 0 ? -put : NOT_TAKEN;
      }
      long r =
          (flags & Socket.MSG_DONTWAIT) != 0 || p.nonBlocking()
              ? refuse(w, p, false)
              : w.waiters.await(calls, n, () -> w.full);
      if (r < 0) {
        return taken > 0 ? taken : r;
      }
    }
  }

  /**
   * Puts on their way what a program has handed over without a trap. What is not taken here is to
   * trap, and finds the socket as this has. What is taken may stay on this machine until the
   * caller's {@link DeviceLink#pushAhead} or {@link DeviceLink#keepAhead}.
   *
   * @param bytes at least one
   * @param flags of send(2)
   * @param nanos how long to wait for room at most, if the call may wait at all
   * @return how many it took; or {@link #NOT_TAKEN}
   */
  long sendNow(Placeholder p, OpenFile file, MemorySegment bytes, int flags, long nanos) {
    if ((flags & ~PLAIN) != 0 || !isFit(p, file)) {
      return NOT_TAKEN;
    }
    SendWindow w = file.window(this);
    boolean waits = (flags & Socket.MSG_DONTWAIT) == 0 && !p.nonBlocking();
    long begun = waits ? System.nanoTime() : 0;
    long taken = 0;
    while (true) {
      long left = leaveAll(w, p, bytes.asSlice(taken), flags, false);
      taken += left < 0 ? ~left : left;
      long time = waits ? begun + nanos - System.nanoTime() : 0;
      if (left < 0 || taken == bytes.byteSize() || time <= 0) {
        return taken > 0 ? taken : NOT_TAKEN;
      }
      link.pushAhead(); // It is what there has to be room after.
      synchronized (this) {
        Uninterrupted.waitUntil(this, time, () -> !w.full);
      }
    }
  }

  /**
   * Whether the device's kernel is known to hold back what does not fill a segment, up to 200 ms:
   * {@code TCP_CORK} in tcp(7).
   */
  boolean isCorked(OpenFile file) {
    SendWindow w = file.windowIfAny();
    if (w == null) {
      return false;
    }
    synchronized (this) {
      return w.corked;
    }
  }

  /** Whether a send may go ahead: not on a connection that is known to be broken, or unheard of. */
  private static boolean isFit(Placeholder p, OpenFile file) {
    return file.mayGoAhead()
        && p.isConnected()
        && p.watched()
        && (p.mask() & (Poll.POLLERR | Poll.POLLHUP)) == 0;
  }

  /**
   * Sends as many bytes as there is room for now.
   *
   * @param now as of {@link DeviceLink#sendBytesAhead}
   * @return how many; or the complement of that if no more can go ahead
   */
  private long leaveAll(SendWindow w, Placeholder p, MemorySegment bytes, int flags, boolean now) {
    long count = bytes.byteSize();
    long taken = 0;
    int granted = 1;
    w.sending.lock();
    try {
      while (taken < count && granted > 0) {
        granted = leave(w, p, bytes.asSlice(taken), count - taken, flags, now);
        taken += Math.max(0, granted);
      }
    } finally {
      w.sending.unlock();
    }
    if (taken == count) {
      sends.increment();
    }
    return granted < 0 ? ~taken : taken;
  }

  /**
   * Sends as many bytes as there is room for now; who calls has {@link SendWindow#sending}.
   *
   * @return how many; 0 if there is no room; -1 if they cannot go ahead
   */
  private int leave(
      SendWindow w, Placeholder p, MemorySegment from, long most, int flags, boolean now) {
    CallSlot slot;
    boolean first;
    int count;
    synchronized (this) {
      if (lost || !w.file.mayGoAhead()) {
        return -1;
      }
      if (w.full) {
        return 0;
      }
      first = w.frames == 0;
      count = (int) Math.min(most, Frame.Ahead.SLOT_BYTES - w.bytes);
      count = (int) Math.min(count, Frame.Ahead.SESSION_BYTES - bytes);
      if (w.frames + Frame.Ahead.frames(count) > Frame.Ahead.SLOT_FRAMES) {
        count = (Frame.Ahead.SLOT_FRAMES - w.frames) * Frame.Ahead.MAX_BYTES;
      }
      if (count <= 0) {
        if (first) {
          return -1; // others have all the room
        }
        w.full = true;
        return 0;
      }
      if (first && !begin(w)) {
        return -1;
      }
      slot = w.slot;
      if (slot == null) {
        return -1;
      }
      w.placeholder = p;
      w.bytes += count;
      w.granted += count;
      w.frames += Frame.Ahead.frames(count);
      bytes += count;
    }
    // Outside: what comes back must not wait for what goes out.
    link.sendBytesAhead(
        slot, first, w.file.handle(), flags & Socket.MSG_MORE, from.asSlice(0, count), now);
    return count;
  }

  /**
   * Sets an option of TCP behind what is on its way, if that is sure to be done before whatever is
   * called next: not behind bytes that may have to wait for room.
   *
   * @param name one that {@link Frame.Ahead#isOption}
   * @param value the int, 4 bytes
   * @param now false if it may stay on this machine for a moment where that makes no difference:
   *     while bytes are held back anyway
   * @return false if it is to be a call as any other
   */
  boolean option(Placeholder p, OpenFile file, int name, MemorySegment value, boolean now) {
    if (!certain || !file.mayGoAhead() || !p.isConnected()) {
      return false;
    }
    SendWindow w = file.window(this);
    boolean corks = name == Socket.TCP_CORK && value.get(ValueLayout.JAVA_INT_UNALIGNED, 0) != 0;
    w.sending.lock();
    try {
      CallSlot slot;
      boolean first;
      synchronized (this) {
        w.corked &= name != Socket.TCP_CORK; // also if it is a call that changes it
        boolean mayWait = w.bytes > 0 && w.arrived != w.granted;
        if (lost || !file.mayGoAhead() || mayWait || w.frames >= Frame.Ahead.SLOT_FRAMES) {
          return false;
        }
        first = w.frames == 0;
        if (first && !begin(w)) {
          return false;
        }
        slot = w.slot;
        if (slot == null) {
          return false;
        }
        w.placeholder = p;
        w.frames++;
        w.corked |= corks;
      }
      link.sendAhead(
          slot, first, Frame.Ahead.Kind.OPTION, file.handle(), name, value, now || !corks);
      certainCalls.increment();
      return true;
    } finally {
      w.sending.unlock();
    }
  }

  /**
   * Closes a handle that nobody uses any more. Whatever is called after this comes after it.
   *
   * @param after as {@link Call#flags}: which frames of the link it must come after
   * @param now false if nobody can tell when it is closed: then it may stay here for a moment
   * @return false if that is to be a call as any other
   */
  boolean close(int handle, int after, boolean now) {
    CallSlot slot;
    boolean first;
    synchronized (this) {
      if (!certain || lost || closes >= Frame.Ahead.SLOT_FRAMES) {
        return false;
      }
      slot = closer;
      if (slot == null) {
        if (!attachingCloser) {
          attachingCloser = true;
          work.add(this::attachCloser);
        }
        return false;
      }
      first = closes == 0;
      closes++;
    }
    link.closeAhead(slot, first, handle, after, now);
    certainCalls.increment();
    return true;
  }

  private void attachCloser() {
    // Without one, each close is waited for.
    CallSlot slot = calls.attachOwn();
    synchronized (this) {
      closer = slot;
    }
  }

  /**
   * Ends a file's stream behind what is on its way.
   *
   * @return false if nothing is: then that is a call as any other
   */
  boolean end(OpenFile file) {
    SendWindow w = file.windowIfAny();
    if (w == null) {
      return false;
    }
    w.sending.lock();
    try {
      CallSlot slot;
      synchronized (this) {
        slot = w.slot;
        if (slot == null || !file.mayGoAhead()) {
          return false;
        }
        file.endStream();
        w.frames++;
        roomAgain(w, w.placeholder, false);
      }
      link.sendAhead(slot, false, Frame.Ahead.Kind.END, file.handle(), 0, MemorySegment.NULL, true);
      return true;
    } finally {
      w.sending.unlock();
    }
  }

  /** Gives a window a slot; who calls has the monitor. */
  private boolean begin(SendWindow w) {
    CallSlot slot = idle.poll();
    if (slot == null) {
      if (!attaching && slots < MAX_SLOTS) {
        attaching = true;
        work.add(this::attach);
      }
      return false;
    }
    if (!w.file.use()) {
      idle.push(slot);
      return false;
    }
    w.slot = slot;
    bySlot[slot.index()] = w;
    busy.incrementAndGet();
    return true;
  }

  private void attach() {
    CallSlot slot = calls.attachOwn();
    synchronized (this) {
      attaching = false;
      slots = slot == null ? MAX_SLOTS : slots + 1;
      if (slot != null) {
        idle.push(slot);
      }
    }
  }

  /**
   * A send finds no room, or what it must follow is held up: whoever polls is told of the room that
   * will be.
   *
   * @param untilEmpty not before nothing is on its way
   * @return -EAGAIN, or 0 if there is room meanwhile
   */
  private synchronized long refuse(SendWindow w, Placeholder p, boolean untilEmpty) {
    if (untilEmpty && w.frames > 0) {
      w.full = true;
      w.untilEmpty = true;
    }
    if (!w.full) {
      return untilEmpty ? -Errno.EAGAIN : 0;
    }
    w.shown = true;
    readiness.full(p, true);
    return -Errno.EAGAIN;
  }

  /**
   * Says of a call that is about to be made whether it has to come after all that went ahead on its
   * file, and ends sending ahead where the call has it show.
   *
   * @param c whose descriptors are handles
   * @return what to tell {@link #followed} when the call has ended; -1 for nothing
   */
  long order(Call c, OpenFiles files) {
    Row row = SyscallTable.byCanonical(c.number);
    if (row == null || row.overtakes()) {
      return -1;
    }
    boolean ends = ends(c);
    if (busy.get() == 0 && !ends) {
      return -1;
    }
    OpenFile file = row.fdIndex() == 0 ? files.get((int) c.args[0]) : null;
    if (file == null) {
      return -1;
    }
    if (ends) {
      file.endAhead();
    }
    SendWindow w = file.windowIfAny();
    boolean follows = row.mayGoAhead() || c.number == SENDFILE;
    if (w == null || !(follows || ends || c.number == CONNECT)) {
      return -1;
    }
    Placeholder p;
    long before;
    synchronized (this) {
      p = w.frames == 0 ? null : w.placeholder;
      before = w.granted;
    }
    if (p == null) {
      return -1;
    }
    // A send behind the end of its stream waits for nothing natively.
    boolean waits =
        !follows || !(nonBlockingCall(c, row) || p.nonBlocking() || sendsBehindEnd(c, row, file));
    c.flags |= waits ? Call.AFTER : Call.AFTER_OR_AGAIN;
    return before;
  }

  /**
   * A call that came after all that went ahead on its file was made: what went before it has
   * arrived, though the device's word of it may still be on its way.
   *
   * @param before what {@link #order} returned
   */
  synchronized void followed(OpenFile file, long before) {
    SendWindow w = file.windowIfAny();
    if (w != null) {
      w.arrived = Math.max(w.arrived, before);
    }
  }

  /** Whether from this call on it shows on its socket what is waited for. */
  private static boolean ends(Call c) {
    if (c.number == SETSOCKOPT) {
      return !SocketOptions.leavesSends(c.args[1], c.args[2]);
    }
    return c.number == SHUTDOWN && c.args[1] != Socket.SHUT_RD;
  }

  private static boolean nonBlockingCall(Call c, Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      Arg arg = row.arg(i);
      if (arg.kind() == Arg.Kind.FLAGS && arg.set().equals("MSG")) {
        return (c.args[i] & Socket.MSG_DONTWAIT) != 0;
      }
    }
    return false;
  }

  private static boolean sendsBehindEnd(Call c, Row row, OpenFile file) {
    return file.streamEnded() && (row.sends() || c.number == SENDFILE);
  }

  /**
   * A call that was to come after what went ahead has ended with EAGAIN.
   *
   * @return what it is to end with: -EPIPE behind the end of the stream, whatever is held up
   */
  int heldUp(Call c, OpenFile file) {
    Row row = SyscallTable.byCanonical(c.number);
    if (row != null && sendsBehindEnd(c, row, file)) {
      return -Errno.EPIPE;
    }
    SendWindow w = file.windowIfAny();
    Placeholder p = null;
    if (w != null) {
      synchronized (this) {
        p = w.placeholder;
      }
    }
    if (w != null && p != null) {
      refuse(w, p, true);
    }
    return -Errno.EAGAIN;
  }

  /**
   * Waits, for a bounded time, until it is known what has become of all that went ahead on a file:
   * a call that came behind it has ended, and the device's word of it may come behind the reply.
   */
  void settle(OpenFile file) {
    SendWindow w = file.windowIfAny();
    if (w != null) {
      synchronized (this) {
        Uninterrupted.waitUntil(this, SETTLE_NANOS, () -> w.frames == 0);
      }
    }
  }

  /** How many bytes of a file are on their way. */
  int pending(OpenFile file) {
    SendWindow w = file.windowIfAny();
    if (w == null) {
      return 0;
    }
    synchronized (this) {
      return w.bytes;
    }
  }

  /** What {@link dev.outboard.channel.LinkListener#sent} says: the device's word. */
  void sent(int slot, int sentBytes, int sentFrames, int errno) {
    int handle = -1;
    synchronized (this) {
      if (closer != null && slot == closer.index()) {
        closes -= Math.min(sentFrames, closes);
        notifyAll();
        return;
      }
      SendWindow w = slot < bySlot.length ? bySlot[slot] : null;
      if (w == null || lost) {
        return;
      }
      int count = Math.min(sentBytes, w.bytes);
      w.bytes -= count;
      bytes -= count;
      w.frames -= Math.min(sentFrames, w.frames);
      Placeholder p = w.placeholder;
      if (errno != 0 && !w.failed) {
        w.failed = true;
        w.file.endAhead();
        w.file.deferError(errno);
        if (p != null) {
          p.pin(w.file.pinned());
        }
      }
      boolean empty = w.frames == 0;
      if (empty && end(w, slot)) {
        closing++;
        handle = w.file.handle();
      }
      roomAgain(w, p, empty);
    }
    if (handle >= 0) {
      int last = handle;
      work.add(() -> closeLast(last));
    }
  }

  /** Nothing of a window is on its way; whether its file is to be closed now. */
  private boolean end(SendWindow w, int slot) {
    bytes -= w.bytes;
    w.bytes = 0;
    bySlot[slot] = null;
    CallSlot free = w.slot;
    if (free != null) {
      idle.push(free);
      w.slot = null;
    }
    busy.decrementAndGet();
    notifyAll();
    return w.file.unuse();
  }

  private void roomAgain(SendWindow w, @Nullable Placeholder p, boolean empty) {
    boolean room =
        empty
            || (!w.untilEmpty
                && w.bytes <= Frame.Ahead.SLOT_BYTES / 3 * 2
                && w.frames <= Frame.Ahead.SLOT_FRAMES / 3 * 2)
            || !w.file.mayGoAhead();
    if (!w.full || !room) {
      return;
    }
    w.full = false;
    w.untilEmpty = false;
    if (w.shown && p != null) {
      readiness.full(p, false);
    }
    w.shown = false;
    w.waiters.wake();
    notifyAll();
  }

  private void closeLast(int handle) {
    calls.closeUnused(handle);
    synchronized (this) {
      closing--;
      notifyAll();
    }
  }

  /** The device is gone, and with it all that is on its way. */
  synchronized void lost() {
    lost = true;
    closes = 0;
    notifyAll();
    for (int i = 0; i < bySlot.length; i++) {
      SendWindow w = bySlot[i];
      if (w != null) {
        w.file.endAhead();
        w.frames = 0;
        end(w, i);
        roomAgain(w, w.placeholder, true);
      }
    }
  }

  /** Waits until the device has all that is on its way, but not longer than this. */
  synchronized void finish(Duration limit) {
    Uninterrupted.waitUntil(
        this, limit.toNanos(), () -> busy.get() == 0 && closing == 0 && closes == 0);
  }

  private void work() {
    while (!over) {
      try {
        work.take().run();
      } catch (InterruptedException e) {
        // Nobody interrupts it; close() says when it is over.
      }
    }
  }

  @Override
  public void close() {
    work.add(() -> over = true);
    Uninterrupted.join(worker);
  }
}
