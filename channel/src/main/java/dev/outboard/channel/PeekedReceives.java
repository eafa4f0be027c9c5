// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The device's side of what a lent slot has of receives that were peeked at: {@link SlotLayout} has
 * the layout, and the order of its words.
 *
 * <p>The memory is hostile. Whose an entry is, how long, and which state it was given last is kept
 * here; of the program's only its taking is believed, and how much, within the entry's length.
 *
 * <p>{@link #isTaken()}, {@link #isReplyOnOffer} and {@link #close} may be called by any thread,
 * all else by one at a time and not after {@link #close}.
 */
public final class PeekedReceives {
  /** The most bytes that an entry has. */
  public static final int MOST = SlotLayout.PEEKED_BYTES - SlotLayout.PEEKED_DATA;

  /** What {@link #end} returns of an entry that nobody has taken. */
  public static final int UNTAKEN = -1;

  private final MemorySegment slot;
  private final int[] states = new int[SlotLayout.PEEKED_ENTRIES];
  private final int[] lengths = new int[SlotLayout.PEEKED_ENTRIES];
  private volatile int reply;
  private int settled; // guarded by this
  private boolean closed; // guarded by this

  PeekedReceives(MemorySegment slot) {
    this.slot = slot;
  }

  /** The entry that a handle would have. */
  public static int of(int handle) {
    return handle & SlotLayout.PEEKED_ENTRIES - 1;
  }

  /** Whether the program has taken some of which {@link #settled} was not said. */
  public synchronized boolean isTaken() {
    return !closed && takings() != settled;
  }

  /** The count of what was taken; to be asked before the entries are looked at. */
  public int takings() {
    return (int) SlotLayout.INT.getVolatile(slot, SlotLayout.TAKINGS);
  }

  /** All that was taken up to such a count has been dealt with, and not only looked at. */
  public synchronized void settled(int takings) {
    settled = takings;
  }

  /** Its memory may go after this. */
  public synchronized void close() {
    closed = true;
  }

  /** Where an entry's bytes go, before {@link #publish}. The entry is nobody's. */
  public MemorySegment data(int entry) {
    return slot.asSlice(at(entry) + SlotLayout.PEEKED_DATA, MOST);
  }

  /**
   * Offers an entry's bytes to the program.
   *
   * @param length 1 to {@link #MOST}
   * @param credit bytes that may be sent on the handle without waiting; 0 for none
   * @param generation for which that is good, as {@link DeviceSlot#credit} says it of a reply
   * @param since when its reasons held
   */
  public void publish(
      int entry, int handle, int birth, int length, int credit, int generation, long since) {
    long at = at(entry);
    slot.set(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_HANDLE, handle);
    slot.set(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_BIRTH, birth);
    slot.set(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_LENGTH, length);
    slot.set(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_CREDIT, credit);
    slot.set(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_GENERATION, generation);
    slot.set(ValueLayout.JAVA_LONG, at + SlotLayout.PEEKED_SINCE, since);
    lengths[entry] = length;
    int state = (states[entry] & -SlotLayout.PEEKED_COUNT) + SlotLayout.PEEKED_COUNT;
    states[entry] = state | SlotLayout.PEEKED_FRESH;
    // Publishes all of the above.
    SlotLayout.INT.setVolatile(slot, at, states[entry]);
  }

  /** Whether the program has taken the entry, which was published. */
  public boolean isTaken(int entry) {
    return (int) SlotLayout.INT.getVolatile(slot, at(entry)) == taken(entry);
  }

  /**
   * Takes an entry back that was published.
   *
   * @return how many of its bytes the program has received, or {@link #UNTAKEN}: then it cannot any
   *     more
   */
  public int end(int entry) {
    long at = at(entry);
    int fresh = states[entry];
    int taken = taken(entry);
    states[entry] = fresh & -SlotLayout.PEEKED_COUNT;
    int seen = (int) SlotLayout.INT.compareAndExchange(slot, at, fresh, states[entry]);
    if (seen != taken) {
      // Not taken; or not by the rules, and then the program may have received anything.
      return UNTAKEN;
    }
    int bytes = slot.get(ValueLayout.JAVA_INT, at + SlotLayout.PEEKED_TAKE);
    SlotLayout.INT.setVolatile(slot, at, states[entry]);
    return bytes < 1 || bytes > lengths[entry] ? UNTAKEN : bytes;
  }

  /**
   * From the next reply on nothing is on offer. Before a call is made, and not while the process
   * may not have taken yet what the last one has brought: it would take that for its own.
   */
  public void noReply() {
    reply = 0;
    SlotLayout.INT.setVolatile(slot, SlotLayout.OFFER, 0);
  }

  /**
   * Says that what the reply to a call brings is the program's only when it takes it. Before the
   * reply.
   *
   * @param sequence of that call
   */
  public void offerReply(int sequence) {
    reply = sequence;
    SlotLayout.INT.setVolatile(slot, SlotLayout.OFFER, sequence);
  }

  /** Whether the program may still take what a reply has offered. */
  public synchronized boolean isReplyOnOffer() {
    return !closed
        && reply != 0
        && (int) SlotLayout.INT.getVolatile(slot, SlotLayout.OFFER) == reply;
  }

  /** Whether the program has taken what was offered last. */
  public boolean isReplyTaken() {
    return (int) SlotLayout.INT.getVolatile(slot, SlotLayout.OFFER)
        == (reply | SlotLayout.OFFER_TAKEN);
  }

  /**
   * Takes back what was offered last.
   *
   * @return whether the program has received it; if not, it cannot any more
   */
  public boolean endReply() {
    int offered = reply;
    reply = 0;
    return (int)
            SlotLayout.INT.compareAndExchange(
                slot, SlotLayout.OFFER, offered, SlotLayout.OFFER_TAKEN)
        == (offered | SlotLayout.OFFER_TAKEN);
  }

  private int taken(int entry) {
    return states[entry] - SlotLayout.PEEKED_FRESH + SlotLayout.PEEKED_TAKEN;
  }

  private static long at(int entry) {
    return SlotLayout.PEEKED + (long) entry * SlotLayout.PEEKED_BYTES;
  }
}
