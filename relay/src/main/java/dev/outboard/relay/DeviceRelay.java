// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.channel.Bell;
import dev.outboard.channel.CallCarrier;
import dev.outboard.channel.CallMaker;
import dev.outboard.channel.CallSource;
import dev.outboard.channel.CarrierTask;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.SlotLayout;
import dev.outboard.channel.Welcome;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The device's end of a session whose host is elsewhere, in the device's process: stands for the
 * host towards the device. See {@link HostRelay}.
 *
 * <p>Frames go through the session's link; calls do not: whoever makes them takes them from here,
 * and sends their ends itself. The device checks what comes from here as it checks any host; what
 * this object checks is what itself depends on.
 */
public final class DeviceRelay implements CallCarrier {
  private static final Duration PING = Duration.ofSeconds(5);
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** How long a host may hold up those who are to end with the session. */
  private static final Duration LAST_WORD = Duration.ofSeconds(4);

  private final Wire wire;
  private final WireFrames frames;
  private final FrameStream stream;
  private final Arena arena = Arena.ofAuto();
  private final AheadOrder order = new AheadOrder();
  private final ByteQueue.Pool pool = new ByteQueue.Pool();

  // Guarded by this.
  private @Nullable Carrier[] carriers = new Carrier[0];
  private @Nullable Deadline ending;
  private int out;

  // The wire's reader makes it, once.
  private volatile @Nullable LookAhead looks;

  /** There is one for the wire's reader. */
  private volatile @Nullable CarrierTask offered;

  /**
   * @param wire a connection to where a {@link HostRelay} is
   * @param deviceFd a connected Unix socket whose other end the device serves, with this object as
   *     its carrier; both are closed when {@link #serve} returns
   */
  public DeviceRelay(Wire wire, int deviceFd) {
    this.wire = wire;
    this.frames = new WireFrames(wire);
    this.stream = new FrameStream(deviceFd);
  }

  /**
   * Carries one session, until either side ends it. Called once.
   *
   * @return why it has ended
   */
  public String serve() {
    Thread deviceReader = Thread.ofPlatform().daemon().name("relay-device").start(this::readDevice);
    FromHost fromHost = new FromHost();
    String why;
    try (Heartbeat heartbeat = new Heartbeat(wire, frames, PING, PATIENCE, PATIENCE)) {
      why = heartbeat.reason(frames.serve(fromHost));
    } catch (RuntimeException e) {
      why = "the relay fails: " + e; // Or the device would wait for what nobody reads.
    } finally {
      fromHost.leave();
    }
    stream.sendLast(new Frame.Bye(why));
    stream.stop();
    wire.stop();
    Uninterrupted.join(deviceReader);
    stream.close();
    wire.close();
    return why;
  }

  private void readDevice() {
    String why = null;
    while (why == null) {
      try {
        why =
            switch (stream.receive(-1)) {
              case Decoded.Received(Frame frame) -> fromDevice(frame);
              case Decoded.Malformed(String what) -> what;
              case Decoded.Ended(String what) -> what;
            };
      } catch (RuntimeException e) {
        why = "the relay fails: " + e; // Or the host would wait for what nobody reads.
      }
    }
    frames.send(new Frame.Bye(why));
    wire.finish();
    comesOut(1);
  }

  @Override
  public void ending() {
    // Who makes calls may wait for a host that reads nothing, and so may whoever brings the
    // session's last word; the device does not wait for long until all of them are out.
    Deadline last = new Deadline(LAST_WORD, wire::stop);
    synchronized (this) {
      ending = last;
    }
    comesOut(0);
  }

  @Override
  public void ended() {
    comesOut(1);
  }

  /** So many more of two have come out: the session, and who brings its last word. */
  private synchronized void comesOut(int more) {
    out += more;
    if (ending != null && out == 2) {
      ending.met();
    }
  }

  /** Null, or why the session has ended. */
  private @Nullable String fromDevice(Frame frame) {
    switch (frame) {
      case Welcome welcome -> {
        // The memory of the slots, which is that of whoever makes calls.
        Linux.close(stream.takeDescriptor());
      }
      case Frame.Bye(String why) -> {
        return why;
      }
      default -> {}
    }
    frames.send(frame);
    return null;
  }

  @Override
  public void begin(CarrierTask task) {
    offered = task;
  }

  @Override
  public void tell(Frame.Ready edges) {
    LookAhead looker = looks;
    // Before it looks: what it finds goes with this, and it pushes, found it anything or not.
    frames.put(edges);
    if (looker == null || !looker.ready(edges.samples())) {
      frames.push();
    }
  }

  @Override
  public synchronized CallSource open(int index, MemorySegment data) {
    if (index >= carriers.length) {
      carriers = Arrays.copyOf(carriers, Math.max(index + 1, 2 * carriers.length));
    }
    Carrier before = carriers[index];
    if (before != null && (before.queue != null || before.looks)) {
      before.mirror.restore();
    }
    Carrier carrier = new Carrier(index, data, before);
    carriers[index] = carrier;
    return carrier;
  }

  private synchronized @Nullable Carrier carrier(int slot) {
    Carrier carrier = slot >= 0 && slot < carriers.length ? carriers[slot] : null;
    return carrier == null || carrier.over ? null : carrier;
  }

  /** What the host's end says. All of it is checked: it may be hostile. */
  private final class FromHost implements WireFrames.Receiver {
    /** Something was sent ahead by it of which it has not been told. */
    private @Nullable Carrier added;

    /** What this thread does of that itself; null as long as nothing has come, or if it cannot. */
    private @Nullable ReaderSends sends;

    private boolean tried;

    /** What is to be done by {@link ReaderSends}; null if that cannot be. */
    private @Nullable ReaderSends sends() {
      CarrierTask task = offered;
      if (!tried && task != null) {
        tried = true;
        sends = ReaderSends.begin(frames, task);
      }
      return sends;
    }

    void leave() {
      ReaderSends has = sends;
      if (has != null) {
        sends = null;
        has.end();
      }
    }

    @Override
    public @Nullable String frame(Frame frame) {
      if (!(frame instanceof Frame.Ahead)) {
        handedOn(); // it may give a slot back
        if (sends != null && sends.wrong() != null) {
          return sends.wrong();
        }
      }
      switch (frame) {
        case Frame.Attach f when f.lent() -> {
          return "the host wants a call slot lent, which cannot be over a stream";
        }
        case Frame.Ahead f -> {
          return ahead(f);
        }
        case Frame.Look f -> {
          LookAhead looker = looker(f.slot());
          return looker == null ? wrongLook(f.slot()) : looker.look(f);
        }
        case Frame.Taken f -> {
          LookAhead looker = looker(f.slot());
          return looker == null ? wrongLook(f.slot()) : looker.taken(f);
        }
        case Frame.Interrupt f -> {
          Carrier carrier = carrier(f.slot());
          if (carrier != null) {
            carrier.interrupted = f.sequence();
            order.wake();
          }
          stream.send(f);
        }
        case Frame.Ping f when f.id() == Heartbeat.ID -> {} // it was heard
        default -> stream.send(frame);
      }
      return null;
    }

    /** What looks by this slot; null if that cannot be. */
    private @Nullable LookAhead looker(int slot) {
      Carrier carrier = carrier(slot);
      LookAhead looker = looks;
      if (carrier == null || carrier.busy || carrier.queue != null) {
        return null;
      }
      if (looker == null) {
        looker = new LookAhead(carrier);
        carrier.looks = true;
        looks = looker;
      }
      return carrier.looks ? looker : null;
    }

    private @Nullable String wrongLook(int slot) {
      return carrier(slot) == null
          ? null // for a slot that is on its way out
          : "the host looks ahead by a slot that is used for something else";
    }

    private @Nullable String ahead(Frame.Ahead frame) {
      Carrier carrier = carrier(frame.slot());
      if (carrier == null) {
        return null;
      }
      if (carrier.busy || carrier.looks) {
        return "the host sent bytes ahead by a slot that has a call";
      }
      ReaderSends atOnce = sends();
      if (atOnce != null) {
        if (atOnce.takes(carrier, frame)) {
          return atOnce.wrong();
        }
        atOnce.settle();
        if (atOnce.wrong() != null) {
          return atOnce.wrong();
        }
      }
      if (!carrier.equals(added)) {
        handedOn();
        added = carrier;
      }
      return carrier.queue().add(frame);
    }

    @Override
    public void handedOn() {
      ReaderSends atOnce = sends;
      if (atOnce != null) {
        atOnce.handedOn();
      }
      Carrier carrier = added;
      added = null;
      SendQueue queue = carrier == null ? null : carrier.queue;
      if (carrier != null && queue != null && queue.wakes()) {
        carrier.due();
      }
    }

    @Override
    public @Nullable String data(int slot, int offset, ByteBuffer bytes) {
      Carrier carrier = carrier(slot);
      if (carrier == null) {
        return null; // for a thread that is on its way out
      }
      if (carrier.busy) {
        return "the host wrote to a call slot while it has a call";
      }
      if (!carrier.mirror.holds(offset, bytes.remaining())) {
        return "the host wrote beyond the end of a call slot";
      }
      carrier.apply(offset, bytes);
      return null;
    }

    @Override
    public @Nullable String call(int slot, int sequence, int number, int flags, long[] args) {
      ReaderSends atOnce = sends();
      if (atOnce != null) {
        // What was sent before the call is with the socket before it, and an error with the host.
        atOnce.handedOn();
        if (atOnce.wrong() != null) {
          return atOnce.wrong();
        }
      }
      Carrier carrier = carrier(slot);
      if (carrier == null) {
        return null;
      }
      if (carrier.busy) {
        return "the host made a call in a slot that has one";
      }
      if (carrier.queue != null || carrier.looks) {
        return "the host made a call in a slot by which it sends or looks ahead";
      }
      int ordering = flags & Extent.OTHER_FLAGS;
      if (ordering > Call.AFTER_OR_AGAIN) {
        return "the host made a call with flags that there are not";
      }
      if (sequence != SlotLayout.next(carrier.wanted)) {
        return "the two ends do not speak of the same call";
      }
      Call call = carrier.call;
      call.start(number);
      call.flags = ordering;
      long extent = Extent.of(flags, call.data.byteSize());
      if (extent < 0) {
        return "the host made a call beyond the end of a call slot";
      }
      carrier.extent = extent;
      System.arraycopy(args, 0, call.args, 0, call.args.length);
      carrier.busy = true;
      carrier.wanted = sequence;
      LookAhead looker = looks;
      carrier.after = order.added();
      carrier.afterLooks = looker == null ? 0 : looker.asked();
      if (atOnce == null || !carrier.answers(atOnce.task())) {
        carrier.due();
      }
      return null;
    }

    @Override
    public @Nullable String reply(
        int slot, int sequence, long result, int mask, int birth, long stamp) {
      return "the host answered a call";
    }
  }

  /** The calls of one slot: has them made, and sends their ends. */
  private final class Carrier implements CallSource, LookAhead.Looker, ReaderSends.Owner {
    private final int index;
    private final Call call;
    private final SlotMirror mirror;
    private final Bell bell;
    private final BooleanSupplier somethingToDo = this::hasSomethingToDo;
    private final BooleanSupplier isOver = this::isOver;
    private final BooleanSupplier isOut = this::isOut;

    /** What there is to be done. */
    private final AtomicInteger due = new AtomicInteger();

    // Handed over by what is due, or by the call's end.
    private int wanted;
    private long extent;
    private long after;
    private long afterLooks;
    // The wire's reader makes it, before it hands over what is in it.
    private @Nullable SendQueue queue;
    // The slot's thread's: how much the reader had made when it looked last.
    private int madeByReader;
    // The slot's thread's: there is something that the host is to be told of before long.
    private boolean untold;
    private volatile @Nullable CallMaker maker;
    // Handed over by the wire's reader: what has come of the call, which it has made.
    private boolean answered;
    private long answer;
    // The wire's reader's, again: the slot is for looking ahead.
    private boolean looks;
    private volatile boolean busy;
    private volatile int interrupted;

    /** Written under the monitor, which whoever else touches the data has: they may go then. */
    private volatile boolean over;

    /**
     * @param before what had the slot before, which is over; null if nothing had
     */
    Carrier(int index, MemorySegment data, @Nullable Carrier before) {
      this.index = index;
      this.call = new Call(data);
      this.mirror = before == null ? new SlotMirror(data, arena) : before.mirror;
      this.bell = before == null ? new Bell(arena) : before.bell;
    }

    /** Takes what the host has changed in the data. The wire's reader. */
    synchronized void apply(int offset, ByteBuffer bytes) {
      if (!over) {
        mirror.apply(offset, bytes);
      }
    }

    @Override
    public Call call() {
      return call;
    }

    @Override
    public int index() {
      return index;
    }

    @Override
    public SendQueue queue() {
      SendQueue made = queue;
      if (made == null) {
        made = new SendQueue(order, pool);
        queue = made;
      }
      return made;
    }

    @Override
    public synchronized long send(CarrierTask task, int handle, int count, int flags) {
      return over ? count : task.send(handle, call.data, count, flags);
    }

    @Override
    public synchronized boolean put(int at, ByteBuffer bytes) {
      if (!over) {
        MemorySegment.copy(MemorySegment.ofBuffer(bytes), 0, call.data, at, bytes.remaining());
      }
      return !over;
    }

    private boolean hasSomethingToDo() {
      return over || due.get() > 0;
    }

    private boolean isOver() {
      return over;
    }

    private boolean isOut() {
      return over || interrupted == wanted;
    }

    @Override
    public void run(CallMaker calls) {
      maker = calls;
      try {
        makeAll(calls);
      } finally {
        close();
        maker = null;
        SendQueue ahead = queue;
        if (ahead != null) {
          ahead.abandon();
        }
      }
    }

    private void makeAll(CallMaker calls) {
      while (true) {
        boolean soon = untold;
        boolean any = bell.await(somethingToDo, soon ? SendQueue.TELL_NANOS : Long.MAX_VALUE);
        if (over) {
          return;
        }
        SendQueue ahead = queue;
        LookAhead looker = DeviceRelay.this.looks;
        if (!any) {
          tellInTime(ahead);
          continue;
        }
        due.decrementAndGet();
        if (ahead != null) {
          sendAhead(ahead);
        } else if (looks && looker != null) {
          looker.serve();
        } else {
          makeWanted(calls);
        }
      }
    }

    /** Nothing has come for some time: of a long transfer, all is told of. */
    private void tellInTime(@Nullable SendQueue ahead) {
      if (ahead != null) {
        tell(ahead.due(index));
      }
      untold = ahead != null && ahead.hasToTell();
      if (ahead != null && untold) {
        int made = ahead.madeByReader();
        if (made == madeByReader) {
          untold = false;
          tell(ahead.lastUntold(index));
        }
        madeByReader = made;
      }
    }

    /** Makes the host's call, once its turn has come. */
    private void makeWanted(CallMaker calls) {
      if (answered) {
        answered = false;
        reply(calls, answer);
        return;
      }
      LookAhead looker = DeviceRelay.this.looks;
      long result = inOrder();
      if (over) {
        return;
      }
      if (call.number == PseudoCall.LOOK) {
        if (looker != null) {
          looker.await(looker.changed((int) call.args[0]), isOver);
        }
        call.start(PseudoCall.PING);
      }
      if (result != 0) {
        // It is not made; what is told of a file with its end is not the last one's.
        call.start(PseudoCall.PING);
        calls.make(wanted);
      } else {
        result = calls.make(wanted);
        if (call.number == PseudoCall.SYNC && looker != null) {
          // What the program is told of is with it before that.
          looker.await(looker.changed(call.data, result), isOver);
        }
      }
      if (!over) {
        reply(calls, result);
      }
    }

    private void reply(CallMaker calls, long result) {
      // Before the reply, which the next call may follow at once. A host that writes before it has
      // the reply spoils what it receives itself.
      busy = false;
      frames.sendReply(index, wanted, result, calls, mirror, extent);
    }

    /**
     * Makes the host's call and has it answered, if it only asks and nothing has to be waited for.
     * The wire's reader; the slot's thread has nothing to do meanwhile.
     *
     * @return false if that thread has to make it
     */
    synchronized boolean answers(CarrierTask task) {
      CallMaker calls = maker;
      LookAhead looker = DeviceRelay.this.looks;
      Row row = SyscallTable.byCanonical(call.number);
      if (over
          || calls == null
          || row == null
          || !row.asks(call)
          || !order.isIdle()
          || (looker != null && !looker.isQuiet())
          || !task.hold((int) call.args[0])) {
        return false;
      }
      try {
        answer(calls);
      } finally {
        task.release();
      }
      return true;
    }

    private void answer(CallMaker calls) {
      call.flags = 0;
      long result = calls.make(wanted);
      if (frames.offerReply(index, wanted, result, calls, mirror, extent)) {
        busy = false;
      } else {
        answer = result;
        answered = true;
        due();
      }
    }

    /**
     * Waits until what was sent ahead before the call is where the call may find it.
     *
     * @return 0, or what the call ends with instead of being made
     */
    private long inOrder() {
      int flags = call.flags;
      call.flags = 0;
      LookAhead looker = DeviceRelay.this.looks;
      if (looker != null) {
        looker.awaitAsked(afterLooks, isOver);
      }
      if (flags == 0) {
        order.await(after, isOver);
        return 0;
      }
      boolean patient = flags == Call.AFTER;
      if (order.awaitAll(after, call.args[0], patient, isOut)) {
        return 0;
      }
      return interrupted == wanted ? -Errno.ERESTARTSYS : -Errno.EAGAIN;
    }

    /** Sends what has come ahead, until there is nothing more of it. */
    private void sendAhead(SendQueue ahead) {
      boolean waits = false;
      while (!over) {
        tell(ahead.dropped(index));
        if (!ahead.fill(call)) {
          if (!ahead.isEmpty()) {
            continue;
          }
          tell(ahead.due(index));
          untold = ahead.hasToTell();
          madeByReader = ahead.madeByReader();
          return;
        }
        if (call.number == PseudoCall.SEND) {
          call.args[4] = waits ? 1 : 0;
        }
        LookAhead looker = DeviceRelay.this.looks;
        if (ahead.closes() && looker != null) {
          // Whoever gets the handle's number next has nothing to do with what was taken.
          looker.awaitAsked(looker.asked(), isOver);
        }
        long result = make();
        if (over) {
          return;
        }
        waits = ended(ahead, result);
      }
    }

    /** A call of what has come ahead has ended; whether the socket had no room. */
    private boolean ended(SendQueue ahead, long r) {
      boolean full = r == -Errno.EAGAIN && call.number == PseudoCall.SEND;
      if (full) {
        ahead.blocks();
        tell(ahead.untold(index)); // That may be long, and the host may have others waiting.
      } else if (r != -Errno.EINTR && r != -Errno.ERESTARTSYS) {
        boolean closes = ahead.closes();
        Frame.Done done = ahead.made(index, r);
        if (done != null && closes) {
          frames.sendLater(done); // The host needs it only to be able to close more.
        } else {
          tell(done);
        }
      }
      return full;
    }

    private void tell(Frame.@Nullable Done done) {
      SendQueue ahead = queue;
      if (done != null && ahead != null) {
        frames.send(done);
        ahead.isTold(done);
      }
    }

    /** A call of this end's own. */
    private long make() {
      CallMaker calls = maker;
      if (calls == null) {
        throw new IllegalStateException("nobody makes calls of slot " + index);
      }
      wanted = SlotLayout.next(wanted);
      return calls.make(wanted);
    }

    @Override
    public long make(int number, int handle, long first, long second) {
      call.start(number);
      call.args[0] = handle;
      call.args[1] = first;
      call.args[2] = second;
      return make();
    }

    @Override
    public int mask() {
      CallMaker calls = maker;
      return calls == null ? -1 : calls.readyMask();
    }

    @Override
    public MemorySegment data() {
      return call.data;
    }

    @Override
    public void tell(Frame.Looked frame) {
      frames.send(frame);
    }

    @Override
    public void served() {
      frames.push();
    }

    @Override
    public void due() {
      due.incrementAndGet();
      bell.ring();
    }

    @Override
    public void close() {
      synchronized (this) {
        over = true;
      }
      order.wake();
      LookAhead looker = DeviceRelay.this.looks;
      if (looker != null) {
        looker.wake();
      }
      bell.ring();
    }
  }
}
