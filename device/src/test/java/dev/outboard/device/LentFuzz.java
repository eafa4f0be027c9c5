// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static dev.outboard.device.SpiedKernel.check;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Socket;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.channel.SendRing;
import dev.outboard.channel.SlotLayout;
import dev.outboard.device.SpiedKernel.Caller;
import dev.outboard.device.SpiedKernel.Kind;
import dev.outboard.syscalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * What a hostile process writes into slots that were lent to it: calls, what a poll names, the ring
 * of sends, entries of receives that were peeked at; also in the middle of a call or of a drain.
 * {@code -Pfuzz} looks for what does harm ({@code SECURITY.md}); {@link LentFuzzTest} replays what
 * is kept.
 *
 * <p>An input is what {@link SpiedKernel} decides, 16 bytes, and operations, one behind the other:
 * a byte that says which, and what it needs ({@link #operation}). The process knows the births of
 * the files from {@link #FIRST} on, but of {@link #SECRET} ones. A birth is random, so an input
 * says whose it means, or a number.
 *
 * <p>The device's side is its own code from the slot's header to the calls of a kernel, but for the
 * loop of {@link ShadowThread}: the one thread here does what that does, what the sender of {@link
 * Rests} does, and what other sessions do, and others who are in a call on a file.
 *
 * <p>Each stream's bytes are counted ({@link Offer}, {@link #streams}): a program that keeps to the
 * rules receives each of them once, in order, whether by calls or out of entries.
 */
class LentFuzz {
  static final int DECISIONS = 16;

  /** Of the files that there are at the beginning. */
  static final int FIRST = 3;

  private static final Kind[] KINDS = {
    Kind.ELSEWHERE,
    Kind.ELSEWHERE_NONBLOCK,
    Kind.LOOPBACK,
    Kind.UDP,
    Kind.FILE,
    Kind.ELSEWHERE_IPV6,
    Kind.OWN_ADDRESS,
    Kind.LOOPBACK_MAPPED,
    Kind.ELSEWHERE_NONBLOCK,
    Kind.FILE,
  };

  /** So many of the last ones' births the process does not know. */
  static final int SECRET = 2;

  private static final int SLOTS = 2;
  private static final int MAX_OPERATIONS = 40;
  private static final int HANDLES = 40;

  /** Calls of the kernel for each entry of a ring at most, with repeats and a close. */
  private static final int CALLS_PER_ENTRY = 16;

  /** An entry takes no less of a ring. */
  private static final int LEAST_ENTRY_BYTES = 32;

  /** Operations from this number on are about entries. */
  private static final int OF_PEEKS = 65;

  /** Calls that are out at a time. */
  private static final int MOST_INSIDE = 4;

  /** A look's poll, and looks and receives for all entries, with repeats. */
  private static final int CALLS_PER_LOOK = 1 + SpiedKernel.FILES * 16;

  private static final int HEADER_LINES = 512;
  private static final long FIRST_RAW = 4;

  private final MemorySegment memory = Arena.ofAuto().allocate(SLOTS * SlotLayout.BYTES, 4096);
  private final MemorySegment[] slots = new MemorySegment[SLOTS];
  private final Call[] calls = new Call[SLOTS];
  private final SpiedKernel kernel;
  private final DeviceServer server;
  private final FrameStream noStream = new FrameStream(-1);
  private final MemorySegment own;

  // Of one input.
  private byte[] in = {};
  private int at;
  private Session session;
  private final DeviceSlot[] devices = new DeviceSlot[SLOTS];
  private final SendsAhead.Ring[] rings = new SendsAhead.Ring[SLOTS];
  private final SendRing[] sendRings = new SendRing[SLOTS];
  private final LentCalls[] lent = new LentCalls[SLOTS];
  private final AtomicInteger[] wrong = new AtomicInteger[SLOTS];
  private final int[] taken = new int[SLOTS];
  private final long[] drained = new long[SLOTS];
  private final long[] forged = new long[SLOTS];
  private final boolean[] sound = new boolean[SLOTS];
  private final int[] guesses = new int[SLOTS];
  private final boolean[] rejected = new boolean[SLOTS];
  private final int[] generations = new int[SLOTS];
  private final Handles.@Nullable Handle[] handles = new Handles.Handle[SpiedKernel.FILES];
  private final int[] staleBirths = new int[SpiedKernel.FILES];
  private final List<Handles.Handle> all = new ArrayList<>();
  private final List<long[]> dirty = new ArrayList<>();
  private @Nullable Runnable sender;
  private int calling = -1;

  /** What the entries of a slot were filled with last. */
  private final @Nullable Offer[][] offers = new Offer[SLOTS][SpiedKernel.FILES];

  private final @Nullable Copied[] begun = new Copied[SLOTS];

  /** Entries that the process has written to otherwise than by taking, since they were filled. */
  private final boolean[][] scribbled = new boolean[SLOTS][SpiedKernel.FILES];

  /** What a slot has received on, and wanted peeks. */
  private final Handles.@Nullable Handle[][] receivedBy =
      new Handles.Handle[SLOTS][SpiedKernel.FILES];

  /** Bytes that the program has received of a stream; -1 if it has broken the rules there. */
  private final long[] streams = new long[SpiedKernel.FILES];

  /** The process has written how often it has taken something. */
  private boolean forgedTakings;

  private final boolean[] closed = new boolean[SLOTS];

  /** Handles that somebody else is in a call on, and those of them who still wait to begin it. */
  private final List<Handles.Handle> inside = new ArrayList<>();

  private final List<Handles.Handle> settling = new ArrayList<>();
  private int lastHandle;
  private int lastBirth;

  LentFuzz() {
    for (int i = 0; i < SLOTS; i++) {
      slots[i] = memory.asSlice(i * SlotLayout.BYTES, SlotLayout.BYTES);
    }
    kernel = new SpiedKernel(slots);
    kernel.watcher = new Judge();
    server =
        new DeviceServer(
            kernel,
            new Limits(1, SLOTS, SLOTS, HANDLES),
            "",
            false,
            List.of(),
            List.of(),
            line -> {
              throw new AssertionError(line);
            },
            false);
    own = Objects.requireNonNull(kernel.allocate());
    session = newSession();
    for (int i = 0; i < SLOTS; i++) {
      calls[i] = new Call(new DeviceSlot(slots[i]).data());
    }
  }

  private Session newSession() {
    return new Session(
        server,
        noStream,
        1,
        why -> {},
        null,
        run -> {
          check(sender == null, "two senders");
          sender = run;
          return Thread.currentThread();
        });
  }

  /** Whatever it writes, the kernel is given nothing but what the process may name. */
  @FuzzTest(maxDuration = "90s")
  void anythingInALentSlot(byte[] bytes) {
    if (bytes.length < DECISIONS) {
      return;
    }
    begin(bytes);
    for (int i = 0; i < MAX_OPERATIONS && at < in.length; i++) {
      operation(next());
      settleOthers();
      checkPositions();
    }
    end();
  }

  private void begin(byte[] bytes) {
    in = bytes;
    at = DECISIONS;
    kernel.begin(bytes, 0);
    for (long[] range : dirty) {
      memory.asSlice(range[0], range[1]).fill((byte) 0);
    }
    dirty.clear();
    all.clear();
    sender = null;
    calling = -1;
    forgedTakings = false;
    inside.clear();
    settling.clear();
    for (int i = 0; i < SLOTS; i++) {
      closed[i] = false;
      begun[i] = null;
      Arrays.fill(offers[i], null);
      Arrays.fill(scribbled[i], false);
      Arrays.fill(receivedBy[i], null);
    }
    lastHandle = FIRST;
    lastBirth = 0;
    session = newSession();
    for (int i = 0; i < handles.length; i++) {
      handles[i] = null;
      staleBirths[i] = 0;
    }
    for (int i = 0; i < KINDS.length; i++) {
      open(FIRST + i);
    }
    for (int i = 0; i < SLOTS; i++) {
      dirty(i, 0, HEADER_LINES);
      DeviceSlot slot = new DeviceSlot(slots[i], true);
      slots[i].asSlice(0, HEADER_LINES).fill((byte) 0);
      slot.reset();
      SendRing ring = Objects.requireNonNull(slot.ring());
      AtomicInteger guesses = new AtomicInteger();
      devices[i] = slot;
      sendRings[i] = ring;
      wrong[i] = guesses;
      rings[i] =
          server
              .ahead()
              .open(
                  ring,
                  session.handles(),
                  session.readiness(),
                  session.rests(),
                  session.activity(),
                  guesses,
                  new Peeks(
                      kernel,
                      session.handles(),
                      session.readiness(),
                      Objects.requireNonNull(slot.peeked())));
      lent[i] = new LentCalls(session, slot, rings[i], guesses);
      taken[i] = 0;
      drained[i] = 0;
      forged[i] = 0;
      rejected[i] = false;
      generations[i] = 0;
    }
  }

  private void open(int fd) {
    kernel.open(fd, KINDS[fd - FIRST]);
    Handles.Handle handle = Objects.requireNonNull(session.handles().add(fd));
    handles[fd] = handle;
    streams[fd] = 0;
    all.add(handle);
  }

  private void operation(int which) {
    int s = which >>> 7;
    s = closed[s] ? 1 - s : s;
    if (closed[s]) {
      return;
    }
    if ((which & 0x7f) >= OF_PEEKS) {
      ofPeeks(s, (which & 0x7f) - OF_PEEKS);
      return;
    }
    switch ((which & 0x7f) % 13) {
      case 0 -> {
        header(s);
        serve(s, true);
      }
      case 1 -> polled(s);
      case 2 -> append(s, 1);
      case 3 -> raw(s);
      case 4 -> appended(s, drained[s] + value());
      case 5 -> serve(s, false);
      case 6 -> other();
      case 7 -> arm(s);
      case 8 -> close();
      case 9 -> runSender();
      case 10 -> shutdown();
      case 11 -> append(s, 1 + next());
      default -> {
        Handles.Handle handle = handles[number(next())];
        if (handle != null) {
          handle.takeError();
        }
      }
    }
  }

  /** What an entry was filled with. */
  private static final class Offer {
    final Handles.Handle handle;
    final int life;

    /** Of its first byte, in the stream. */
    final long start;

    final int length;

    /** Of the entry, if the process has not written there before it was seen; else 0. */
    int state;

    /** What a program that keeps to the rules has taken. */
    int taken = -1;

    /** The process has written that it was taken. */
    boolean saidTaken;

    int discarded;

    Offer(Handles.Handle handle, int life, long start, int length) {
      this.handle = handle;
      this.life = life;
      this.start = start;
      this.length = length;
    }
  }

  /** What was copied out of an entry, and is not taken yet. */
  private record Copied(int fd, int state, @Nullable Offer offer) {}

  private void ofPeeks(int s, int which) {
    switch (which % 9) {
      case 0, 1 -> take(s, number(next()), next(), value());
      case 2 -> scribble(s, number(next()), next(), value());
      case 3 -> kernel.arrive(number(next()), 4 * next());
      case 4 -> enterOther(number(next()));
      case 5 -> leaveOther(next());
      case 6 -> {
        if (!inside.isEmpty()) {
          int chosen = next() % inside.size();
          kernel.receiveElsewhere(inside.get(chosen).fd, 1 + 4 * next());
        }
      }
      case 7 -> armOther(s);
      default -> {
        int what = next();
        if ((what & 0x70) == 0x70) {
          closeSlot(s);
        } else {
          Handles.Handle handle = handles[number(what)];
          if (handle != null) {
            showsSends(handle);
          }
        }
      }
    }
  }

  /** Something else happens at a moment that the device has not chosen. */
  private void armOther(int s) {
    int how = next();
    int fd = number(next());
    int amount = next();
    long value = value();
    Runnable change =
        switch ((how >>> 5) % 5) {
          case 0 -> () -> take(s, fd, amount, value);
          case 1 -> () -> scribble(s, fd, amount, value);
          case 2 -> () -> enterOther(fd);
          case 3 -> () -> kernel.arrive(fd, 4 * amount);
          default ->
              () -> {
                Handles.Handle handle = handles[fd];
                if (handle != null && handle.peeks == null) {
                  showsSends(handle);
                }
              };
        };
    kernel.arm(how & 31, change);
  }

  /** As a call does that sets an option: it enters, and nothing is on offer then. */
  private void showsSends(Handles.Handle handle) {
    if (session.handles().enter(handle.fd) == handle) {
      handle.settlePeeks();
      handle.showsSends();
      session.readiness().closeIfLast(handle);
    }
  }

  private void enterOther(int fd) {
    Handles.Handle handle = inside.size() < MOST_INSIDE ? session.handles().enter(fd) : null;
    if (handle != null) {
      inside.add(handle);
      if (kernel.caller == Caller.NOBODY) {
        handle.settlePeeks();
      } else if (handle.peeks != null) {
        // It waits for who is at it, here the one thread.
        settling.add(handle);
      }
    }
  }

  private void settleOthers() {
    for (Handles.Handle handle : settling) {
      handle.settlePeeks();
      check(handle.peeks == null, "on offer while somebody is in a call");
    }
    settling.clear();
  }

  private void leaveOther(int which) {
    if (!inside.isEmpty()) {
      session.readiness().closeIfLast(inside.remove(which % inside.size()));
    }
  }

  /** The slot is taken back from its process. */
  private void closeSlot(int s) {
    drain(() -> rings[s].close(own));
    check(!sendRings[s].isPending(), "a ring that is closed");
    closed[s] = true;
    for (Handles.Handle handle : all) {
      check(handle.peeks != rings[s].peeks(), "on offer, but closed");
    }
    look(() -> rings[s].peeks().look(rings[s], own));
    check(kernel.calls == 0, "a look, but closed");
  }

  private static long entryAt(int fd) {
    return SlotLayout.PEEKED + (long) fd * SlotLayout.PEEKED_BYTES;
  }

  /**
   * Receives out of an entry as the shim does, if there is one for a file of which the process
   * knows the birth.
   *
   * @param amount how much: 254 for all, 255 for what {@code value} says, which no shim would; 253
   *     for all, but it is only copied out now, and taken when the program comes here again
   */
  private void take(int s, int fd, int amount, long value) {
    Copied copied = begun[s];
    begun[s] = null;
    if (copied != null && !closed[s] && readInt(s, entryAt(copied.fd)) == copied.state) {
      if (!scribbled[s][copied.fd]) {
        check(offers[s][copied.fd] == copied.offer, "taken, but another was copied");
      }
      take(s, copied.fd, 254, 0);
      return;
    }
    long at = entryAt(fd);
    int state = readInt(s, at);
    Handles.Handle handle = handles[fd];
    if (closed[s]
        || handle == null
        || isSecret(fd)
        || (state & 3) != SlotLayout.PEEKED_FRESH
        || readInt(s, at + SlotLayout.PEEKED_HANDLE) != fd
        || readInt(s, at + SlotLayout.PEEKED_BIRTH) != handle.birth) {
      return;
    }
    int length = readInt(s, at + SlotLayout.PEEKED_LENGTH);
    Offer offer = offers[s][fd];
    if (amount == 253) {
      begun[s] = new Copied(fd, state, offer);
      return;
    }
    int bytes =
        amount == 255
            ? (int) value
            : amount == 254 ? length : 1 + amount % Math.clamp(length, 1, PeekedReceives.MOST);
    if (scribbled[s][fd] || bytes < 1 || bytes > length) {
      streams[fd] = -1;
      scribbled[s][fd] = true;
    } else {
      if (offer == null) {
        throw new AssertionError("an entry that nobody has filled");
      }
      check(offer.handle == handle && offer.taken < 0, "an entry of something else");
      check(handle.peeks == rings[s].peeks(), "an entry that is not on offer");
      check(length == offer.length, "an entry of", length, offer.length);
      check(offer.start == kernel.received(fd), "bytes that somebody has received");
      for (int i = 0; i < bytes; i++) {
        check(
            slots[s].get(ValueLayout.JAVA_BYTE, at + SlotLayout.PEEKED_DATA + i)
                == kernel.byteAt(fd, offer.start + i),
            "other bytes",
            i);
      }
      receives(fd, offer.start, bytes);
      offer.taken = bytes;
    }
    writeInt(s, at + SlotLayout.PEEKED_TAKE, bytes);
    writeInt(s, at, state - SlotLayout.PEEKED_FRESH + SlotLayout.PEEKED_TAKEN);
    dirty(s, at, SlotLayout.PEEKED_DATA);
    saysTaken(s, fd);
    writeInt(s, SlotLayout.TAKINGS, readInt(s, SlotLayout.TAKINGS) + 1);
  }

  private void saysTaken(int s, int fd) {
    Offer offer = offers[s][fd];
    int state = readInt(s, entryAt(fd));
    if (offer != null
        && (state & 3) == SlotLayout.PEEKED_TAKEN
        && (offer.state == 0
            || state / SlotLayout.PEEKED_COUNT == offer.state / SlotLayout.PEEKED_COUNT)) {
      offer.saidTaken = true;
    }
  }

  /** Writes something into an entry. */
  private void scribble(int s, int fd, int where, long value) {
    long at = entryAt(fd);
    int state = readInt(s, at);
    long offset = where < 0x40 ? 4L * (where % 16) : where < 0x80 ? SlotLayout.PEEKED_TAKE : 0;
    int word =
        where < 0xa0
            ? (int) value
            : where < 0xe0 ? (state & -4) + (where & 3) : state + (int) (value & 0xf) - 8;
    writeInt(s, at + offset, word);
    dirty(s, at, SlotLayout.PEEKED_DATA);
    scribbled[s][fd] = true;
    streams[fd] = -1;
    saysTaken(s, fd);
    if ((where & 1) != 0) {
      writeInt(s, SlotLayout.TAKINGS, readInt(s, SlotLayout.TAKINGS) + 1);
    }
  }

  /** The program has received, whoever of it. */
  private void receives(int fd, long at, long bytes) {
    if (streams[fd] >= 0) {
      check(at == streams[fd], "a byte twice, or out of order, at", at, streams[fd]);
      streams[fd] += bytes;
    }
  }

  /** What was taken is out of the queues. */
  private void checkStreams() {
    for (int fd = FIRST; fd < FIRST + KINDS.length; fd++) {
      if (handles[fd] != null && streams[fd] >= 0) {
        check(kernel.received(fd) == streams[fd], "taken, and in the queue still", fd);
      }
    }
  }

  private void look(Runnable looks) {
    begin(Caller.LOOK);
    looks.run();
    check(kernel.calls <= CALLS_PER_LOOK, "calls of a look", kernel.calls);
    kernel.caller = Caller.NOBODY;
  }

  private void lookAhead(int s) {
    @Nullable Offer[] before = offers[s].clone();
    int generation = sendRings[s].generation();
    look(() -> lent[s].lookAhead(own));
    for (int fd = FIRST; fd < FIRST + KINDS.length; fd++) {
      Offer offer = offers[s][fd];
      if (offer == null || offer == before[fd] || kernel.mutated) {
        continue;
      }
      long at = entryAt(fd);
      offer.state = readInt(s, at);
      check((offer.state & 3) == SlotLayout.PEEKED_FRESH, "a state", offer.state);
      check(readInt(s, at + SlotLayout.PEEKED_HANDLE) == fd, "a handle");
      check(readInt(s, at + SlotLayout.PEEKED_BIRTH) == offer.handle.birth, "a birth");
      check(readInt(s, at + SlotLayout.PEEKED_LENGTH) == offer.length, "a length");
      check(offer.handle.peeks == rings[s].peeks(), "published, but not on offer");
      int credit = readInt(s, at + SlotLayout.PEEKED_CREDIT);
      if (credit != 0) {
        check(credit == SlotLayout.CREDIT_BYTES, "a credit of", credit);
        check(
            offer.handle.ring == rings[s] && offer.handle.rest == null && !offer.handle.failed(),
            "a credit for what is kept");
        check(readInt(s, at + SlotLayout.PEEKED_GENERATION) == generation, "another generation");
      }
    }
  }

  /** What is received, and when. */
  private final class Judge implements SpiedKernel.Watcher {
    @Override
    public void sends(int s, long offset, int fd, long length, long flags) {
      LentFuzz.this.sends(s, offset, fd, length, flags);
    }

    @Override
    public void receives(int fd, long at, long bytes) {
      for (Handles.Handle handle : all) {
        check(
            handle.fd != fd || !kernel.isOpen(fd) || handle.peeks == null,
            "a receive of what is on offer");
      }
      LentFuzz.this.receives(fd, at, bytes);
    }

    @Override
    public void looks(int s, int entry, int fd) {
      check(kernel.caller == Caller.LOOK, "a look at another time");
      check(!closed[s] && entry == fd, "an entry", entry, fd);
      Handles.Handle handle = handles[fd];
      if (handle == null || receivedBy[s][fd] != handle) {
        throw new AssertionError("a look at what the slot has not received on: " + fd);
      }
      check(isElsewhere(kernel.kind(fd)), "a look at what is no stream to elsewhere");
      check(handle.sends == Handles.Sends.AHEAD, "a look at what it shows of", fd);
      check(!handle.failed(), "a look at what has failed");
      check(handle.peeks == rings[s].peeks(), "a look that is not announced");
      for (Handles.Handle other : inside) {
        check(other != handle || settling.contains(other), "a look beside a call");
      }
    }

    @Override
    public void looked(int s, int entry, int fd, long at, int bytes) {
      dirty(s, entryAt(entry), SlotLayout.PEEKED_BYTES);
      boolean isOffer = bytes < PeekedReceives.MOST;
      offers[s][entry] =
          isOffer
              ? new Offer(Objects.requireNonNull(handles[fd]), kernel.life(fd), at, bytes)
              : null;
      scribbled[s][entry] &= !isOffer;
    }

    @Override
    public void discards(int s, int entry, int fd, long at, long bytes) {
      check(!closed[s], "a slot that is gone");
      Offer offer = offers[s][entry];
      if (offer == null) {
        throw new AssertionError("bytes of no entry are thrown away: " + bytes);
      }
      check(offer.handle.fd == fd && offer.life == kernel.life(fd), "another file's bytes", fd);
      check(offer.saidTaken, "bytes that nobody has taken");
      check(at == offer.start + offer.discarded, "bytes at", at, offer.start, offer.discarded);
      int most = scribbled[s][entry] ? offer.length : offer.taken;
      check(bytes <= most - offer.discarded, "bytes", bytes, most, offer.discarded);
    }

    @Override
    public void discarded(int s, int entry, int bytes) {
      Objects.requireNonNull(offers[s][entry]).discarded += bytes;
    }
  }

  // What the process writes.

  private int next() {
    return at < in.length ? Byte.toUnsignedInt(in[at++]) : 0;
  }

  private long next(int bytes) {
    long value = 0;
    for (int i = 0; i < bytes; i++) {
      value |= (long) next() << (8 * i);
    }
    return value;
  }

  /** A number that something is made of: a byte, or a byte that says how. */
  private long value() {
    int first = next();
    return switch (first) {
      case 0xf0 -> (short) next(2);
      case 0xf1 -> (int) next(4);
      case 0xf2 -> next(8);
      case 0xf3 -> {
        name();
        yield lastHandle;
      }
      case 0xf4 -> lastBirth;
      case 0xf5 -> Call.PIECE_BYTES + (long) (byte) next();
      case 0xf6 -> SlotLayout.AHEAD_BYTES + (long) (byte) next();
      case 0xf7 -> SlotLayout.RING_BYTES + (long) (byte) next();
      case 0xf8 -> LentCalls.SENDFILE_BYTES + (byte) next();
      case 0xf9 -> (long) next() << 32;
      case 0xfa -> -1 - next();
      case 0xfb -> Socket.MSG_NOSIGNAL;
      case 0xfc -> Socket.MSG_MORE | Socket.MSG_DONTWAIT;
      case 0xfd -> 1L << next();
      case 0xfe -> Integer.MIN_VALUE | next(); // an option in a ring
      default -> first;
    };
  }

  private static int number(int which) {
    return FIRST + which % KINDS.length;
  }

  private boolean isSecret(int fd) {
    return fd >= FIRST + KINDS.length - SECRET;
  }

  /** A handle and a birth: half a byte each. */
  private void name() {
    int which = next();
    int fd = number(which & 15);
    lastHandle = (which & 15) == 15 ? (int) next(4) : fd;
    lastBirth =
        switch (which >>> 4) {
          case 0, 1, 2, 3, 4, 5, 6, 7 -> birth(fd);
          case 8, 9 -> birth(number((which & 15) + 1));
          case 10 -> staleBirths[fd];
          case 11 -> birth(fd) ^ 1;
          case 12 -> (int) next(4);
          case 13 -> birth(fd) << 16 >> 16;
          default -> 0;
        };
  }

  /** What the process was told. */
  private int birth(int fd) {
    Handles.Handle handle = handles[fd];
    return handle == null ? staleBirths[fd] : isSecret(fd) ? 0 : handle.birth;
  }

  private void dirty(int s, long offset, long bytes) {
    dirty.add(new long[] {s * SlotLayout.BYTES + offset, bytes});
  }

  private void writeInt(int s, long offset, int value) {
    slots[s].set(ValueLayout.JAVA_INT, offset, value);
  }

  private int readInt(int s, long offset) {
    return slots[s].get(ValueLayout.JAVA_INT, offset);
  }

  private static int question(int which) {
    return switch (which & 7) {
      case 0 -> Canonical.GETSOCKNAME;
      case 1, 5 -> Canonical.GETPEERNAME;
      case 2, 6 -> Canonical.GETSOCKOPT;
      case 4 -> Canonical.STATX;
      default -> Canonical.IOCTL;
    };
  }

  private void header(int s) {
    int which = next();
    boolean isQuestion = (which & 0x10) != 0;
    int number =
        isQuestion
            ? question(which)
            : switch (which & 7) {
              case 0 -> Canonical.SENDTO;
              case 1 -> Canonical.RECVFROM;
              case 2 -> Canonical.SENDFILE;
              case 3 -> Canonical.PPOLL;
              case 4 -> Canonical.SETSOCKOPT;
              case 5 -> Canonical.CLOSE;
              case 6 -> Canonical.SENDTO;
              default -> (int) next(2);
            };
    name();
    writeInt(s, SlotLayout.NUMBER, number);
    int wants = SlotLayout.WANTS_CREDIT | ((which & 0x08) == 0 ? 0 : SlotLayout.WANTS_PEEKS);
    writeInt(s, SlotLayout.FLAGS, (which & 0x80) == 0 ? wants : which);
    writeInt(s, SlotLayout.BIRTH, lastBirth);
    slots[s].set(
        ValueLayout.JAVA_LONG,
        SlotLayout.ARGS,
        (which & 0x40) == 0 ? lastHandle : lastHandle | 1L << 32);
    for (int i = 1; i < 4; i++) {
      slots[s].set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * i, value());
    }
    // A time to wait, which is right or not; few calls have so many.
    long wait = number != Canonical.PPOLL || (which & 0x20) == 0 ? 0 : value();
    slots[s].set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * 4, wait);
    if (number == Canonical.IOCTL && (which & 0x20) == 0) {
      slots[s].set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8, Ioctl.FIONREAD);
    }
    writeInt(s, SlotLayout.REQUEST, taken[s] + 1);
    dirty(s, SlotLayout.DATA, 8);
  }

  private void polled(int s) {
    int count = next() % (2 * LentCalls.MAX_POLLED);
    for (int i = 0; i < count && at < in.length; i++) {
      long entry = SlotLayout.DATA + (long) i * LentCalls.POLLED_BYTES;
      name();
      writeInt(s, entry, lastHandle);
      writeInt(s, entry + 4, next());
      writeInt(s, entry + 8, lastBirth);
      dirty(s, entry, LentCalls.POLLED_BYTES);
    }
  }

  /** As the shim does, but with what the input says. */
  private void append(int s, int times) {
    name();
    int flags = (int) value();
    int length = (int) value();
    long size = 16 + ((Math.clamp((long) length, 1, 2 * SlotLayout.AHEAD_BYTES) + 15) & -16L);
    long position = slots[s].get(ValueLayout.JAVA_LONG, SlotLayout.APPENDED) & -16L;
    for (int i = 0; i < times && position - drained[s] + size <= SlotLayout.RING_BYTES; i++) {
      long offset = Math.floorMod(position, (long) SlotLayout.RING_BYTES);
      if (offset + size > SlotLayout.RING_BYTES) {
        entry(s, offset, -1, lastBirth, flags, length);
        position += SlotLayout.RING_BYTES - offset;
        if (position - drained[s] + size > SlotLayout.RING_BYTES) {
          break;
        }
        offset = 0;
      }
      entry(s, offset, lastHandle, lastBirth, flags, length);
      slots[s].set(ValueLayout.JAVA_BYTE, SlotLayout.RING + offset + 16, (byte) position);
      position += size;
    }
    appended(s, position);
  }

  private void entry(int s, long offset, int... words) {
    dirty(s, SlotLayout.RING + offset, 32);
    for (int i = 0; i < words.length; i++) {
      writeInt(s, SlotLayout.RING + offset + 4L * i, words[i]);
    }
  }

  private void appended(int s, long position) {
    slots[s].set(ValueLayout.JAVA_LONG, SlotLayout.APPENDED, position);
  }

  /** Where an input writes what it likes: in the header, in the ring, at the data's start. */
  private long place() {
    int area = next();
    long offset =
        switch (area & 3) {
          case 0 -> 4L * (next() % ((HEADER_LINES - 4) / 4));
          case 1 -> SlotLayout.RING + 4L * (next(2) % (SlotLayout.RING_BYTES / 4 - 1));
          case 2 -> SlotLayout.DATA + 4L * next();
          default -> SlotLayout.RING + 16L * next();
        };
    // Of this place the device does not read, and the test does.
    return offset >= SlotLayout.DRAINED - 4 && offset < SlotLayout.DRAINED + 8
        ? SlotLayout.DRAINED
        : offset;
  }

  private void write(int s, long offset, long value) {
    dirty(s, offset, 8);
    forgedTakings |= offset > SlotLayout.TAKINGS - 8 && offset < SlotLayout.TAKINGS + 4;
    if (offset == SlotLayout.DRAINED) {
      // What the device never stores, for it goes forwards: the test knows whose it is.
      forged[s] = drained[s] - 16 * (1 + (value & 0x3ff));
      slots[s].set(ValueLayout.JAVA_LONG, offset, forged[s]);
    } else {
      writeInt(s, offset, (int) value);
      writeInt(s, offset + FIRST_RAW, (int) (value >>> 32));
    }
  }

  private void raw(int s) {
    long offset = place();
    write(s, offset, value() | value() << 32);
  }

  /** The process writes at a moment that the device has not chosen. */
  private void arm(int s) {
    int after = next() & 31;
    long offset = place();
    if (offset == SlotLayout.DRAINED) {
      offset = SlotLayout.GENERATION;
    }
    long place = offset;
    long value = value() | value() << 32;
    kernel.arm(after, () -> write(s, place, value));
  }

  // What the device does.

  private void serve(int s, boolean called) {
    DeviceSlot slot = devices[s];
    int word = readInt(s, SlotLayout.REQUEST);
    boolean isNew = word > 0 && word != taken[s];
    check(isNew || !called, "no call");
    if (!isNew && !sendRings[s].isPending()) {
      return;
    }
    int sequence = slot.await(false);
    if (!isNew) {
      check(sequence == DeviceSlot.AHEAD, "a call that nobody has made");
      drain(() -> rings[s].drain(own), s);
      return;
    }
    check(sequence == word, "another call");
    taken[s] = word;
    Call call = calls[s];
    slot.take(call);
    calling = s;
    begin(Caller.CALL);
    server.ahead().drain(session.handles(), own);
    noteGuesses();
    boolean guessed = wrong[s].get() > LentCalls.MAX_WRONG;
    kernel.calls = 0;
    kernel.pushes = 0;
    kernel.moved = 0;
    int generation = sendRings[s].generation();
    kernel.asked = call.args[3];
    long result = lent[s].make(call, slot.birth(), own);
    calling = -1;
    settleOthers();
    if (call.number == Canonical.RECVFROM && result > 0 && slot.wantsPeeks()) {
      receivedBy[s][(int) call.args[0]] = handles[(int) call.args[0]];
    }
    checkWork();
    check(!guessed || (result == LentCalls.TRAP && kernel.calls == 0), "it guesses on");
    check(result != LentCalls.TRAP || kernel.moved == 0, "a trap, and something has happened");
    check(result <= 0 || result <= call.args[2], "a result of", result);
    check(!ShadowThread.isRestart(result) || result == LentCalls.TRAP, "a restart");
    // What the device and its kernel may have written.
    dirty(s, SlotLayout.DATA, 2L * LentCalls.MAX_POLLED * LentCalls.POLLED_BYTES);
    if (result > 0 && result <= Call.PIECE_BYTES) {
      dirty(s, SlotLayout.DATA + result - 1, 1);
    }
    if (!kernel.mutated) {
      checkCredit(s, call, result, generation);
    }
    slot.complete(result, -1, 0, 0);
    kernel.caller = Caller.NOBODY;
    lookAhead(s);
  }

  private static boolean isElsewhere(@Nullable Kind kind) {
    return kind == Kind.ELSEWHERE || kind == Kind.ELSEWHERE_NONBLOCK || kind == Kind.ELSEWHERE_IPV6;
  }

  private void checkCredit(int s, Call call, long result, int generation) {
    int credit = readInt(s, SlotLayout.CREDIT);
    if (credit == 0 || !devices[s].wantsCredit()) {
      return; // Where none is wanted an old one stays, which nobody reads.
    }
    int fd = (int) call.args[0];
    Kind kind = kernel.kind(fd);
    check(isElsewhere(kind), "a credit for what is no stream to elsewhere");
    check(credit == SlotLayout.CREDIT_BYTES, "a credit of", credit);
    check(
        (result > 0 || call.number == Canonical.SETSOCKOPT) && kernel.foundRoom(fd),
        "a credit without room");
    check(
        readInt(s, SlotLayout.CREDIT_GENERATION) == generation, "a credit for another generation");
    Handles.Handle handle = handles[fd];
    check(
        handle != null && handle.rest == null && handle.ring == rings[s] && !handle.failed(),
        "a credit for what is kept");
  }

  private void begin(Caller caller) {
    kernel.caller = caller;
    kernel.calls = 0;
    kernel.pushes = 0;
    kernel.mutated = false;
    kernel.named = 0;
    kernel.names = this::names;
    for (int s = 0; s < SLOTS; s++) {
      guesses[s] = wrong[s].get();
      long left = slots[s].get(ValueLayout.JAVA_LONG, SlotLayout.APPENDED) - drained[s];
      sound[s] =
          left >= 0
              && left <= SlotLayout.RING_BYTES
              && left % 16 == 0
              && !rejected[s]
              && (left == 0 || sendRings[s].isPending());
    }
  }

  /** Whether a ring has named files wrongly in this drain, and that was once too often. */
  private boolean guessesAhead(int s) {
    int now = wrong[s].get();
    return now > LentCalls.MAX_WRONG && now > guesses[s];
  }

  private void noteGuesses() {
    for (int s = 0; s < SLOTS; s++) {
      rejected[s] |= guessesAhead(s);
    }
  }

  /** What the rings can hold bounds the calls of whoever drains them. */
  private void checkWork() {
    int entries = SLOTS * (SlotLayout.RING_BYTES / LEAST_ENTRY_BYTES);
    check(kernel.calls - kernel.pushes <= entries * CALLS_PER_ENTRY + 64, "calls", kernel.calls);
  }

  private void drain(Runnable drains, int... drainedSlots) {
    begin(Caller.DRAIN);
    drains.run();
    noteGuesses();
    checkWork();
    for (int s : drainedSlots) {
      check(kernel.mutated || !sendRings[s].isPending(), "it will be drained for ever");
    }
    kernel.caller = Caller.NOBODY;
  }

  /** A call of the hook. */
  private void other() {
    server.ahead().withdraw();
    drain(() -> server.ahead().drain(session.handles(), own), 0, 1);
    server.ahead().withdraw();
    settleOthers();
    if (!kernel.mutated && !forgedTakings) {
      checkStreams();
    }
    for (int s = 0; s < SLOTS; s++) {
      check(
          kernel.mutated
              || closed[s]
              || readInt(s, SlotLayout.GENERATION) == sendRings[s].generation(),
          "credits that are good still");
    }
  }

  private void close() {
    int which = next();
    int fd = number(which);
    Handles.Handle handle = handles[fd];
    if (handle != null && session.handles().enter(fd) != null) {
      handle.settlePeeks();
      check(session.handles().close(handle), "closed before");
      session.readiness().closeIfLast(handle);
      staleBirths[fd] = isSecret(fd) ? 0 : handle.birth;
      handles[fd] = null;
    }
    // The number again, another file.
    if ((which & 0x80) == 0 && !kernel.isOpen(fd) && all.size() < HANDLES) {
      open(fd);
    }
  }

  private void shutdown() {
    int which = next();
    Handles.Handle handle = handles[number(which)];
    if (handle != null) {
      session.rests().shutdown(handle, 1 + (which >>> 7));
    }
  }

  private void runSender() {
    Runnable run = sender;
    if (run == null) {
      return;
    }
    begin(Caller.SENDER);
    kernel.names = this::isKept;
    kernel.disarm();
    kernel.allowRefusal();
    sender = null;
    run.run();
    for (Handles.Handle handle : all) {
      check(handle.rest == null, "something is kept still");
    }
    kernel.caller = Caller.NOBODY;
  }

  private boolean isKept(int fd) {
    for (Handles.Handle handle : all) {
      if (handle.fd == fd && handle.rest != null) {
        return true;
      }
    }
    return false;
  }

  // What it must be like.

  /** Whether the current call, or something in the rings, says a file's number and its birth. */
  private boolean names(int fd) {
    Handles.Handle handle = fd >= FIRST && fd < FIRST + KINDS.length ? handles[fd] : null;
    if (handle == null) {
      return false;
    }
    int birth = handle.birth;
    return (calling >= 0 && namesByCall(fd, birth)) || namesAhead(fd, birth);
  }

  private boolean namesAhead(int fd, int birth) {
    for (int s = 0; s < SLOTS; s++) {
      long end = slots[s].get(ValueLayout.JAVA_LONG, SlotLayout.APPENDED);
      long last = Math.min(end, drained[s] + SlotLayout.RING_BYTES);
      for (long p = drained[s]; p < last; p += 16) {
        long header = SlotLayout.RING + p % SlotLayout.RING_BYTES;
        if (readInt(s, header) == fd && readInt(s, header + 4) == birth) {
          return true;
        }
      }
    }
    return false;
  }

  private boolean namesByCall(int fd, int birth) {
    Call call = calls[calling];
    if (call.args[0] == fd && devices[calling].birth() == birth) {
      return true;
    }
    if (call.number == Canonical.SENDFILE) {
      return call.args[1] == fd && (int) call.args[3] == birth;
    }
    int polled =
        call.number == Canonical.PPOLL
            ? (int) Math.clamp(call.args[2], 0L, (long) LentCalls.MAX_POLLED)
            : 0;
    for (int i = 0; i < polled; i++) {
      long entry = SlotLayout.DATA + (long) i * LentCalls.POLLED_BYTES;
      if (readInt(calling, entry) == fd && readInt(calling, entry + 8) == birth) {
        return true;
      }
    }
    return false;
  }

  /** A send out of a ring: as its header says, which stands before the bytes. */
  private void sends(int s, long offset, int fd, long length, long flags) {
    long header = offset - 16;
    check((header - SlotLayout.RING) % 16 == 0, "a send at", offset);
    check(!guessesAhead(s), "a send of who guesses");
    Handles.Handle handle = Objects.requireNonNull(handles[fd]);
    check(handle.rest == null, "a send before what is kept");
    if (kernel.mutated) {
      return;
    }
    check(sound[s], "a send out of a ring that is wrong");
    check(readInt(s, header) == fd && handle.birth == readInt(s, header + 4), "nobody's send");
    check(readInt(s, header + 12) == length, "a send of", length);
    check(
        flags == (readInt(s, header + 8) | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL),
        "flags",
        flags);
    long ahead = Math.floorMod(header - SlotLayout.RING - drained[s], (long) SlotLayout.RING_BYTES);
    long end = slots[s].get(ValueLayout.JAVA_LONG, SlotLayout.APPENDED);
    check(drained[s] + ahead + 16 + length <= end, "a send that nobody has made");
  }

  private void checkPositions() {
    for (int s = 0; s < SLOTS; s++) {
      long now = slots[s].get(ValueLayout.JAVA_LONG, SlotLayout.DRAINED);
      if (now != drained[s] && now != forged[s]) {
        check(now > drained[s] && now % 16 == 0, "drained before, and now", drained[s], now);
        check(now - drained[s] <= 2L * SlotLayout.RING_BYTES, "drained far too much");
        drained[s] = now;
      }
      int generation = sendRings[s].generation();
      check(generation >= generations[s], "an old generation");
      generations[s] = generation;
      check(wrong[s].get() >= 0, "wrong guesses");
    }
    for (Handles.Handle handle : all) {
      Rests.Rest rest = handle.rest;
      check(rest == null || rest.pieces() <= Rests.MAX_PIECES, "pieces of what is kept");
    }
    check(session.activity().bytesIn() == kernel.ahead, "bytes that went ahead");
    int open = 0;
    for (int fd = FIRST; fd < FIRST + KINDS.length; fd++) {
      open += kernel.isOpen(fd) ? 1 : 0;
    }
    check(session.handles().count() == open, "handles");
  }

  /** The process is gone: nothing of it is left. */
  private void end() {
    kernel.disarm();
    for (int s = 0; s < SLOTS; s++) {
      if (!closed[s]) {
        closeSlot(s);
      }
    }
    checkStreams();
    while (!inside.isEmpty()) {
      leaveOther(0);
    }
    for (int fd = FIRST; fd < FIRST + KINDS.length; fd++) {
      Handles.Handle handle = handles[fd];
      if (handle != null && session.handles().enter(fd) != null) {
        session.handles().close(handle);
        session.readiness().closeIfLast(handle);
        handles[fd] = null;
      }
    }
    runSender();
    checkPositions();
    kernel.checkOver();
    check(session.handles().count() == 0, "handles are left");
  }
}
