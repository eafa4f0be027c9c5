// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.Frame;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.BitSet;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Answers what programs receive over a link from what the device has told before they asked.
 *
 * <p>The device looks at a socket's queue and takes nothing out of it: the bytes are there until a
 * program has received them here, and the device is told so. Thus what is here may be thrown away
 * at any time, and any call but a plain receive finds the socket as it would natively, if it comes
 * behind what was told ({@link Call#SENT_KNOWN}).
 *
 * <p>A plain receive is read, readv, recvfrom or recvmsg without flags that make a difference. The
 * first one of a file is a call and has the device look from then on. Any other call that receives
 * ends that ({@link #before}); the next plain one begins anew. After some calls it is over for the
 * file: those that make it show, such as SO_RCVTIMEO or MSG_PEEK.
 *
 * <p>A receive that finds nothing here waits here for what comes; one that does not wait asks the
 * device, whose answer comes behind what was there.
 *
 * <p>The window is the open file's, whoever holds that. Its bounds are {@link Frame.Looked}'s, kept
 * by the device and checked here. Any thread may call.
 */
final class ReceiveAhead {
  /** Another result than any call has: the call is to be made. */
  static final long NOT_TAKEN = SendAhead.NOT_TAKEN;

  /** Likewise: nothing is here. */
  static final long NOTHING = Long.MIN_VALUE + 2;

  private static final int PLAIN =
      Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | Socket.MSG_CMSG_CLOEXEC;

  /** These look at a queue, or go round it, by what looking ahead changes for a moment. */
  private static final int PECULIAR =
      Socket.MSG_PEEK | Socket.MSG_OOB | Socket.MSG_TRUNC | Socket.MSG_ERRQUEUE;

  /** The device is told at the latest of so many bytes that were received. */
  private static final int MOST_UNTOLD = 64 * 1024;

  /** From here on a wait counts as one that signals must end. */
  private static final long SHORT_NANOS = 2_000_000;

  private static final int MOST_SKIPPED = 10;

  /** So many threads may find room for one more file at once. */
  private static final int MOST_THREADS = 256;

  private static final int RECVFROM = DeviceCalls.canonical("recvfrom");
  private static final int RECVMSG = DeviceCalls.canonical("recvmsg");
  private static final int SENDFILE = DeviceCalls.canonical("sendfile");
  private static final int SETSOCKOPT = DeviceCalls.canonical("setsockopt");
  private static final int GETSOCKOPT = DeviceCalls.canonical("getsockopt");
  private static final int SHUTDOWN = DeviceCalls.canonical("shutdown");

  private static final Set<Row> PLAIN_ROWS =
      Set.of(
          SyscallTable.row("read"),
          SyscallTable.row("readv"),
          SyscallTable.row("recvfrom"),
          SyscallTable.row("recvmsg"));

  /** Calls that take bytes out of a queue on the device. */
  private static final BitSet RECEIVES =
      receives("read", "readv", "preadv2", "recvfrom", "recvmsg", "splice", "sendfile");

  // Options that make no difference to who receives: of the socket, of TCP, of IP, of IPv6.
  private static final Set<Integer> SOCKET_OPTIONS =
      Set.of(1, 2, 5, 6, 7, 8, 9, 12, 13, 15, 21, 32, 33, 36, 47);
  private static final Set<Integer> TCP_OPTIONS =
      Set.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 18, 23, 25, 30);
  private static final Set<Integer> IP_OPTIONS = Set.of(1, 2, 10, 15, 24);
  private static final Set<Integer> IPV6_OPTIONS = Set.of(16, 26, 67);
  private static final int SOL_IP = 0;
  private static final int SOL_IPV6 = 41;
  private static final int TCP_ZEROCOPY_RECEIVE = 35;

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final Readiness readiness;
  private final Placeholders placeholders;
  private final OpenFiles files;

  /** Windows that are on. */
  private final Set<ReceiveWindow> active = ConcurrentHashMap.newKeySet();

  private final AtomicInteger issued;
  private final AtomicInteger generations = new AtomicInteger();

  /** Windows with something on offer. */
  private final Set<ReceiveWindow> offering = ConcurrentHashMap.newKeySet();

  /** Bytes that are here, of all windows. */
  private final AtomicLong bytes = new AtomicLong();

  // Guarded by this.
  private @Nullable CallSlot slot;
  private boolean noSlot;

  private final Object arrivals = new Object();
  private volatile int arrived; // written under arrivals
  private volatile boolean lost;

  private final LongAdder receives = new LongAdder();

  ReceiveAhead(
      DeviceLink link,
      DeviceCalls calls,
      Readiness readiness,
      Placeholders placeholders,
      OpenFiles files) {
    this.link = link;
    this.calls = calls;
    this.readiness = readiness;
    this.placeholders = placeholders;
    this.files = files;
    this.issued = calls.issued();
  }

  private static BitSet receives(String... names) {
    BitSet numbers = new BitSet();
    for (String name : names) {
      numbers.set(DeviceCalls.canonical(name));
    }
    return numbers;
  }

  /** How many receives did not ask the device, for statistics. */
  long receives() {
    return receives.sum();
  }

  private static boolean plain(Row row, int flags) {
    return (flags & ~PLAIN) == 0 && PLAIN_ROWS.contains(row);
  }

  /**
   * Receives what is here, or will be. Between {@link DeviceCalls#begin} and {@link
   * DeviceCalls#end}.
   *
   * @param flags of recv(2)
   * @return bytes; 0 only if none were asked for; {@code -errno}; or {@link #NOT_TAKEN}
   */
  long receive(Notification n, Row row, long[] args, Placeholder p, OpenFile file, int flags) {
    ReceiveWindow w = file.lookedAt();
    if (w == null || !plain(row, flags)) {
      return NOT_TAKEN;
    }
    boolean asked = false;
    while (true) {
      long r = take(n, row, args, p, w);
      if (r != NOTHING) {
        return r;
      }
      p.heldBy(n.process().pidfd(), n.intArg(0));
      if ((flags & Socket.MSG_DONTWAIT) != 0 || p.nonBlocking()) {
        if (asked) {
          return -Errno.EAGAIN;
        }
        asked = true;
        r = ask(n, file);
      } else {
        r = await(n, w);
      }
      if (r < 0) {
        return r;
      }
    }
  }

  /** Has the device tell what it has, before the answer. */
  private long ask(Notification n, OpenFile file) {
    long r;
    do {
      Call c = n.slot().call();
      c.start(PseudoCall.LOOK);
      c.args[0] = file.handle();
      r = calls.execute(n, n.slot());
    } while (r == DeviceCalls.AGAIN);
    return r;
  }

  /**
   * Offers what is here to a process that takes it by itself; until it has, it is here, for whoever
   * else may receive it.
   *
   * @param by where it is offered, with the reply to the call {@code sequence}
   * @param to where the bytes go
   * @return how many; {@link #NOTHING} if something may come; or {@link #NOT_TAKEN}
   */
  long offer(OpenFile file, PeekedReceives by, int sequence, MemorySegment to) {
    ReceiveWindow w = file.lookedAt();
    if (w == null) {
      return NOT_TAKEN;
    }
    w.reading.lock();
    try {
      settle(w);
      byte[] some;
      synchronized (w) {
        if (w.waits()) {
          return NOTHING;
        }
        // What comes with an end is to be found with it.
        if (w.errno != 0 || w.ended || w.bytes() == 0) {
          return NOT_TAKEN;
        }
        some = w.first(to.byteSize());
        w.offered = new ReceiveWindow.Offer(by, some.length);
      }
      calls.receives();
      offering.add(w);
      MemorySegment.copy(some, 0, to, ValueLayout.JAVA_BYTE, 0, some.length);
      by.offerReply(sequence);
      return some.length;
    } finally {
      w.reading.unlock();
    }
  }

  /** Waits for a bounded time until something is here of a file; whether it is. */
  boolean awaitSome(OpenFile file, long nanos) {
    ReceiveWindow w = file.lookedAt();
    if (w == null) {
      return false;
    }
    synchronized (w) {
      Uninterrupted.waitUntil(w, nanos, () -> !w.waits());
      return !w.waits();
    }
  }

  /** What processes have taken is here no more; to be asked before it matters what is here. */
  void settleTaken() {
    for (ReceiveWindow w : offering) {
      ReceiveWindow.Offer o;
      synchronized (w) {
        o = w.offered;
      }
      // Not the lock before that: whoever has it may wait for a program's memory.
      if (o != null && o.by().isReplyTaken()) {
        settle(w, o::equals);
      }
    }
  }

  /** Ends what was offered there, if it still is: either it was taken, or it cannot be any more. */
  void settle(OpenFile file, PeekedReceives by) {
    ReceiveWindow w = file.lookedAt();
    if (w != null) {
      settle(w, o -> o.by() == by);
    }
  }

  private void settle(ReceiveWindow w, Predicate<ReceiveWindow.Offer> which) {
    boolean sample;
    w.reading.lock();
    try {
      ReceiveWindow.Offer o;
      synchronized (w) {
        o = w.offered;
      }
      sample = o != null && which.test(o) && settle(w);
    } finally {
      w.reading.unlock();
    }
    if (sample) {
      calls.sample(w.file);
    }
  }

  /**
   * Ends what is on offer, if anything is; who calls has {@link ReceiveWindow#reading}.
   *
   * @return whether the file's end was behind what was taken, so that its readiness is to be asked
   *     for, unless a call on the file follows: its reply has that, too
   */
  private boolean settle(ReceiveWindow w) {
    ReceiveWindow.Offer o;
    synchronized (w) {
      o = w.offered;
      w.offered = null;
    }
    if (o == null) {
      return false;
    }
    offering.remove(w);
    if (!o.by().endReply()) {
      return false;
    }
    receives.increment();
    int received;
    boolean ends;
    synchronized (w) {
      if (!w.on) {
        return false; // lost meanwhile
      }
      received = received(w, o.bytes());
      boolean empty = w.bytes() == 0;
      Placeholder p = placeholders.byHandle(w.file.handle());
      if (empty && p != null) {
        readiness.look(p, w.begun, false, false);
      }
      ends = empty && w.ended;
    }
    tell(w, received);
    if (ends) {
      synchronized (w) {
        if (w.on) {
          off(w, placeholders.byHandle(w.file.handle()));
        }
      }
    }
    return ends;
  }

  private long take(Notification n, Row row, long[] args, Placeholder p, ReceiveWindow w) {
    boolean sample = false;
    long r;
    w.reading.lock();
    try {
      settle(w);
      synchronized (w) {
        if (w.errno != 0) {
          return -w.errno;
        }
        if (w.waits()) {
          return NOTHING;
        }
        if (w.bytes() == 0) {
          if (w.on) {
            off(w, p);
          }
          return NOT_TAKEN;
        }
      }
      Call c = n.slot().call();
      r = HostMarshaller.encode(row, args, n.memory(), c);
      if (r < 0) {
        return calls.memoryError(n, r);
      }
      if (!n.valid()) {
        return -Errno.EINTR;
      }
      byte[] some;
      synchronized (w) {
        some = w.first(c.carried);
      }
      calls.receives();
      r = HostMarshaller.deliver(row, args, c, some, n.memory());
      int taken = r < 0 && c.undelivered > 0 ? 0 : some.length;
      synchronized (w) {
        if (!w.on) {
          return NOT_TAKEN; // lost meanwhile
        }
        taken = received(w, taken);
        if (w.bytes() == 0) {
          readiness.look(p, w.begun, false, false);
          sample = w.ended && (p.mask() & (Poll.POLLRDHUP | Poll.POLLHUP | Poll.POLLERR)) == 0;
        }
      }
      tell(w, taken);
      r = calls.memoryError(n, r);
    } finally {
      w.reading.unlock();
    }
    receives.increment();
    if (sample) {
      synchronized (w) {
        if (w.on && w.ended && w.bytes() == 0) {
          off(w, p);
        }
      }
      calls.sampleNow(n, p);
    }
    return r;
  }

  /**
   * A program has received the first bytes of what is here. Who calls has both locks, and says what
   * this returns to {@link #tell(ReceiveWindow, int)} before it gives back {@link
   * ReceiveWindow#reading}: where nothing is left here the link's reader may end the window at any
   * time.
   *
   * @return how many the device is to be told of now; 0 if that is for later, with others
   */
  private int received(ReceiveWindow w, int count) {
    w.drop(count);
    bytes.addAndGet(-count);
    w.untold += count;
    return w.bytes() == 0 || w.untold >= MOST_UNTOLD ? w.tell() : 0;
  }

  /** Tells the device all that was received; who calls has {@link ReceiveWindow#reading}. */
  private void tell(ReceiveWindow w) {
    int count;
    synchronized (w) {
      count = w.tell();
    }
    tell(w, count);
  }

  private void tell(ReceiveWindow w, int count) {
    if (count == 0 || lost) {
      return; // Mostly: each call on the file that traps comes by here.
    }
    CallSlot by;
    synchronized (this) {
      by = slot;
    }
    if (by != null) {
      issued.incrementAndGet();
      link.taken(by, w.file.handle(), w.generation, count);
    }
  }

  /** Waits until something is here; 0, or what to answer. */
  private long await(Notification n, ReceiveWindow w) {
    n.willBlock();
    synchronized (w) {
      Uninterrupted.waitUntil(w, SHORT_NANOS, () -> !w.waits());
      if (!w.waits()) {
        return 0;
      }
    }
    return w.waiters.await(calls, n, w::waits);
  }

  /** A receive was made on the device: from now on it may tell what comes before it is asked. */
  void begin(Notification n, Row row, Placeholder p, OpenFile file, int flags) {
    if (lost
        || !plain(row, flags)
        || !file.mayLook()
        || !p.isConnected()
        || active.size() >= Frame.Look.MOST_FILES - MOST_THREADS) {
      return;
    }
    CallSlot by = slot(n);
    if (by == null) {
      return;
    }
    ReceiveWindow w = file.look();
    w.reading.lock();
    try {
      settle(w);
      synchronized (w) {
        if (w.on || w.calls > 0 || w.errno != 0) {
          return;
        }
        if (w.skip > 0) {
          w.skip--;
          return;
        }
        w.begin(generations.incrementAndGet());
        active.add(w);
      }
      if (lost) {
        lose(w);
        return;
      }
      issued.incrementAndGet();
      link.look(by, file.handle(), w.generation);
    } finally {
      w.reading.unlock();
    }
  }

  private synchronized @Nullable CallSlot slot(Notification n) {
    if (slot == null && !noSlot) {
      n.willBlock();
      slot = calls.attachOwn();
      noSlot = slot == null;
    }
    return slot;
  }

  /**
   * Has the device look no more where a call that is about to be made needs its socket as it is.
   *
   * @param c whose descriptors are handles
   * @return whose receives are calls until {@link #after}; null if none
   */
  @Nullable ReceiveWindow before(Call c) {
    if (c.number == PseudoCall.RECEIVE || (c.number < PseudoCall.FIRST && RECEIVES.get(c.number))) {
      OpenFile file = files.get((int) c.args[c.number == SENDFILE ? 1 : 0]);
      if (file == null || !file.isTcp()) {
        return null;
      }
      if (isPeculiar(c)) {
        file.endLook();
      }
      ReceiveWindow w = file.look();
      synchronized (w) {
        w.calls++;
      }
      stop(w);
      return w;
    }
    if (c.number >= PseudoCall.FIRST) {
      return null;
    }
    OpenFile file = files.get((int) c.args[0]);
    if (file != null && file.isTcp()) {
      if (ends(c)) {
        end(file);
      } else {
        flush(file);
      }
    }
    return null;
  }

  /** The call that {@link #before} was asked about has ended. */
  void after(@Nullable ReceiveWindow w) {
    if (w != null) {
      synchronized (w) {
        w.calls--;
      }
    }
  }

  private static boolean isPeculiar(Call c) {
    long flags = c.number == RECVFROM ? c.args[3] : c.number == RECVMSG ? c.args[2] : 0;
    return (flags & PECULIAR) != 0;
  }

  /** Whether from this call on it shows on its socket who receives. */
  private static boolean ends(Call c) {
    int level = (int) c.args[1];
    int name = (int) c.args[2];
    if (c.number == SETSOCKOPT) {
      Set<Integer> harmless =
          switch (level) {
            case Socket.SOL_SOCKET -> SOCKET_OPTIONS;
            case Socket.IPPROTO_TCP -> TCP_OPTIONS;
            case SOL_IP -> IP_OPTIONS;
            case SOL_IPV6 -> IPV6_OPTIONS;
            default -> Set.of();
          };
      return !harmless.contains(name);
    }
    if (c.number == GETSOCKOPT) {
      return (level == Socket.SOL_SOCKET && name == Socket.SO_PEEK_OFF)
          || (level == Socket.IPPROTO_TCP && name == TCP_ZEROCOPY_RECEIVE);
    }
    return c.number == SHUTDOWN && level != Socket.SHUT_WR;
  }

  /** Nothing is looked at ahead of a file any more. */
  void end(OpenFile file) {
    file.endLook();
    ReceiveWindow w = file.lookedAt();
    if (w != null) {
      stop(w);
    }
  }

  private void flush(OpenFile file) {
    ReceiveWindow w = file.lookedAt();
    if (w == null) {
      return;
    }
    // Always: somebody may be about to tell.
    w.reading.lock();
    try {
      settle(w);
      tell(w);
    } finally {
      w.reading.unlock();
    }
  }

  /** The file is about to be closed. */
  void closing(OpenFile file) {
    ReceiveWindow w = file.lookedAt();
    if (w != null) {
      stop(w);
    }
  }

  private void stop(ReceiveWindow w) {
    CallSlot by;
    synchronized (this) {
      by = slot;
    }
    // Also of a window that has ended: somebody may be about to tell of it.
    w.reading.lock();
    try {
      settle(w);
      tell(w);
      synchronized (w) {
        if (!w.on) {
          return;
        }
        off(w, placeholders.byHandle(w.file.handle()));
      }
      if (by != null) {
        issued.incrementAndGet();
        link.look(by, w.file.handle(), 0);
      }
    } finally {
      w.reading.unlock();
    }
  }

  /** Ends a window, whose monitor the caller has; what is in it is on the device still. */
  private void off(ReceiveWindow w, @Nullable Placeholder p) {
    if (w.ended) {
      w.vain = Math.min(w.vain + 1, MOST_SKIPPED);
      w.skip = 1 << w.vain;
    }
    bytes.addAndGet(-w.bytes());
    w.clear();
    active.remove(w);
    if (p != null) {
      readiness.look(p, false, false, true);
    }
    w.wake();
  }

  /** What {@link dev.outboard.channel.LinkListener#looked} says: the device's word. */
  @Nullable String looked(Frame.Looked frame) {
    try {
      OpenFile file = files.get(frame.handle());
      ReceiveWindow w = file == null ? null : file.lookedAt();
      return file == null || w == null ? null : looked(frame, file, w);
    } finally {
      synchronized (arrivals) {
        arrived++;
        arrivals.notifyAll();
      }
    }
  }

  private @Nullable String looked(Frame.Looked frame, OpenFile file, ReceiveWindow w) {
    int count = frame.bytes().remaining();
    Placeholder p = placeholders.byHandle(frame.handle());
    synchronized (w) {
      if (!w.on || w.ended || w.generation != frame.generation()) {
        return null; // to what was asked before
      }
      if (w.bytes() + w.untold + count > Frame.Looked.FILE_BYTES
          || bytes.addAndGet(count) > Frame.Looked.SESSION_BYTES) {
        return "the device told more ahead than it may";
      }
      if (count > 0) {
        byte[] part = new byte[count];
        frame.bytes().get(part);
        w.add(part);
        w.vain = 0;
      }
      w.begun = true;
      if (frame.end()) {
        w.ended = true;
        w.errno = frame.errno();
        if (frame.never() || w.errno != 0) {
          file.endLook();
        }
      }
      boolean ends = w.ended && (p == null || (p.mask() & (Poll.POLLRDHUP | Poll.POLLHUP)) == 0);
      if (ends && w.bytes() == 0) {
        off(w, p);
      } else if (p != null) {
        readiness.look(p, true, w.bytes() > 0, count > 0);
      }
      w.wake();
    }
    return null;
  }

  /** Whether so many frames of the device have been taken. */
  boolean hasLooked(int frames) {
    return arrived - frames >= 0 || lost;
  }

  /** Waits until so many frames of the device have been taken: they came before a reply. */
  void awaitLooked(int frames) {
    if (hasLooked(frames)) {
      return;
    }
    synchronized (arrivals) {
      Uninterrupted.waitUntil(arrivals, TimeUnit.SECONDS.toNanos(10), () -> hasLooked(frames));
    }
  }

  /** The device is gone, and with it what programs have not received. */
  void lost() {
    lost = true;
    synchronized (arrivals) {
      arrivals.notifyAll();
    }
    for (ReceiveWindow w : active) {
      lose(w);
    }
  }

  private void lose(ReceiveWindow w) {
    synchronized (w) {
      if (w.on) {
        off(w, null);
      }
    }
  }
}
