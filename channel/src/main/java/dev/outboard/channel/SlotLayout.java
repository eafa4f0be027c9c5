// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.invoke.VarHandle;

/**
 * Where things lie in a call slot, the shared-memory mailbox of one program thread.
 *
 * <p>A session's slots lie one behind the other in one sealed memfd, {@link #BYTES} apart. All
 * numbers are little-endian; every line below is one 64-byte cache line, so that the two sides do
 * not write to the same one while they spin.
 *
 * <pre>
 *    offset  0        4               8                                                  64
 *           +--------+---------------+--------------------------------------------------+
 *         0 |request | deviceSleeps  | settled |                                        |
 *           +--------+---------------+--------------------------------------------------+
 *        64 |reply   | hostSleeps    | together |                                       |
 *           +--------+-------+-------+---------+---------+------+---------+-------+-----+
 *       128 |number  | flags | args[0]         | args[1] | ...  | args[5] | birth |where|
 *           +--------+-------+--------+--------+---------+------+---------+-------+-----+
 *       192 |result      |mask    |newBirth| stamp  | looked | credit | given |since|offer|
 *           +----------------+--------+--------+----------+--------+--------+-------+-----+
 *       256 |generation|     | drained                                                  |
 *           +----------------+----------------------------------------------------------+
 *       320 |appended        |takings|                                                  |
 *           +----------------+----------------------------------------------------------+
 *       384 |  times: see {@link DirectTimes}; up to a page                              |
 *           +---------------------------------------------------------------------------+
 *      4096 |  data: input and output bytes of the call, {@link #DATA_BYTES}                  |
 *           +---------------------------------------------------------------------------+
 *    167936 |  {@link #PEEKED_ENTRIES} receives that were peeked at                       |
 *           +---------------------------------------------------------------------------+
 *    233472 |  the next slot                                                            |
 * </pre>
 *
 * <p><b>Who writes what.</b> The host writes the lines at 0 (but {@code deviceSleeps}) and 128 and
 * the data before a call; the device writes the lines at 64 (but {@code hostSleeps}) and 192 and
 * the data during it. Neither side reads back what it wrote: the other side may be hostile.
 *
 * <p><b>Order.</b> {@code request} and {@code reply} are sequence numbers of 31 bits, never 0 once
 * a call was made, and futex words. The host publishes call <i>n</i> by storing <i>n</i> to {@code
 * request}; the device completes it by storing <i>n</i> to {@code reply}. Both stores are volatile
 * (release for the payload before them; sequentially consistent with the sleep flags, see below)
 * and both are read by acquire or volatile loads.
 *
 * <p><b>No lost wake.</b> A side that goes to sleep stores its flag, then reads the word again,
 * then calls futex(FUTEX_WAIT) with the value read. The waking side stores the word, then reads the
 * flag and calls FUTEX_WAKE if it is set. All four accesses are sequentially consistent, so at
 * least one of the two sees the other's store: either the sleeper sees the new word and does not
 * sleep, or the waker sees the flag and wakes; and FUTEX_WAIT compares the word under the kernel's
 * own lock.
 *
 * <p><b>Births.</b> A handle's number is used again; its <i>birth</i>, random and told with the
 * call that made it, is not. A slot that is lent to a process of the program (a file of its own,
 * with this same layout) must say the birth of every handle that it names.
 *
 * <p><b>Placement.</b> A caller with a lent slot says <i>where</i> it runs; the device says whether
 * it has its thread run <i>together</i> with the caller, on one processor: then looking for the
 * reply is in vain, and the caller sleeps at once.
 *
 * <p><b>Sends ahead.</b> A process with a lent slot may send without waiting for the reply, against
 * a <i>credit</i>, which replies bring. It appends the send to the <i>ring</i>, in the part of the
 * data area that its calls do not use: handle, birth, flags and length (4 bytes each), then the
 * bytes, all of it rounded up to 16; −1 in the place of a handle means that what follows is at the
 * ring's start. {@code appended} and {@code drained} count the bytes that were ever appended and
 * read. A credit is good for one generation. The program looks at {@code generation}, publishes by
 * storing {@code appended}, and looks at {@code generation} again; the device stores a new
 * generation and then reads {@code appended}. All four are sequentially consistent, so either the
 * device finds the send, or the program finds its credit void and makes a call that waits, before
 * which the device reads the ring. Then the program looks at {@code deviceSleeps}; if it is set, it
 * clears it, changes the sign of {@code request}, which is no new call but ends a FUTEX_WAIT, and
 * wakes.
 *
 * <p><b>Receives that were peeked at.</b> Behind the data a lent slot has {@link #PEEKED_ENTRIES}
 * entries of {@link #PEEKED_BYTES}, each with what a socket had for the program to receive: its
 * state, handle, birth and length (4 bytes each), how much of it was taken and a credit (4 each:
 * bytes, generation), since when that is good (8), and from {@link #PEEKED_DATA} on the bytes. The
 * device fills an entry and stores its state, {@link #PEEKED_FRESH} and a count of its own above
 * that; only the slot's caller may <i>take</i> it: it copies the bytes out, says how many they
 * were, exchanges the state for {@link #PEEKED_TAKEN} if it is still what it was, and counts {@code
 * takings} up. The device takes an entry back in the same way, for {@link #PEEKED_NONE}. So either
 * the program has received the bytes, and the device throws them out of the socket before any other
 * call, or it has not.
 *
 * <p><b>Receives on offer.</b> A process with a lent slot may be ended between a reply and the
 * moment when it has what came. So a receive that {@link #WANTS_TAKING} leaves in the socket what
 * its reply brings, and {@code offer} is that call's sequence number. The process copies the bytes
 * out, exchanges the word for the same with {@link #OFFER_TAKEN} if it is still what it was, and
 * counts {@code takings} up. Then the device throws the bytes out of the socket, before any other
 * call. It may take the offer back at any time, by exchanging it for {@link #OFFER_TAKEN} alone:
 * then the process has received nothing.
 *
 * <p><b>Settled.</b> Between a reply and the moment when the caller has what was received, that is
 * with the host alone. {@code settled} is the sequence number of the last call of which the host
 * has given the caller all that came, or keeps it for others; until then the device has nobody else
 * receive from the same socket by a lent slot.
 *
 * <p><b>Abandoning.</b> {@link #ABANDONED} is set in a word by the side that <i>waits</i> on it, to
 * make its own waiter look up: the host in {@code reply} when the link is lost, or when a relay's
 * thread has something else to do, the device in {@code request} when the session ends. A changed
 * word makes FUTEX_WAIT return.
 */
public final class SlotLayout {
  /** Futex: the sequence number of the last call that the host submitted. */
  public static final long REQUEST = 0;

  /** Not zero: the device sleeps, or is about to sleep, on {@link #REQUEST}. */
  public static final long DEVICE_SLEEPS = 4;

  /** The sequence number of the last call whose outcome the host has dealt with; not if lent. */
  public static final long SETTLED = 8;

  /** Futex: the sequence number of the last call that the device completed. */
  public static final long REPLY = 64;

  /** Not zero: the host sleeps, or is about to sleep, on {@link #REPLY}. */
  public static final long HOST_SLEEPS = 68;

  /** Not zero: both sides run on one processor, by the device's choice; in a slot that is lent. */
  public static final long TOGETHER = 72;

  /** Canonical system call number, or a pseudo call. */
  public static final long NUMBER = 128;

  public static final long FLAGS = 132;

  /** Six arguments of 8 bytes each. */
  public static final long ARGS = 136;

  /** The birth of the handle in {@code args[0]}; in a slot that is lent. */
  public static final long BIRTH = 184;

  /**
   * The number of the call that the program made, of its own kernel; in a slot that is lent, of
   * whose calls none has a sixth argument.
   */
  public static final long CALLER = ARGS + 5 * Long.BYTES;

  /** The processor on which the caller runs, and one; 0 if unknown; in a slot that is lent. */
  public static final long WHERE = 188;

  public static final long RESULT = 192;

  /**
   * Poll mask of the call's handle right after the call, or -1 if it is not watched. Of openat and
   * openat2 the type of the file that was opened (the type bits of its mode), or -1.
   */
  public static final long MASK = 200;

  /** The birth of the handle that is the result, if the call has made one. */
  public static final long NEW_BIRTH = 204;

  /** The time of {@link #MASK} on the session's own clock: newer is greater. */
  public static final long STAMP = 208;

  /**
   * How many frames of {@code Looked} came before the reply, of a device at the other end of a
   * stream; else 0.
   */
  public static final long LOOKED = 216;

  /**
   * For how many bytes the handle of the call may be sent on without waiting; 0 for none. In a slot
   * that is lent, as are all below.
   */
  public static final long CREDIT = 220;

  /** The {@link #GENERATION} for which {@link #CREDIT} is good. */
  public static final long CREDIT_GENERATION = 224;

  /** When it began to be good: nanoseconds of CLOCK_MONOTONIC. */
  public static final long CREDIT_SINCE = 232;

  /** What a reply offers is to be taken: the call's sequence number; 0 if it is the process's. */
  public static final long OFFER = 240;

  /** Set in {@link #OFFER} when it was taken; alone there when it was taken back. */
  public static final int OFFER_TAKEN = 1 << 31;

  /** Which credits are good: those of another generation are void. */
  public static final long GENERATION = 256;

  /** Bytes of the ring that the device has read, ever. */
  public static final long DRAINED = 264;

  /** Bytes of the ring that the program has written, ever. */
  public static final long APPENDED = 320;

  /** How many receives the program has taken, ever. */
  public static final long TAKINGS = 328;

  /** How long calls took on the device, as {@link DirectTimes} counts; in a slot that is lent. */
  public static final long TIMES = 384;

  /** A flag of a receive: the process takes what the reply offers. */
  public static final int WANTS_TAKING = 1 << 18;

  /** A flag of a receive: the device may look what else there is to receive. */
  public static final int WANTS_PEEKS = 1 << 17;

  /** A flag of a call: its reply shall bring a credit, if there is one. */
  public static final int WANTS_CREDIT = 1 << 16;

  /** The most bytes of a send that goes ahead. */
  public static final int AHEAD_BYTES = 8 * 1024;

  /** What a credit is: bytes, where each send counts {@link #AHEAD_COST} more. */
  public static final int CREDIT_BYTES = 16 * 1024;

  /** What a socket's buffer may need for a send besides its bytes. */
  public static final int AHEAD_COST = 1024;

  /** Where the data area starts: a page of its own, so that it can be handed to a kernel. */
  public static final long DATA = 4096;

  /** The bytes of the data area: a piece of a stream and the structures around it. */
  public static final int DATA_BYTES = 160 * 1024;

  /** The ring of sends: behind what a call may use of the data area of a lent slot. */
  public static final long RING = DATA + 128 * 1024;

  public static final int RING_BYTES = 24 * 1024;

  /** Receives that were peeked at. */
  public static final long PEEKED = DATA + DATA_BYTES;

  public static final int PEEKED_ENTRIES = 64;

  public static final int PEEKED_BYTES = 1024;

  // Of an entry.
  public static final int PEEKED_STATE = 0;
  public static final int PEEKED_HANDLE = 4;
  public static final int PEEKED_BIRTH = 8;
  public static final int PEEKED_LENGTH = 12;
  public static final int PEEKED_TAKE = 16;
  public static final int PEEKED_CREDIT = 20;
  public static final int PEEKED_GENERATION = 24;
  public static final int PEEKED_SINCE = 32;
  public static final int PEEKED_DATA = 64;

  // The low bits of its state.
  public static final int PEEKED_NONE = 0;
  public static final int PEEKED_FRESH = 1;
  public static final int PEEKED_TAKEN = 2;

  /** What the count in a state goes up by. */
  public static final int PEEKED_COUNT = 4;

  /** The distance from one slot to the next. */
  public static final long BYTES = PEEKED + PEEKED_ENTRIES * PEEKED_BYTES;

  /** Set in a futex word by its own waiter's side: nothing more will come. */
  public static final int ABANDONED = 1 << 31;

  /** The most slots that a session may have. */
  public static final int MAX_SLOTS = 8192;

  // No machine that the device runs on has larger pages.
  private static final long FILE_MULTIPLE = 64 * 1024;

  // Both take (segment, offset); the segments are aligned to pages.
  static final VarHandle INT = JAVA_INT.varHandle();
  static final VarHandle LONG = JAVA_LONG.varHandle();

  private SlotLayout() {}

  /**
   * How long the file of a session's slots is, in bytes: whole pages, whatever the device's machine
   * has for pages, so that a kernel can map it. The host need not know.
   *
   * @param slots 1 to {@link #MAX_SLOTS}
   */
  public static long fileBytes(int slots) {
    return (slots * BYTES + FILE_MULTIPLE - 1) & -FILE_MULTIPLE;
  }

  /** The sequence number that follows {@code sequence}: 31 bits, never 0. */
  public static int next(int sequence) {
    return sequence == Integer.MAX_VALUE ? 1 : sequence + 1;
  }
}
