// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * The host's side of a call slot: one call at a time of one program thread to its shadow thread.
 *
 * <p>Fill {@link #call()}, {@link #submit()}, then {@link #await} until it returns true. Between
 * submit and that moment the slot belongs to the call. One thread at a time uses a slot; {@link
 * #sequence()} may be read by any. Nothing here throws for what the device does: a lost device
 * completes every call with {@code -ENETDOWN}.
 */
public final class CallSlot {
  /** A {@code struct timespec}, for its waits. */
  public static final int TIMEOUT_BYTES = 16;

  private static final long NANOS_PER_SECOND = 1_000_000_000L;

  private final int index;
  private final MemorySegment slot;
  private final Word request;
  private final Word reply;
  private final Call call;
  private final MemorySegment timeout;
  private final Traffic traffic;
  private final @Nullable NearEnd near;
  private final Runnable tells = this::tell;

  /** Who is told of the end of the call that is pending, instead of waiting for it. */
  private final AtomicReference<@Nullable Runnable> told = new AtomicReference<>();

  private volatile int sequence;
  private volatile boolean lost;
  private boolean pending;
  private long result;
  private int mask = -1;
  private long stamp;
  private int newBirth;
  private int looked;

  /**
   * @param index the slot's place in the session's memory
   * @param slot {@link SlotLayout#BYTES} of shared memory
   * @param timeout {@link #TIMEOUT_BYTES} that are this object's as long as it is used
   * @param traffic where the bytes of calls are counted
   * @param near who makes the slot's calls, if that is not whoever else has its memory
   */
  CallSlot(
      int index,
      MemorySegment slot,
      MemorySegment timeout,
      Traffic traffic,
      @Nullable NearEnd near) {
    this.index = index;
    this.near = near;
    this.slot = slot;
    this.traffic = traffic;
    this.request = new Word(slot, SlotLayout.REQUEST, SlotLayout.DEVICE_SLEEPS, new Spin());
    this.reply = new Word(slot, SlotLayout.REPLY, SlotLayout.HOST_SLEEPS, new Spin());
    this.call = new Call(slot.asSlice(SlotLayout.DATA, SlotLayout.DATA_BYTES));
    this.timeout = timeout;
    // The device starts each shadow thread with the words as they are.
    this.sequence = request.get() & ~SlotLayout.ABANDONED;
  }

  /** The slot's index: its name on the link, and what a child's slot is attached like. */
  public int index() {
    return index;
  }

  /** The call to fill in; its data is this slot's shared data area. */
  public Call call() {
    return call;
  }

  /** The number of the call last submitted, to interrupt that call and no other. */
  public int sequence() {
    return sequence;
  }

  /** Whether {@link #submit} may have to wait for a link. */
  public boolean submitWaits() {
    return near != null;
  }

  /** Publishes {@link #call()} to the shadow thread. */
  public void submit() {
    publish(null);
  }

  /**
   * The same for a call for whose end nobody waits; only if {@link #submitWaits}.
   *
   * @param ended run once, when the call has ended and the slot can be used again: by the thread
   *     that brings the reply or finds that the device is lost, or by this one. It must not wait.
   */
  public void submit(Runnable ended) {
    if (near == null) {
      throw new IllegalStateException("who brings replies is another process");
    }
    publish(ended);
    if (lost) {
      tell(); // lose() may have looked before
    }
  }

  private void tell() {
    Runnable ended = told.getAndSet(null);
    if (ended != null) {
      if (isReply(reply.get(), sequence)) {
        complete();
      } else {
        fail();
      }
      ended.run();
    }
  }

  private void publish(@Nullable Runnable ended) {
    if (pending) {
      throw new IllegalStateException("a call is pending in slot " + index);
    }
    pending = true;
    reply.forgetSpins();
    mask = -1;
    traffic.call(call);
    int next = SlotLayout.next(sequence);
    sequence = next;
    if (near != null) {
      told.set(ended);
      near.call(index, next, call, ended == null ? null : tells);
      return;
    }
    slot.set(ValueLayout.JAVA_INT, SlotLayout.NUMBER, call.number);
    slot.set(ValueLayout.JAVA_INT, SlotLayout.FLAGS, call.flags);
    for (int i = 0; i < 6; i++) {
      slot.set(ValueLayout.JAVA_LONG, SlotLayout.ARGS + 8L * i, call.args[i]);
    }
    // Publishes all of the above; pairs with DeviceSlot.await.
    request.set(next);
  }

  /**
   * Says that the caller has all that its last call has brought, or that it is kept for others. By
   * the slot's user; no call is pending.
   */
  public void settle() {
    SlotLayout.INT.setVolatile(slot, SlotLayout.SETTLED, sequence);
  }

  /**
   * Waits for the call's end: spins for a bounded time, then sleeps.
   *
   * @param nanos how long at most; {@link Long#MAX_VALUE} for as long as it takes
   * @return false if the call has not ended in that time; it is still pending then
   */
  public boolean await(long nanos) {
    if (!pending) {
      return true;
    }
    int wanted = sequence;
    if (lost) {
      return fail();
    }
    // What ends the wait otherwise is the slot's loss, or that the time is over.
    return awaitReply(wanted, nanos) ? complete() : lost && fail();
  }

  /** Whether the reply is there before the slot is lost or the time is over. */
  private boolean awaitReply(int wanted, long nanos) {
    int now = reply.get();
    if (!isReply(now, wanted)) {
      now = reply.spin(now);
    }
    // Acquire on all paths to here; pairs with DeviceSlot.complete.
    if (isReply(now, wanted)) {
      return true;
    }
    long deadline = System.nanoTime() + Math.min(nanos, Long.MAX_VALUE / 4);
    boolean endless = nanos >= Long.MAX_VALUE / 4;
    reply.announce();
    try {
      for (; ; ) {
        // Read the word, then the rest: lose() raises the word behind what it is about, so that a
        // sleeper who has missed that is woken or finds the word changed.
        now = reply.lower();
        if (isReply(now, wanted)) {
          return true;
        }
        if (lost) {
          return false;
        }
        if (endless) {
          reply.sleep(now, 0);
        } else {
          long left = deadline - System.nanoTime();
          if (left <= 0) {
            return false;
          }
          timeout.set(ValueLayout.JAVA_LONG, 0, left / NANOS_PER_SECOND);
          timeout.set(ValueLayout.JAVA_LONG, 8, left % NANOS_PER_SECOND);
          reply.sleep(now, timeout.address());
        }
      }
    } finally {
      reply.awake();
    }
  }

  /** Whether the word says so: this side may have set its sign to have its waiter look up. */
  private static boolean isReply(int word, int wanted) {
    return (word & ~SlotLayout.ABANDONED) == wanted;
  }

  /** Whether the device has ended the call last submitted. Any thread; a moment's view. */
  public boolean answered() {
    return isReply(reply.get(), sequence);
  }

  /** How many waits for the last call ended while the waiter looked for its end: 1 at most. */
  public int spinsWon() {
    return reply.spinsWon();
  }

  /** How many waits for the last call looked in vain, and went to sleep. */
  public int spinsLost() {
    return reply.spinsLost();
  }

  /** Whether a call was submitted whose end {@link #await} has not yet seen. */
  public boolean pending() {
    return pending;
  }

  /** What the device's kernel returned for the last call: a result or {@code -errno}. */
  public long result() {
    return result;
  }

  /**
   * The poll mask of the call's handle right after the call, or -1 if it is not watched; of openat
   * and openat2 the type bits of the mode of what was opened, or -1.
   */
  public int readyMask() {
    return mask;
  }

  /** When {@link #readyMask()} was true, on the session's clock: newer is greater. */
  public long readyStamp() {
    return stamp;
  }

  /** How many frames of {@link Frame.Looked} came before the last call's end. */
  public int looked() {
    return looked;
  }

  /** The birth of the handle that is the last call's result, if it has made one. */
  public int newBirth() {
    return newBirth;
  }

  /** Makes the pending call and all later ones end with -ENETDOWN. Called by the link's reader. */
  public void lose() {
    lost = true;
    reply.raise();
    tell();
  }

  private boolean complete() {
    pending = false;
    result = slot.get(ValueLayout.JAVA_LONG, SlotLayout.RESULT);
    mask = slot.get(ValueLayout.JAVA_INT, SlotLayout.MASK);
    stamp = slot.get(ValueLayout.JAVA_LONG, SlotLayout.STAMP);
    newBirth = slot.get(ValueLayout.JAVA_INT, SlotLayout.NEW_BIRTH);
    looked = slot.get(ValueLayout.JAVA_INT, SlotLayout.LOOKED);
    call.result = result;
    traffic.reply(call);
    return true;
  }

  private boolean fail() {
    pending = false;
    result = -Errno.ENETDOWN;
    mask = -1;
    call.result = result;
    return true;
  }
}
