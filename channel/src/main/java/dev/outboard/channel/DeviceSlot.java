// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * The device's side of a call slot. Everything in it is hostile: the host can write any of it at
 * any time, so the header is copied out once and nothing is read twice.
 *
 * <p>{@link #await}, {@link #take} and {@link #complete} belong to the shadow thread, {@link
 * #close} to any.
 */
public final class DeviceSlot {
  /** What {@link #await} returns when the slot was closed. */
  public static final int CLOSED = 0;

  /** What {@link #await} returns when there is no call, but something in {@link #ring}. */
  public static final int AHEAD = -1;

  /** What {@link #await(boolean, long)} returns when it has slept and there is nothing new. */
  public static final int LATER = -2;

  /** How many arguments a call has that comes by a slot which is lent; the others are 0. */
  private static final int LENT_ARGS = 5;

  private final MemorySegment slot;
  private final Word request;
  private final Word reply;
  private final boolean lent;
  private @Nullable SendRing ring;
  private @Nullable PeekedReceives peeked;
  private @Nullable DirectTimes times;
  private int taken;
  private int seen;
  private int birth;
  private int where;
  private int caller;
  private int flags;
  private boolean slept;
  private volatile boolean closed;

  /**
   * @param slot {@link SlotLayout#BYTES} of shared memory; outlives this object's use
   */
  public DeviceSlot(MemorySegment slot) {
    this(slot, false);
  }

  /**
   * @param lent memory that only one process ever waits on, and that is not given out again: what
   *     the host says of the end stays, though a call completes at that moment
   */
  public DeviceSlot(MemorySegment slot, boolean lent) {
    this.slot = slot;
    this.lent = lent;
    this.request =
        new Word(
            slot, SlotLayout.REQUEST, SlotLayout.DEVICE_SLEEPS, lent ? Spin.lent() : new Spin());
    this.reply = new Word(slot, SlotLayout.REPLY, SlotLayout.HOST_SLEEPS, new Spin());
  }

  /**
   * One that is lent, and whose calls the host takes: nothing goes ahead in it, and of what {@link
   * #peeked} has only replies are on offer.
   *
   * @param slot {@link SlotLayout#BYTES} of zeros, shared with one process
   */
  static DeviceSlot hosted(MemorySegment slot) {
    DeviceSlot it = new DeviceSlot(slot, true);
    it.peeked = new PeekedReceives(slot);
    it.times = new DirectTimes();
    return it;
  }

  /** Makes the slot ready for a new thread, before the host is told of it. */
  public void reset() {
    slot.asSlice(0, SlotLayout.DATA).fill((byte) 0);
    taken = 0;
    seen = 0;
    ring = lent ? new SendRing(slot) : null;
    peeked = lent ? new PeekedReceives(slot) : null;
    times = lent ? new DirectTimes() : null;
  }

  /** What is sent without waiting; null if the slot is not lent. */
  public @Nullable SendRing ring() {
    return ring;
  }

  /** What was looked at before it is received; null if the slot is not lent. */
  public @Nullable PeekedReceives peeked() {
    return peeked;
  }

  /** The data area, in this process's memory. */
  public MemorySegment data() {
    return slot.asSlice(SlotLayout.DATA, SlotLayout.DATA_BYTES);
  }

  /**
   * Waits for the next call.
   *
   * @return its sequence number, {@link #CLOSED}, or of a slot that is lent {@link #AHEAD}
   */
  public int await() {
    return await(true);
  }

  /**
   * The same.
   *
   * @param spins whether to look for it for a while before sleeping
   */
  public int await(boolean spins) {
    return await(spins, 0);
  }

  /**
   * The same.
   *
   * @param timeout address of a relative timespec, after which it returns {@link #LATER}, or
   *     earlier; 0 for none
   */
  public int await(boolean spins, long timeout) {
    boolean later = false;
    int now = spins ? request.spin(seen) : request.get();
    slept = !isNew(now);
    if (slept) {
      for (; ; ) {
        // Anew each time: who wakes for the ring clears it.
        request.announce();
        // Read the word, then the flag; close() does it the other way round.
        now = (int) SlotLayout.INT.getVolatile(slot, SlotLayout.REQUEST);
        if (closed || isNew(now) || isAhead()) {
          break;
        }
        request.sleep(now, timeout);
        now = request.get();
        if (isNew(now)) {
          break;
        }
        if (timeout != 0 && !closed && !isAhead()) {
          later = true;
          break;
        }
      }
      request.awake();
    }
    if (closed) {
      return CLOSED;
    }
    seen = now;
    if (!isNew(now)) {
      return later ? LATER : AHEAD;
    }
    // Acquire on all paths to here; pairs with CallSlot.submit.
    taken = now;
    return now;
  }

  private boolean isAhead() {
    SendRing r = ring;
    return r != null && r.isPending();
  }

  private boolean isNew(int word) {
    return word > 0 && word != taken;
  }

  /** Copies the header of the call that {@link #await} has announced. */
  public void take(Call call) {
    call.number = slot.get(ValueLayout.JAVA_INT, SlotLayout.NUMBER);
    call.flags = slot.get(ValueLayout.JAVA_INT, SlotLayout.FLAGS);
    flags = call.flags;
    for (int i = 0; i < (lent ? LENT_ARGS : 6); i++) {
      call.args[i] = slot.get(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * i);
    }
    birth = slot.get(ValueLayout.JAVA_INT, SlotLayout.BIRTH);
    where = slot.get(ValueLayout.JAVA_INT, SlotLayout.WHERE);
    caller = slot.get(ValueLayout.JAVA_INT, SlotLayout.CALLER);
  }

  /** The call that is completed next is this one, which has come another way than by the slot. */
  public void took(int sequence) {
    taken = sequence;
  }

  /** The sequence number of the last call whose outcome the host has dealt with. Any thread. */
  public int settled() {
    return (int) SlotLayout.INT.getVolatile(slot, SlotLayout.SETTLED);
  }

  /** Whether the wait for the call taken last has slept. */
  public boolean slept() {
    return slept;
  }

  /** The processor from which the call taken last came, as it says; -1 if it does not. */
  public int where() {
    return where - 1;
  }

  /** Tells the caller whether its processor is the device's thread's, too. */
  public void together(boolean is) {
    SlotLayout.INT.setOpaque(slot, SlotLayout.TOGETHER, is ? 1 : 0);
  }

  /** The birth that the call taken last says its handle has. */
  public int birth() {
    return birth;
  }

  /** Whether the reply to the call taken last is to bring a credit. */
  public boolean wantsCredit() {
    return (flags & SlotLayout.WANTS_CREDIT) != 0;
  }

  /** Whether the process takes what the reply to the call taken last offers. */
  public boolean wantsTaking() {
    return (flags & SlotLayout.WANTS_TAKING) != 0;
  }

  /** The sequence number of the call taken last. */
  public int sequence() {
    return taken;
  }

  /** Whether the device may look, after a receive, what else there is to receive. */
  public boolean wantsPeeks() {
    return (flags & SlotLayout.WANTS_PEEKS) != 0;
  }

  /**
   * Says what the reply to the call taken last brings; for each call that {@link #wantsCredit}.
   *
   * @param bytes 0 for none
   * @param generation for which it is good
   * @param since {@link System#nanoTime} at which its reasons held
   */
  public void credit(int bytes, int generation, long since) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.CREDIT, bytes);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.CREDIT_GENERATION, generation);
    slot.set(ValueLayout.JAVA_LONG, SlotLayout.CREDIT_SINCE, since);
  }

  /** Counts how long the call taken last has taken, in a slot that is lent. */
  public void timed(long nanos) {
    DirectTimes t = times;
    if (t != null) {
      t.record(slot, caller, nanos);
    }
  }

  /** Says how many frames of Looked have come before the end of the call taken last. */
  public void looked(int frames) {
    slot.set(ValueLayout.JAVA_INT, SlotLayout.LOOKED, frames);
  }

  /**
   * Completes the call taken last. In a slot that is lent nobody reads more than the result.
   *
   * @param mask poll mask of the call's handle after the call, or -1
   * @param stamp when that was, on the session's clock
   * @param newBirth of the handle that the call has made; else 0
   */
  public void complete(long result, int mask, long stamp, int newBirth) {
    slot.set(ValueLayout.JAVA_LONG, SlotLayout.RESULT, result);
    // Either publishes what stands before it, and the data; pairs with CallSlot.await.
    if (lent) {
      reply.answer(taken);
      return;
    }
    slot.set(ValueLayout.JAVA_INT, SlotLayout.MASK, mask);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.NEW_BIRTH, newBirth);
    slot.set(ValueLayout.JAVA_LONG, SlotLayout.STAMP, stamp);
    reply.set(taken);
  }

  /**
   * Makes {@link #await} return {@link #CLOSED}, now and later. A hostile host may write the word
   * back between the change and the wake, so the caller repeats this until the thread is out.
   */
  public void close() {
    closed = true;
    request.abandon();
  }
}
