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
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.SocketOptions;
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
 * <p>Taken are sends that {@link SendAhead} takes, options that go ahead between them, and
 * questions about a socket, which cross the link. All else ends with {@link #TRAP}, and then
 * nothing has happened. The process must say the birth of the handle that it means, as to a device
 * of its own machine.
 *
 * <p>No call here waits for longer than {@value #WAIT_NANOS} ns for room, as no interruption comes
 * through such a slot; while the link itself takes nothing, it does, as calls that trap do.
 *
 * <p>One thread for each slot, at most {@value #MOST} at a time. Any thread may call the methods.
 */
final class NearSlots implements AutoCloseable {
  /** The most slots of all processes; who gets none has its calls trap. */
  static final int MOST = 64;

  /** The result of a call that is to trap; device.c has the same. */
  private static final long TRAP = -Errno.ERESTARTSYS;

  private static final long WAIT_NANOS = 1_000_000;

  /** Where in the data the answer to a question is; its length is at their start. */
  private static final int ANSWER = 16;

  /** What a process that closes in one thread and calls in another can get wrong, by far. */
  private static final int MOST_WRONG = 256;

  private static final int SENDTO = DeviceCalls.canonical("sendto");
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
  private final Messages messages;

  // Guarded by this.
  private final Map<LentSlot, Server> servers = new HashMap<>();
  private int threads;
  private boolean closed;

  /**
   * @param ahead what sends ahead; null if every send is to be waited for
   * @param options whether options go ahead, too
   */
  NearSlots(
      DeviceLink link,
      DeviceCalls calls,
      OpenFiles files,
      Placeholders placeholders,
      @Nullable SendAhead ahead,
      boolean options,
      Messages messages) {
    this.link = link;
    this.calls = calls;
    this.files = files;
    this.placeholders = placeholders;
    this.ahead = ahead;
    this.options = options;
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

  private static final long PARTING_NANOS = 1_000_000_000;

  /** Takes the calls of one slot. */
  private final class Server implements Runnable {
    private final HostedSlot hosted;
    private final DeviceSlot slot;
    private final int pid;
    private final int like;
    private final Credentials credentials;
    private final Call call;
    private final Thread thread;
    private volatile boolean ending;

    // The thread's.
    private @Nullable CallSlot own;
    private boolean noneOfItsOwn;
    private int wrong;

    Server(HostedSlot hosted, int pid, int like, Credentials credentials) {
      this.hosted = hosted;
      this.slot = hosted.slot();
      this.pid = pid;
      this.like = like;
      this.credentials = credentials;
      this.call = new Call(slot.data());
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
      } finally {
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
      while (slot.await() != DeviceSlot.CLOSED) {
        long begun = System.nanoTime();
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
        long result =
            p == null
                ? TRAP
                : call.number == SENDTO
                    ? send(p, file)
                    : call.number == SETSOCKOPT ? setOption(p, file) : ask(handle);
        return result;
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
