// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.SlotLayout;
import dev.outboard.channel.SlotMemory;
import dev.outboard.channel.Welcome;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The device's end of a session whose host is elsewhere: stands for the host towards the device.
 * See {@link HostRelay}.
 *
 * <p>The device checks what comes from here as it checks any host; what this object checks is what
 * itself depends on.
 */
public final class DeviceRelay {
  private static final Duration PING = Duration.ofSeconds(5);
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private final Wire wire;
  private final WireFrames frames;
  private final FrameStream stream;
  private final Arena arena = Arena.ofAuto();
  private final AheadOrder order = new AheadOrder();
  private final ByteQueue.Pool pool = new ByteQueue.Pool();

  // Guarded by this: both readers use them.
  private @Nullable MemorySegment memory;
  private Carrier[] carriers = new Carrier[0];

  // The wire's reader makes it, once.
  private volatile @Nullable LookAhead looks;

  private DeviceRelay(Wire wire, int deviceFd) {
    this.wire = wire;
    this.frames = new WireFrames(wire);
    this.stream = new FrameStream(deviceFd);
  }

  /**
   * Carries one session, until either side ends it.
   *
   * @param wire a connection to where a {@link HostRelay} is
   * @param deviceFd a connected Unix socket whose other end the device serves; both are closed when
   *     this returns
   * @return why it has ended
   */
  public static String serve(Wire wire, int deviceFd) {
    return new DeviceRelay(wire, deviceFd).serve();
  }

  private String serve() {
    Thread deviceReader = Thread.ofPlatform().daemon().name("relay-device").start(this::readDevice);
    String why;
    try (Heartbeat heartbeat = new Heartbeat(wire, frames, PING, PATIENCE, PATIENCE)) {
      why = heartbeat.reason(frames.serve(new FromHost()));
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
    synchronized (this) {
      for (Carrier carrier : carriers) {
        if (carrier != null) {
          carrier.end();
        }
      }
    }
  }

  /** Null, or why the session has ended. */
  private @Nullable String fromDevice(Frame frame) {
    switch (frame) {
      case Welcome welcome -> {
        int fd = stream.takeDescriptor();
        try {
          MemorySegment slots = SlotMemory.owned(SlotMemory.map(welcome, fd), arena);
          synchronized (this) {
            memory = slots;
            carriers = new Carrier[welcome.slots()];
          }
        } catch (LinkException e) {
          return String.valueOf(e.getMessage());
        } finally {
          Linux.close(fd);
        }
      }
      case Frame.Attached f when f.slot() >= 0 && !begin(f.slot()) -> {
        return "the device gave out call slot " + f.slot() + ", which is not free";
      }
      case Frame.Detached f when !end(f.slot()) -> {
        return "the device took back call slot " + f.slot() + ", which nobody had";
      }
      case Frame.Ready f -> {
        LookAhead looker = looks;
        // Before it looks: what it finds goes with this, and it pushes, found it anything or not.
        frames.put(f);
        if (looker == null || !looker.ready(f.samples())) {
          frames.push();
        }
        return null;
      }
      case Frame.Bye(String why) -> {
        return why;
      }
      default -> {}
    }
    frames.send(frame);
    return null;
  }

  private synchronized boolean begin(int index) {
    MemorySegment slots = memory;
    if (slots == null || index >= carriers.length || carrier(index) != null) {
      return false;
    }
    Carrier before = carriers[index];
    if (before != null && (before.queue != null || before.looks)) {
      before.mirror.restore();
    }
    carriers[index] =
        new Carrier(index, slots.asSlice(index * SlotLayout.BYTES, SlotLayout.BYTES), before);
    carriers[index].thread.start();
    return true;
  }

  private boolean end(int index) {
    Carrier carrier = carrier(index);
    if (carrier == null) {
      return false;
    }
    carrier.end();
    Uninterrupted.join(carrier.thread);
    return true;
  }

  private synchronized @Nullable Carrier carrier(int slot) {
    Carrier carrier = slot >= 0 && slot < carriers.length ? carriers[slot] : null;
    return carrier == null || carrier.over ? null : carrier;
  }

  /** What the host's end says. All of it is checked: it may be hostile. */
  private final class FromHost implements WireFrames.Receiver {
    /** Something was sent ahead by it of which it has not been told. */
    private @Nullable Carrier added;

    @Override
    public @Nullable String frame(Frame frame) {
      if (!(frame instanceof Frame.Ahead)) {
        handedOn(); // it may give a slot back
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
      SendQueue queue = carrier.queue;
      if (queue == null) {
        queue = new SendQueue(order, pool);
        carrier.queue = queue;
      }
      if (!carrier.equals(added)) {
        handedOn();
        added = carrier;
      }
      return queue.add(frame);
    }

    @Override
    public void handedOn() {
      Carrier carrier = added;
      added = null;
      SendQueue queue = carrier == null ? null : carrier.queue;
      if (carrier != null && queue != null && queue.wakes() && !carrier.begin(queue)) {
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
      carrier.mirror.apply(offset, bytes);
      return null;
    }

    @Override
    public @Nullable String call(int slot, int sequence, int number, int flags, long[] args) {
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
      Call call = carrier.slot.call();
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
      boolean quiet = looker == null || looker.isQuiet();
      if (ordering == 0 && quiet && order.isIdle() && number != PseudoCall.LOOK) {
        // Nothing that it would have to wait for: it need not go through the slot's thread.
        return carrier.submit() ? null : "the two ends do not speak of the same call";
      }
      carrier.after = order.added();
      carrier.afterLooks = looker == null ? 0 : looker.asked();
      carrier.due();
      return null;
    }

    @Override
    public @Nullable String reply(
        int slot, int sequence, long result, int mask, int birth, long stamp) {
      return "the host answered a call";
    }
  }

  /** Makes the calls of one slot and sends their ends. */
  private final class Carrier implements Runnable, LookAhead.Looker {
    private final int index;
    private final MemorySegment timeout;
    private final CallSlot slot;
    private final SlotMirror mirror;

    /** What there is to be done that has not been submitted. */
    private final AtomicInteger due = new AtomicInteger();

    private final Thread thread;
    // Handed over by what is due, or by the call's end.
    private int wanted;
    private long extent;
    private long after;
    private long afterLooks;
    // The wire's reader makes it, before it hands over what is in it.
    private @Nullable SendQueue queue;
    // Likewise: it has made the slot's call, of what is in the queue.
    private boolean begun;
    // The slot's thread's: there is something that the host is to be told of before long.
    private boolean untold;
    // The wire's reader's, again: the slot is for looking ahead.
    private boolean looks;
    private volatile boolean busy;
    private volatile int interrupted;
    private volatile boolean over;

    Carrier(int index, MemorySegment place, @Nullable Carrier before) {
      this.index = index;
      this.timeout = before == null ? arena.allocate(CallSlot.TIMEOUT_BYTES, 8) : before.timeout;
      this.slot = CallSlot.of(index, place, timeout);
      this.mirror = before == null ? new SlotMirror(slot.call().data, arena) : before.mirror;
      this.thread = Thread.ofPlatform().daemon().name("relay-slot-" + index).unstarted(this);
    }

    @Override
    public void run() {
      while (true) {
        boolean soon = untold;
        boolean ended =
            slot.awaitNext(
                () -> due.get() > 0 || over, soon ? SendQueue.TELL_NANOS : Long.MAX_VALUE);
        if (over) {
          return;
        }
        SendQueue ahead = queue;
        if (soon && ahead != null && !ended && due.get() == 0) {
          untold = false;
          tell(ahead.untold(index));
          continue;
        }
        if (ended && begun && ahead != null) {
          begun = false;
          sendAhead(ahead, ended(ahead));
          continue;
        }
        if (ended) {
          replyInOrder(slot.result());
          continue;
        }
        due.decrementAndGet();
        if (ahead != null) {
          sendAhead(ahead, false);
          continue;
        }
        LookAhead looker = DeviceRelay.this.looks;
        if (looks && looker != null) {
          looker.serve();
          continue;
        }
        long instead = inOrder();
        if (over) {
          return;
        }
        boolean looked = slot.call().number == PseudoCall.LOOK;
        if (looked && looker != null) {
          looker.await(looker.changed((int) slot.call().args[0]), () -> over);
        }
        if (instead != 0 || looked) {
          slot.call().start(PseudoCall.PING); // so that both ends count the same
        }
        if (!submit()) {
          wire.stop();
          return;
        }
        slot.await(Long.MAX_VALUE);
        if (over) {
          return;
        }
        replyInOrder(instead != 0 ? instead : slot.result());
      }
    }

    private void replyInOrder(long result) {
      LookAhead looker = DeviceRelay.this.looks;
      if (slot.call().number == PseudoCall.SYNC && looker != null) {
        // What the program is told of is with it before that.
        looker.await(looker.changed(slot.call().data, result), () -> over);
      }
      reply(result);
    }

    /** Hands the call to the device; false if the two ends do not mean the same one. */
    private boolean submit() {
      slot.submit();
      return slot.sequence() == wanted;
    }

    private void reply(long result) {
      // Before the reply, which the next call may follow at once. A host that writes before it has
      // the reply spoils what it receives itself.
      busy = false;
      frames.sendReply(
          index,
          wanted,
          result,
          slot.readyMask(),
          slot.newBirth(),
          slot.readyStamp(),
          mirror,
          extent);
    }

    /**
     * Waits until what was sent ahead before the call is where the call may find it.
     *
     * @return 0, or what the call ends with instead of being made
     */
    private long inOrder() {
      Call call = slot.call();
      int flags = call.flags;
      call.flags = 0;
      LookAhead looker = DeviceRelay.this.looks;
      if (looker != null) {
        looker.awaitAsked(afterLooks, () -> over);
      }
      if (flags == 0) {
        order.await(after, () -> over);
        return 0;
      }
      boolean patient = flags == Call.AFTER;
      BooleanSupplier out = () -> over || interrupted == wanted;
      if (order.awaitAll(after, call.args[0], patient, out)) {
        return 0;
      }
      return interrupted == wanted ? -Errno.ERESTARTSYS : -Errno.EAGAIN;
    }

    /**
     * Makes the first call of what has come ahead, instead of the slot's thread, which need not be
     * woken before it has ended. By the wire's reader, while that thread knows of nothing to do.
     *
     * @return false if that is for the slot's thread: it may have to wait, or to write
     */
    boolean begin(SendQueue ahead) {
      if (over || !ahead.isPlain() || !ahead.fill(slot.call())) {
        return false;
      }
      begun = true;
      slot.submit();
      return true;
    }

    /**
     * Sends what has come ahead, until there is nothing more of it.
     *
     * @param again whether the socket had no room for what comes first
     */
    private void sendAhead(SendQueue ahead, boolean again) {
      boolean waits = again;
      Call call = slot.call();
      while (!over) {
        tell(ahead.dropped(index));
        if (!ahead.fill(call)) {
          untold = ahead.isUntold();
          return;
        }
        if (call.number == PseudoCall.SEND) {
          call.args[4] = waits ? 1 : 0;
        }
        LookAhead looker = DeviceRelay.this.looks;
        if (ahead.closes() && looker != null) {
          // Whoever gets the handle's number next has nothing to do with what was taken.
          looker.awaitAsked(looker.asked(), () -> over);
        }
        slot.submit();
        slot.await(Long.MAX_VALUE);
        if (over) {
          return;
        }
        waits = ended(ahead);
      }
    }

    /** A call of what has come ahead has ended; whether the socket had no room. */
    private boolean ended(SendQueue ahead) {
      long r = slot.result();
      boolean full = r == -Errno.EAGAIN && slot.call().number == PseudoCall.SEND;
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
      if (done != null) {
        frames.send(done);
      }
    }

    @Override
    public long make(int number, int handle, long first, long second) {
      Call call = slot.call();
      call.start(number);
      call.args[0] = handle;
      call.args[1] = first;
      call.args[2] = second;
      slot.submit();
      slot.await(Long.MAX_VALUE);
      return slot.result();
    }

    @Override
    public int mask() {
      return slot.readyMask();
    }

    @Override
    public MemorySegment data() {
      return slot.call().data;
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
      slot.nudge();
    }

    /** Ends the thread; a call that is pending has no end any more. */
    void end() {
      over = true;
      order.wake();
      LookAhead looker = DeviceRelay.this.looks;
      if (looker != null) {
        looker.wake();
      }
      slot.lose();
    }
  }
}
