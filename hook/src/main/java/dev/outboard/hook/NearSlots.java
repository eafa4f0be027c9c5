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
import org.jspecify.annotations.Nullable;

/**
 * Call slots that processes of the program use by themselves where the device is at the other end
 * of a link: the hook takes their calls, and makes of each what it would make of the same call if
 * it had trapped. So a call needs neither a notification nor copies between processes.
 *
 * <p>Taken are sends that {@link SendAhead} takes, options that go ahead between them, receives of
 * what {@link ReceiveAhead} has, and questions about a socket, which cross the link. All else ends
 * with {@link #TRAP}, and then nothing has happened. The process must say the birth of the handle
 * that it means, as to a device of its own machine.
 *
 * <p>What a receive brings stays with the hook until the process has taken it: one that is killed
 * before has received nothing.
 *
 * <p>No call here waits for longer than {@value #WAIT_NANOS} ns for room or bytes, as no
 * interruption comes through such a slot; while the link itself takes nothing, it does, as calls
 * that trap do.
 *
 * <p>One thread for each slot, at most {@value #MOST} at a time. Any thread may call the methods.
 */
final class NearSlots implements AutoCloseable {
  /** The most slots of all processes; who gets none has its calls trap. */
  static final int MOST = 64;

  /** The result of a call that is to trap; device.c has the same. */
  private static final long TRAP = -Errno.ERESTARTSYS;

  private static final long WAIT_NANOS = 1_000_000;

  /** How soon it is looked whether what a reply offered was taken, and how late. */
  private static final long PATIENCE_NANOS = 5_000_000;

  private static final long MOST_PATIENCE_NANOS = 900_000_000;

  private static final long PARTING_NANOS = 1_000_000_000;

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

  private final DeviceLink link;
  private final DeviceCalls calls;
  private final OpenFiles files;
  private final Placeholders placeholders;
  private final @Nullable SendAhead ahead;
  private final boolean options;
  private final @Nullable ReceiveAhead receives;
  private final Messages messages;

  // Guarded by this.
  private final Map<LentSlot, Server> servers = new HashMap<>();
  private int threads;
  private boolean closed;

  /**
   * @param ahead what sends ahead; null if every send is to be waited for
   * @param options whether options go ahead, too
   * @param receives what has what was looked at ahead; null if every receive is to trap
   */
  NearSlots(
      DeviceLink link,
      DeviceCalls calls,
      OpenFiles files,
      Placeholders placeholders,
      @Nullable SendAhead ahead,
      boolean options,
      @Nullable ReceiveAhead receives,
      Messages messages) {
    this.link = link;
    this.calls = calls;
    this.files = files;
    this.placeholders = placeholders;
    this.ahead = ahead;
    this.options = options;
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
    synchronized (this) {
      Uninterrupted.waitUntil(this, PARTING_NANOS, () -> threads == 0);
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
    private volatile boolean ending;

    // The thread's.
    private @Nullable CallSlot own;
    private boolean noneOfItsOwn;
    private int wrong;
    private @Nullable OpenFile offered;

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
      while ((sequence = slot.await(patience == 0, within(patience))) != DeviceSlot.CLOSED) {
        if (sequence == DeviceSlot.LATER) {
          patience = Math.min(2 * patience, MOST_PATIENCE_NANOS);
          if (peeked == null || !peeked.isReplyOnOffer()) {
            settle(); // It was taken, if nobody else has found that out.
            patience = 0;
          }
          continue;
        }
        long begun = System.nanoTime();
        settle();
        long result;
        try {
          slot.take(call);
          result = make();
        } catch (RuntimeException e) {
          messages.bug("serving a call of process " + pid + " that did not trap", e);
          result = -Errno.EIO;
        }
        slot.complete(result, -1, 0, 0);
        if (result != TRAP) {
          slot.timed(System.nanoTime() - begun);
        }
        patience = offered == null ? 0 : PATIENCE_NANOS;
      }
    }

    /** The address of that time; 0 for none. */
    private long within(long nanos) {
      timeout.set(ValueLayout.JAVA_LONG, 0, 0);
      timeout.set(ValueLayout.JAVA_LONG, Long.BYTES, nanos);
      return nanos == 0 ? 0 : timeout.address();
    }

    /** What was offered with the last reply was taken, or cannot be any more. */
    private void settle() {
      ReceiveAhead by = receives;
      OpenFile file = offered;
      offered = null;
      if (by != null && file != null && peeked != null) {
        by.settle(file, peeked);
      }
      if (peeked != null) {
        peeked.noReply();
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
      try {
        Placeholder p = placeholders.byHandle(handle);
        if (p == null) {
          return TRAP;
        }
        if (call.number == SENDTO) {
          return send(p, file);
        }
        if (call.number == RECVFROM) {
          return receive(p, file);
        }
        return call.number == SETSOCKOPT ? setOption(p, file) : ask(handle);
      } finally {
        calls.unuse(file);
      }
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
      long sent = by.sendNow(p, file, call.data.asSlice(0, count), (int) call.args[3], WAIT_NANOS);
      return sent == SendAhead.NOT_TAKEN ? TRAP : sent;
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
      return by.option(p, file, (int) call.args[2], MemorySegment.ofArray(value)) ? 0 : TRAP;
    }

    /** A name or an option: the length of the answer is at the start of the data. */
    private long ask(int handle) {
      long[] a = call.args;
      boolean option = call.number == GETSOCKOPT;
      long room = a[3];
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
      c.args[0] = handle;
      c.args[1] = option ? a[1] : ANSWER;
      c.args[2] = option ? a[2] : 0;
      c.args[3] = option ? ANSWER : 0;
      c.data.set(ValueLayout.JAVA_INT, 0, (int) room);
      c.extent = ANSWER + room;
      c.toDevice = Integer.BYTES;
      c.fromDevice = ANSWER + room;
      long result = calls.ask(s);
      s.settle();
      if (result > 0 || result <= TRAP) {
        return TRAP;
      }
      MemorySegment.copy(c.data, 0, call.data, 0, ANSWER + room);
      return result;
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
