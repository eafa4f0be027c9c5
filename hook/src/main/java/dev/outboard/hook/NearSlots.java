// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.Frame;
import dev.outboard.channel.HostedSlot;
import dev.outboard.channel.LentSlot;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.SocketOptions;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Call slots that processes of the program use by themselves where the device is at the other end
 * of a link: the hook takes their calls, and makes of each what it would make of the same call if
 * it had trapped. So a call needs neither a notification nor copies between processes.
 *
 * <p>Taken are sends that {@link SendAhead} takes, options that go ahead between them, receives of
 * what {@link ReceiveAhead} has, and, which cross the link, questions about a socket and sendfile
 * of a file of the device to one that does not wait. All else ends with {@link #TRAP}, and then
 * nothing has happened. The process must say the birth of each handle that it means, as to a device
 * of its own machine.
 *
 * <p>What a receive brings stays with the hook until the process has taken it: one that is killed
 * before has received nothing.
 *
 * <p>No call here waits for longer than {@value #WAIT_NANOS} ns for room or bytes, as no
 * interruption comes through such a slot; while the link itself takes nothing, it does, as calls
 * that trap do.
 *
 * <p>One thread for each slot, at most {@value #MOST} at a time. It makes the calls that cross and
 * goes on to wait for the process's next one: whoever reads the link gives the process the answer.
 * What would have to wait there is done by one more thread. Any thread may call the methods.
 */
final class NearSlots implements AutoCloseable {
  /** The most slots of all processes; who gets none has its calls trap. */
  static final int MOST = 64;

  /** The result of a call that is to trap; device.c has the same. */
  private static final long TRAP = -Errno.ERESTARTSYS;

  /** No result of a call: who has the answer gives it to the process, or has already. */
  private static final long ASKED = Long.MIN_VALUE;

  private static final long WAIT_NANOS = 1_000_000;

  /** How soon it is looked whether what a reply offered was taken, and how late. */
  private static final long PATIENCE_NANOS = 5_000_000;

  private static final long MOST_PATIENCE_NANOS = 900_000_000;

  private static final long PARTING_NANOS = 1_000_000_000;

  /** More than this does not stay here: it may fill a segment, which is not held back. */
  private static final long MOST_KEPT_BYTES = 1024;

  private static final int PLAIN_RECEIVE = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;

  /** Where in the data the answer to a question is; its length is at their start. */
  private static final int ANSWER = 16;

  /** What a process that closes in one thread and calls in another can get wrong, by far. */
  private static final int MOST_WRONG = 256;

  private static final int SENDTO = DeviceCalls.canonical("sendto");
  private static final int RECVFROM = DeviceCalls.canonical("recvfrom");
  private static final int SETSOCKOPT = DeviceCalls.canonical("setsockopt");
  private static final int GETSOCKOPT = DeviceCalls.canonical("getsockopt");
  private static final int GETSOCKNAME = DeviceCalls.canonical("getsockname");
  private static final int GETPEERNAME = DeviceCalls.canonical("getpeername");
  private static final int SENDFILE = DeviceCalls.canonical("sendfile");

  /** For so long what a sendfile has said of the next one answers that. */
  private static final long CERTAIN_NANOS = 10_000_000;

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final OpenFiles files;
  private final Placeholders placeholders;
  private final @Nullable SendAhead ahead;
  private final boolean options;
  private final boolean certain;
  private final @Nullable ReceiveAhead receives;
  private final Messages messages;

  /** Answers that cannot be given without waiting for something, at most one of each slot. */
  private final BlockingQueue<Runnable> late = new LinkedBlockingQueue<>();

  private boolean lateOver; // its thread's

  // Guarded by this.
  private @Nullable Thread lateThread;
  private final Map<LentSlot, Server> servers = new HashMap<>();
  private int threads;
  private boolean closed;

  /**
   * @param ahead what sends ahead; null if every send is to be waited for
   * @param options whether options go ahead, too
   * @param certain whether what the device has told with a call answers the next one, if it does
   * @param receives what has what was looked at ahead; null if every receive is to trap
   */
  NearSlots(
      DeviceLink link,
      DeviceCalls calls,
      OpenFiles files,
      Placeholders placeholders,
      @Nullable SendAhead ahead,
      boolean options,
      boolean certain,
      @Nullable ReceiveAhead receives,
      Messages messages) {
    this.link = link;
    this.calls = calls;
    this.files = files;
    this.placeholders = placeholders;
    this.ahead = ahead;
    this.options = options;
    this.certain = certain;
    this.receives = receives;
    this.messages = messages;
  }

  /** Whether sends are taken. */
  boolean sends() {
    return ahead != null;
  }

  /** Whether options are. */
  boolean options() {
    return options;
  }

  /** Whether receives are. */
  boolean receives() {
    return receives != null;
  }

  /**
   * One more slot for a process.
   *
   * @param like as for {@link DeviceLink#attach}
   * @return null if there are too many, or without memory
   */
  @Nullable LentSlot lend(int pid, int like, Credentials credentials) {
    synchronized (this) {
      if (closed || threads >= MOST) {
        return null;
      }
      threads++;
    }
    HostedSlot slot = HostedSlot.make();
    if (slot == null) {
      ended();
      return null;
    }
    Server server = new Server(slot, pid, like, credentials);
    synchronized (this) {
      servers.put(slot.lent(), server);
      if (lateThread == null) {
        lateThread =
            Thread.ofPlatform().daemon().name("outboard-near-late").start(this::answerLate);
      }
    }
    server.thread.start();
    return slot.lent();
  }

  /** The process does not use it any more. */
  void takeBack(LentSlot slot) {
    Server server;
    synchronized (this) {
      server = servers.get(slot);
    }
    if (server != null) {
      server.end();
    }
  }

  /** Ends once more what was to end: a process may have undone that at the wrong moment. */
  void sweep() {
    List<Server> all;
    synchronized (this) {
      all = List.copyOf(servers.values());
    }
    all.forEach(Server::endAgain);
  }

  private synchronized void ended() {
    threads--;
    notifyAll();
  }

  /** Ends all of them, and waits for that if it does not take long; the link is still there. */
  @Override
  public void close() {
    List<Server> all;
    synchronized (this) {
      closed = true;
      all = List.copyOf(servers.values());
    }
    all.forEach(Server::end);
    Thread answers;
    synchronized (this) {
      Uninterrupted.waitUntil(this, PARTING_NANOS, () -> threads == 0);
      answers = lateThread;
    }
    if (answers != null) {
      late.add(() -> lateOver = true);
      Uninterrupted.join(answers);
    }
  }

  private void answerLate() {
    while (!lateOver) {
      try {
        late.take().run();
      } catch (InterruptedException e) {
        // Nobody interrupts it; close() says when it is over.
      }
    }
  }

  /** Takes the calls of one slot. */
  private final class Server implements Runnable {
    private final HostedSlot hosted;
    private final DeviceSlot slot;
    private final int pid;
    private final int like;
    private final Credentials credentials;
    private final Call call;
    private final @Nullable PeekedReceives peeked;
    private final MemorySegment timeout = Arena.ofAuto().allocate(2 * Long.BYTES, Long.BYTES);
    private final Thread thread;
    private final Runnable answered = this::answered;
    private final Runnable answeredLate = this::answeredLate;
    private volatile boolean ending;

    /** A call is on its way; from its submission on its answer's thread has all that follows. */
    private volatile boolean asking;

    /** The thread waits for the end of that. */
    private volatile boolean waits;

    private @Nullable OpenFile asked;
    private @Nullable OpenFile source; // of a sendfile
    private long room;
    private long position;
    private long changes;
    private long follows;
    private long begun;
    private long result;

    // What a sendfile has left: the socket takes no more, and the file goes on.
    private @Nullable OpenFile full;
    private @Nullable OpenFile rest;
    private long restPosition;
    private long fullSince;
    private long fullChanges;
    private long fullMade;

    // The thread's.
    private @Nullable CallSlot own;
    private boolean noneOfItsOwn;
    private int wrong;
    private @Nullable OpenFile offered;

    // Likewise: bytes that may be here and not on their way, and whether they may stay.
    private long left;
    private boolean keeps;

    Server(HostedSlot hosted, int pid, int like, Credentials credentials) {
      this.hosted = hosted;
      this.slot = hosted.slot();
      this.pid = pid;
      this.like = like;
      this.credentials = credentials;
      this.call = new Call(slot.data());
      this.peeked = slot.peeked();
      this.thread = Thread.ofPlatform().daemon().name("outboard-near-" + pid).unstarted(this);
    }

    void end() {
      ending = true;
      hosted.takeBack();
    }

    void endAgain() {
      if (ending) {
        slot.close();
      }
    }

    @Override
    public void run() {
      try {
        serve();
        settle();
      } finally {
        hosted.takeBack(); // Nobody is to wait for a thread that has failed.
        CallSlot used = own;
        if (used != null) {
          if (asking) {
            link.interrupt(used); // Nobody is there to be answered.
            awaitAnswered();
          }
          link.detach(used);
        }
        synchronized (NearSlots.this) {
          servers.remove(hosted.lent());
        }
        ended();
      }
    }

    private void serve() {
      int sequence;
      long patience = 0;
      boolean spins = true;
      while ((sequence = slot.await(spins, within(patience))) != DeviceSlot.CLOSED) {
        if (sequence == DeviceSlot.LATER) {
          patience = Math.min(2 * patience, MOST_PATIENCE_NANOS);
          if (peeked == null || !peeked.isReplyOnOffer()) {
            settleTaken(); // if nobody else has found that out
            patience = 0;
            spins = true;
          }
          continue;
        }
        awaitAnswered(); // A process that has not may call all the same.
        begun = System.nanoTime();
        settle();
        long outcome;
        try {
          slot.take(call);
          outcome = make();
        } catch (RuntimeException e) {
          bug(e);
          outcome = -Errno.EIO;
        }
        if (outcome != ASKED) {
          reply(outcome);
        }
        patience = offered == null ? 0 : PATIENCE_NANOS;
        if (outcome == ASKED) {
          left = 0; // It went with that.
        } else if (left > 0) {
          // While the process goes on, which may have the next ones by then.
          pushOrKeep();
        }
        // What is on its way takes longer than one looks for the call after it.
        spins = offered == null && outcome != ASKED;
      }
    }

    /**
     * Has on its way what the last calls have left here, unless it is little that would be held
     * back there, too: mostly a call follows that goes the same way, as one of sendfile behind a
     * header.
     */
    private void pushOrKeep() {
      if (keeps && left <= MOST_KEPT_BYTES) {
        link.keepAhead();
      } else {
        link.pushAhead();
        left = 0;
      }
    }

    /** So many bytes may be here that are not on their way. */
    private void leaves(long bytes, boolean corked) {
      left += bytes;
      keeps = corked;
    }

    private void bug(RuntimeException e) {
      messages.bug("serving a call of process " + pid + " that did not trap", e);
    }

    /** Ends the call taken last; from here on the thread may ask anew. */
    private void reply(long outcome) {
      if (outcome != TRAP) {
        slot.timed(System.nanoTime() - begun);
      }
      // First: as soon as the process has it, it may call. One that has called before spoils what
      // is its own.
      asking = false;
      if (waits) {
        LockSupport.unpark(thread);
      }
      slot.complete(outcome, -1, 0, 0);
    }

    /**
     * Has whoever brings the answer do what follows, from {@link #answered} on.
     *
     * @param file whose handle the call names; in use until then
     * @param from likewise, if it sends from that
     */
    private long ask(CallSlot s, OpenFile file, @Nullable OpenFile from) {
      asked = file;
      source = from;
      follows = calls.before(s);
      asking = true;
      if (ShimSwitches.ANSWERS) {
        s.submit(answered);
      } else {
        s.submit();
        while (!s.await(Long.MAX_VALUE)) {}
        answered();
      }
      return ASKED;
    }

    /** The call that was asked has ended. Called by who reads the link: must not wait. */
    private void answered() {
      CallSlot s = own;
      OpenFile file = asked;
      if (s == null || file == null) {
        throw new IllegalStateException("an answer to no question");
      }
      try {
        result = outcome(s);
      } catch (RuntimeException e) {
        bug(e);
        result = -Errno.EIO;
      }
      s.settle();
      OpenFile from = source;
      // After its last use a file is to be closed before the process goes on.
      asked = file.unuse() ? file : null;
      source = from != null && from.unuse() ? from : null;
      if (asked != null || source != null || !calls.hasHeard(s)) {
        late.add(answeredLate);
      } else {
        reply(result);
      }
    }

    /** What the thread for that does of it. */
    private void answeredLate() {
      CallSlot s = own;
      OpenFile file = asked;
      OpenFile from = source;
      if (file != null) {
        calls.closeUnused(file.handle());
      }
      if (from != null) {
        calls.closeUnused(from.handle());
      }
      if (s != null) {
        calls.awaitHeard(s);
      }
      reply(result);
    }

    private void awaitAnswered() {
      if (!asking) {
        return;
      }
      waits = true;
      while (asking) {
        LockSupport.park(this);
      }
      waits = false;
    }

    private long outcome(CallSlot s) {
      long r = calls.answered(s, follows);
      if (s.call().number == SENDFILE) {
        return sent(s, r);
      }
      if (r > 0 || r <= TRAP) {
        return TRAP;
      }
      MemorySegment.copy(s.call().data, 0, call.data, 0, ANSWER + room);
      return r;
    }

    /** The address of that time; 0 for none. */
    private long within(long nanos) {
      timeout.set(ValueLayout.JAVA_LONG, 0, 0);
      timeout.set(ValueLayout.JAVA_LONG, Long.BYTES, nanos);
      return nanos == 0 ? 0 : timeout.address();
    }

    /**
     * What was offered with the last reply was taken, or cannot be any more: the process has made
     * another call.
     */
    private void settle() {
      settleTaken();
      if (peeked != null) {
        peeked.noReply();
      }
    }

    /**
     * The same while the process may still be about to take it: that it cannot any more has to stay
     * in the slot until it calls again.
     */
    private void settleTaken() {
      ReceiveAhead by = receives;
      OpenFile file = offered;
      offered = null;
      if (by != null && file != null && peeked != null) {
        by.settle(file, peeked);
      }
    }

    private long make() {
      int handle = (int) call.args[0];
      OpenFile file = handle == call.args[0] ? files.get(handle) : null;
      if (file == null || wrong > MOST_WRONG || file.birth() != slot.birth()) {
        wrong++;
        return TRAP;
      }
      // Used, it is not closed on the device, and its number is no other file's.
      if (!file.direct() || !file.use()) {
        return TRAP;
      }
      long outcome = TRAP;
      try {
        outcome = make(file);
      } finally {
        if (outcome != ASKED) {
          calls.unuse(file);
        }
      }
      return outcome;
    }

    private long make(OpenFile file) {
      Placeholder p = placeholders.byHandle(file.handle());
      if (p == null) {
        return TRAP;
      }
      if (call.number == SENDTO) {
        return send(p, file);
      }
      if (call.number == RECVFROM) {
        return receive(p, file);
      }
      if (call.number == SENDFILE) {
        return sendFile(p, file);
      }
      return call.number == SETSOCKOPT ? setOption(p, file) : question(file);
    }

    /** From a file of which the slot says number and birth, by an offset in the data. */
    private long sendFile(Placeholder p, OpenFile to) {
      long[] a = call.args;
      int handle = (int) a[1];
      OpenFile from = handle == a[1] ? files.get(handle) : null;
      if (from == null || !from.sendable() || from.birth() != (int) a[3]) {
        wrong++;
        return TRAP;
      }
      long at = call.data.get(ValueLayout.JAVA_LONG, 0);
      if (a[2] <= 0
          || a[2] > FileTransfers.SENDFILE_BYTES
          || at < 0
          || !to.isTcp()
          || !p.nonBlocking()) { // or else a signal may have to end it
        return TRAP;
      }
      boolean known = isFull(p, to, from, at);
      full = null; // it is told once
      if (known) {
        calls.wasKnown();
        return -Errno.EAGAIN;
      }
      CallSlot s = own();
      if (s == null || !from.use()) {
        return TRAP;
      }
      position = at;
      changes = calls.changes();
      Call c = s.call();
      c.start(SENDFILE);
      c.args[0] = to.handle();
      c.args[1] = handle;
      c.args[2] = 0; // in the data
      c.args[3] = a[2];
      c.data.set(ValueLayout.JAVA_LONG, 0, at);
      c.extent = Long.BYTES;
      c.toDevice = Long.BYTES;
      c.fromDevice = Long.BYTES;
      return ask(s, to, from);
    }

    /** Whether the last sendfile by this slot has said what would come of this one. */
    private boolean isFull(Placeholder p, OpenFile to, OpenFile from, long at) {
      return to == full
          && from == rest
          && at == restPosition
          && fullChanges == calls.changes()
          && fullMade == calls.made()
          && System.nanoTime() - fullSince < CERTAIN_NANOS
          && FileTransfers.isFull(p);
    }

    /** What has come of a sendfile; by who reads the link. */
    private long sent(CallSlot s, long moved) {
      int handle = (int) s.call().args[0];
      calls.sampled(handle, s);
      Placeholder p = placeholders.byHandle(handle);
      if (moved <= TRAP) {
        return TRAP;
      }
      if (certain
          && moved > 0
          && moved < s.call().args[3]
          && s.newBirth() == 1
          && p != null
          && p.watched()) {
        full = asked;
        rest = source;
        restPosition = position + moved;
        fullSince = System.nanoTime();
        fullChanges = changes;
        fullMade = calls.made();
      }
      return moved;
    }

    private long send(Placeholder p, OpenFile file) {
      SendAhead by = ahead;
      long count = call.args[2];
      if (by == null || count <= 0 || count > Call.PIECE_BYTES || call.args[3] >>> 31 != 0) {
        return TRAP;
      }
      if (!file.mayGoAhead()) {
        file.endDirect(); // It will not be otherwise later, and each would come here first.
        return TRAP;
      }
      int flags = (int) call.args[3];
      leaves(count, (flags & Socket.MSG_MORE) != 0 || by.isCorked(file));
      long took = by.sendNow(p, file, call.data.asSlice(0, count), flags, WAIT_NANOS);
      return took == SendAhead.NOT_TAKEN ? TRAP : took;
    }

    private long receive(Placeholder p, OpenFile file) {
      ReceiveAhead by = receives;
      long count = call.args[2];
      if (by == null
          || peeked == null
          || !slot.wantsTaking()
          || count <= 0
          || count > Call.PIECE_BYTES
          || (call.args[3] & ~PLAIN_RECEIVE) != 0) {
        return TRAP;
      }
      if (!file.mayLook()) {
        file.endDirect(); // As of sends.
        return TRAP;
      }
      MemorySegment to = call.data.asSlice(0, count);
      boolean waits = (call.args[3] & Socket.MSG_DONTWAIT) == 0 && !p.nonBlocking();
      for (boolean again = false; ; again = true) {
        long result = by.offer(file, peeked, slot.sequence(), to);
        if (result == ReceiveAhead.NOT_TAKEN) {
          return TRAP;
        }
        if (result != ReceiveAhead.NOTHING) {
          offered = file;
          return result;
        }
        if (again) {
          return waits ? TRAP : -Errno.EAGAIN;
        }
        if (waits ? !by.awaitSome(file, WAIT_NANOS) : !look(file)) {
          return TRAP;
        }
      }
    }

    /** Has the device tell what it has; whether it could. */
    private boolean look(OpenFile file) {
      CallSlot s = own();
      if (s == null) {
        return false;
      }
      s.call().start(PseudoCall.LOOK);
      s.call().args[0] = file.handle();
      s.call().extent = 0;
      long result = calls.ask(s);
      s.settle();
      return result >= 0;
    }

    private long setOption(Placeholder p, OpenFile file) {
      SendAhead by = ahead;
      if (by == null
          || !options
          || call.args[1] != Socket.IPPROTO_TCP
          || !Frame.Ahead.isOption(call.args[2])) {
        return TRAP;
      }
      // A copy, as whoever sends it may look more than once.
      byte[] value = call.data.asSlice(0, Integer.BYTES).toArray(ValueLayout.JAVA_BYTE);
      int name = (int) call.args[2];
      boolean set = by.option(p, file, name, MemorySegment.ofArray(value), false);
      if (set) {
        leaves(Integer.BYTES, by.isCorked(file));
      }
      return set ? 0 : TRAP;
    }

    /** A name or an option: the length of the answer is at the start of the data. */
    private long question(OpenFile file) {
      long[] a = call.args;
      boolean option = call.number == GETSOCKOPT;
      room = a[3];
      if (room <= 0 || room > SocketOptions.ASKED_BYTES) {
        return TRAP;
      }
      if (option
          ? !SocketOptions.isAsked(a[1], a[2])
              || (a[1] == Socket.SOL_SOCKET && a[2] == Socket.SO_ERROR)
          : call.number != GETSOCKNAME && call.number != GETPEERNAME) {
        return TRAP;
      }
      CallSlot s = own();
      if (s == null) {
        return TRAP;
      }
      Call c = s.call();
      c.start(call.number);
      c.args[0] = file.handle();
      c.args[1] = option ? a[1] : ANSWER;
      c.args[2] = option ? a[2] : 0;
      c.args[3] = option ? ANSWER : 0;
      c.data.set(ValueLayout.JAVA_INT, 0, (int) room);
      c.extent = ANSWER + room;
      c.toDevice = Integer.BYTES;
      c.fromDevice = ANSWER + room;
      return ask(s, file, null);
    }

    /** By which questions cross, made with the first one. */
    private @Nullable CallSlot own() {
      if (own == null && !noneOfItsOwn) {
        try {
          own = link.attach(pid, pid, like, credentials);
        } catch (LinkException e) {
          noneOfItsOwn = true;
        }
      }
      return own;
    }
  }
}
