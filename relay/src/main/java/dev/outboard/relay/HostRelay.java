// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.abi.Errno;
import dev.outboard.channel.Decoded;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameCodec;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.LinkException;
import dev.outboard.channel.NearEnd;
import dev.outboard.channel.SlotLayout;
import dev.outboard.channel.SlotMemory;
import dev.outboard.channel.Welcome;
import dev.outboard.posix.Linux;
import dev.outboard.posix.SealedMemory;
import dev.outboard.posix.SocketPair;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.Call;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * The host's end of a session with a device that shares no memory with it: stands for the device
 * towards the hook, and carries what the hook says and writes over a {@link Wire}.
 *
 * <p>Frames are handed on as they are. A call slot is memory of this machine; whoever makes its
 * calls sends them, too, as this object is the link's {@link NearEnd}, and whoever reads the wire
 * tells the hook of sockets and of the ends of calls. {@link SlotMirror} says what of it crosses.
 * Slots that are lent to a program are the hook's own matter.
 *
 * <p>Threads: one that reads the hook's frames, one that reads the wire, two of {@link Heartbeat};
 * all daemons, all gone when {@link #close} returns but for one that the wire holds up.
 */
public final class HostRelay implements NearEnd, AutoCloseable {
  private static final Duration PING = Duration.ofSeconds(5);
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** How long the other end may take to close the wire after a Bye. */
  private static final Duration PARTING = Duration.ofSeconds(5);

  private final Wire wire;
  private final WireFrames frames;
  private final FrameStream stream;
  private final int linkFd;
  private final Heartbeat heartbeat;
  private final Arena arena = Arena.ofAuto();
  private final Thread hookReader;
  private final Thread wireReader;

  // Changed under the monitor.
  private int looksSent;
  private volatile boolean over;
  private volatile @Nullable Hearer hearer;

  // The wire's reader alone uses these.
  private @Nullable MemorySegment memory;
  private int looked;

  // Written by the wire's reader, before there is any slot.
  private volatile AtomicReferenceArray<@Nullable Carrier> carriers = new AtomicReferenceArray<>(0);
  private volatile boolean saysExtent;

  private HostRelay(Wire wire, int theirs, int ours, Duration first) {
    this.wire = wire;
    this.frames = new WireFrames(wire);
    this.stream = new FrameStream(ours);
    this.linkFd = theirs;
    this.heartbeat = new Heartbeat(wire, frames, PING, PATIENCE, first);
    this.hookReader = Thread.ofPlatform().daemon().name("relay-hook").start(this::readHook);
    this.wireReader = Thread.ofPlatform().daemon().name("relay-wire").start(this::readWire);
  }

  /**
   * Begins to carry.
   *
   * @param wire a connection to where a {@link DeviceRelay} is; owned by the result from here on
   * @throws IOException if there are no descriptors left
   */
  public static HostRelay start(Wire wire) throws IOException {
    return start(wire, PATIENCE);
  }

  /**
   * Begins to carry, for a device that may say nothing for longer than later on, as it is just
   * being started.
   *
   * @param wire a connection to where a {@link DeviceRelay} will be; owned by the result from here
   *     on
   * @param first how long it may take until the first word comes over it
   * @throws IOException if there are no descriptors left
   */
  public static HostRelay start(Wire wire, Duration first) throws IOException {
    SocketPair pair = SocketPair.open();
    if (pair.error() < 0) {
      wire.close();
      throw new IOException("no link within this process: " + Errno.name(-pair.error()));
    }
    return new HostRelay(wire, pair.one(), pair.other(), first);
  }

  /**
   * A connected socket for {@code DeviceLink.overDescriptor}, which owns it from then on, and is to
   * be given this object, too.
   */
  public int linkFd() {
    return linkFd;
  }

  private void readHook() {
    while (true) {
      switch (stream.receive(-1)) {
        case Decoded.Received(Frame.Bye bye) -> {
          // What is under way from the other side is still of interest; it closes the wire.
          frames.send(bye);
          return;
        }
        case Decoded.Received(Frame.Attach attach) when attach.lent() ->
            stream.send(new Frame.Attached(attach.id(), -Errno.EOPNOTSUPP));
        case Decoded.Received(Frame frame)
            when frame instanceof Frame.Look || frame instanceof Frame.Taken -> {
          frames.send(frame);
          looksSent(1);
        }
        case Decoded.Received(Frame frame) -> frames.send(frame);
        case Decoded.Malformed(String why) -> {
          frames.send(new Frame.Bye(why));
          wire.stop();
          return;
        }
        case Decoded.Ended(String why) -> {
          wire.stop();
          return;
        }
      }
    }
  }

  @Override
  public void tell(Hearer to) {
    hearer = to;
  }

  @Override
  public boolean send(Frame.Ahead frame, int flags, boolean now) {
    awaitLooks(flags);
    if (now) {
      frames.send(frame);
    } else {
      frames.sendLater(frame);
    }
    return !over;
  }

  @Override
  public boolean sendBytes(
      int slot, boolean first, int handle, int flags, MemorySegment bytes, boolean now) {
    frames.sendAhead(slot, first, handle, flags, bytes, now);
    return !over;
  }

  @Override
  public void push() {
    frames.push();
  }

  @Override
  public void keep() {
    frames.keep();
  }

  @Override
  public void call(int slot, int sequence, Call call, @Nullable Runnable ended) {
    Carrier carrier = carrier(slot);
    if (carrier == null) {
      return; // The hook is about to hear why.
    }
    awaitLooks(call.flags);
    long extent = saysExtent ? call.extent : call.data.byteSize();
    int flags = (call.flags & Call.ORDER) | (saysExtent ? Extent.flags(extent) : 0);
    carrier.told = ended;
    carrier.pending = sequence;
    frames.sendCall(slot, sequence, call, flags, carrier.mirror, extent);
  }

  /** Who has a slot that is in use. */
  private @Nullable Carrier carrier(int slot) {
    Carrier carrier = slot >= 0 && slot < carriers.length() ? carriers.get(slot) : null;
    return carrier == null || carrier.ended ? null : carrier;
  }

  private synchronized void looksSent(int more) {
    looksSent += more;
    notifyAll();
  }

  /**
   * Waits until the Look and Taken that the hook had sent when it made a call, or closed a handle,
   * are on the wire: the two take different ways to there. What goes ahead takes the call's.
   */
  private synchronized void awaitLooks(int flags) {
    int bits = Call.SENT_SHIFT;
    while ((flags & Call.SENT_KNOWN) != 0 && !over && (looksSent - (flags >>> bits)) << bits < 0) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private void readWire() {
    String why = heartbeat.reason(frames.serve(new FromDevice()));
    heartbeat.close();
    wire.stop();
    synchronized (this) {
      over = true;
      notifyAll();
    }
    if (memory != null) {
      // Before there is a session, what the other end says last is what there is to be said.
      stream.sendLast(new Frame.Bye(why));
    }
    stream.stop();
    wire.close();
  }

  /** Waits until both ends are done with each other, if that does not take long; gives all back. */
  @Override
  public void close() {
    try {
      if (!wireReader.join(PARTING)) {
        wire.stop();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      wire.stop();
    }
    Uninterrupted.join(wireReader);
    Uninterrupted.join(hookReader);
    stream.close();
  }

  /** What the device's end says. All of it is checked: it may be hostile. */
  private final class FromDevice implements WireFrames.Receiver {
    @Override
    public @Nullable String frame(Frame frame) {
      switch (frame) {
        case Welcome welcome -> {
          return welcome(welcome);
        }
        case Frame.Attached f -> {
          if (f.slot() >= 0 && !begin(f.slot())) {
            return "the device gave out call slot " + f.slot() + ", which is not free";
          }
          stream.send(f);
        }
        case Frame.Detached f -> {
          Carrier carrier = carrier(f.slot());
          if (carrier == null) {
            return "the device took back call slot " + f.slot() + ", which nobody had";
          }
          carrier.ended = true;
          stream.send(f);
        }
        case Frame.Ping f when f.id() == Heartbeat.ID -> {} // it was heard
        case Frame.Ready f -> {
          return tell(f);
        }
        case Frame.Notice f -> stream.send(f);
        case Frame.Counts f -> stream.send(f);
        case Frame.Done f -> {
          return tell(f);
        }
        case Frame.Looked f -> {
          looked++;
          return tell(f);
        }
        case Frame.Ping f -> stream.send(f);
        case Frame.Pong f -> stream.send(f);
        case Frame.Bye f -> {
          if (memory == null) {
            stream.sendLast(f);
          }
          return f.why();
        }
        case Frame.Unknown f -> {}
        default -> {
          return "it sent a frame that only a host sends";
        }
      }
      return null;
    }

    /** What the hook is to know before the end of any call that ends after this. */
    private @Nullable String tell(Frame frame) {
      Hearer to = hearer;
      if (to != null) {
        return to.heard(frame);
      }
      stream.send(frame);
      return null;
    }

    private @Nullable String welcome(Welcome welcome) {
      if (memory != null) {
        return "it sent a second welcome";
      }
      if (welcome.slots() < 1 || welcome.slots() > SlotLayout.MAX_SLOTS) {
        return "the device offers " + welcome.slots() + " call slots";
      }
      int fd = SealedMemory.create("outboard-slots", welcome.slots() * SlotLayout.BYTES);
      if (fd < 0) {
        return "no memory for the call slots: " + Errno.name(-fd);
      }
      saysExtent = welcome.version() >= FrameCodec.EXTENT_VERSION;
      try {
        memory = SlotMemory.owned(SlotMemory.map(welcome, fd), arena);
        carriers = new AtomicReferenceArray<>(welcome.slots());
        stream.send(welcome, fd);
      } catch (LinkException e) {
        return String.valueOf(e.getMessage());
      } finally {
        Linux.close(fd);
      }
      return null;
    }

    private boolean begin(int index) {
      MemorySegment slots = memory;
      if (slots == null || index >= carriers.length() || carrier(index) != null) {
        return false;
      }
      MemorySegment place = slots.asSlice(index * SlotLayout.BYTES, SlotLayout.BYTES);
      carriers.set(index, new Carrier(place, carriers.get(index), arena));
      return true;
    }

    @Override
    public @Nullable String data(int slot, int offset, ByteBuffer bytes) {
      Carrier carrier = carrier(slot);
      if (carrier == null || carrier.pending == 0) {
        return "the device wrote to call slot " + slot + ", which has no call";
      }
      if (!carrier.mirror.holds(offset, bytes.remaining())) {
        return "the device wrote beyond the end of a call slot";
      }
      carrier.mirror.apply(offset, bytes);
      return null;
    }

    @Override
    public @Nullable String call(int slot, int sequence, int number, int flags, long[] args) {
      return "the device made a call";
    }

    @Override
    public @Nullable String reply(
        int slot, int sequence, long result, int mask, int birth, long stamp) {
      Carrier carrier = carrier(slot);
      if (carrier == null || sequence == 0 || carrier.pending != sequence) {
        return "the device answered a call that was not made";
      }
      Runnable told = carrier.told;
      carrier.pending = 0;
      carrier.slot.took(sequence);
      carrier.slot.looked(looked);
      carrier.slot.complete(result, mask, stamp, birth);
      if (told != null) {
        told.run();
      }
      return null;
    }
  }

  /** A slot that is in use. Its user sends its calls; replies are the wire's reader's. */
  private static final class Carrier {
    private final DeviceSlot slot;
    private final SlotMirror mirror;
    // Written by the user before the call goes out, and by the wire's reader when its end has come.
    private volatile int pending;
    // Written before that.
    private @Nullable Runnable told;
    private volatile boolean ended;

    /**
     * @param before whoever had the slot; what both ends know of its data goes on
     */
    Carrier(MemorySegment place, @Nullable Carrier before, Arena arena) {
      this.slot = new DeviceSlot(place);
      slot.reset();
      this.mirror = before == null ? new SlotMirror(slot.data(), arena) : before.mirror;
    }
  }
}
