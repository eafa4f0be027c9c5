// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Seccomp;
import dev.outboard.channel.CallSlot;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SeccompListener;
import dev.outboard.syscalls.Row;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * One trapped call, from its receipt to its answer; reused by its notifier thread, which alone may
 * use it.
 *
 * <p>Exactly one of the answer methods is called for each notification ({@link #answered} tells).
 * An answer to a caller that was killed meanwhile is dropped.
 */
final class Notification {
  private final SeccompListener listener;
  private final MemorySegment request;
  private final MemorySegment response;
  private final MemorySegment scratch;
  private final long[] args = new long[6];
  private final ProcessMemory memory;
  private final TaskStatus status;
  private final Notifier.Seat seat;
  private final MemorySegment path;
  private final MemorySegment stat;
  private final MemorySegment polls;

  private @Nullable ThreadEntry thread;
  private @Nullable Row row;
  private @Nullable CallSlot slot;
  private @Nullable Observer observer;
  private boolean unreadable;
  private long accepted;
  private int newBirth;
  private byte @Nullable [] attributes;
  private int newType = -1;
  private long deviceNanos;
  private int deviceCalls;
  private int spinsWon;
  private int spinsLost;
  private boolean answered;

  /** Sees answers right before they are given, while the caller still waits. */
  interface Observer {
    /**
     * An answer is about to be given.
     *
     * @param outcome who executes the call
     * @param result what is answered, if that is not {@link Answer#HOST}
     */
    void answering(Notification n, Answer outcome, long result);
  }

  /** Scratch for a path such as {@code task/4194304/fd/2147483647}. */
  private static final int PATH_BYTES = 64;

  /** What became of a call, for trace and statistics. */
  enum Answer {
    HOST,
    VALUE
  }

  Notification(SeccompListener listener, Arena arena, Notifier.Seat seat) {
    this.listener = listener;
    this.request = arena.allocate(Seccomp.NOTIF_BYTES, 8);
    this.response = arena.allocate(Seccomp.RESPONSE_BYTES, 8);
    this.scratch = arena.allocate(Seccomp.ADDFD_BYTES, 8);
    this.memory = new ProcessMemory(arena);
    this.seat = seat;
    this.path = arena.allocate(PATH_BYTES, 8);
    this.stat = arena.allocate(Processes.STAT_BYTES, 8);
    this.polls = arena.allocate(16, 8);
    this.status = new TaskStatus(arena);
  }

  /** Lets {@code o} see every answer from now on; null for nobody. */
  void observer(@Nullable Observer o) {
    observer = o;
  }

  /** Waits for the next trapped call; 0 or -errno as {@link SeccompListener#receive}. */
  long receive() {
    long r = listener.receive(request);
    if (r == 0) {
      answered = false;
      thread = null;
      slot = null;
      row = null;
      unreadable = false;
      accepted = -1;
      deviceNanos = 0;
      deviceCalls = 0;
      spinsWon = 0;
      spinsLost = 0;
      for (int i = 0; i < 6; i++) {
        args[i] = request.get(JAVA_LONG_UNALIGNED, Seccomp.NOTIF_ARGS + 8L * i);
      }
      memory.bind(tid());
    }
    return r;
  }

  /** Identifies the call; never used twice by a listener. */
  long id() {
    return request.get(JAVA_LONG_UNALIGNED, Seccomp.NOTIF_ID);
  }

  /** The thread whose call it is. */
  int tid() {
    return request.get(JAVA_INT_UNALIGNED, Seccomp.NOTIF_PID);
  }

  /** The number of the call in the host's ABI. */
  int nr() {
    return request.get(JAVA_INT_UNALIGNED, Seccomp.NOTIF_NR);
  }

  /** Where the caller goes on: the address behind its {@code syscall} instruction. */
  long instructionPointer() {
    return request.get(JAVA_LONG_UNALIGNED, Seccomp.NOTIF_INSTRUCTION_POINTER);
  }

  /** The raw arguments; the array is reused. */
  long[] args() {
    return args;
  }

  /** Argument {@code i} as the kernel reads an {@code int}. */
  int intArg(int i) {
    return (int) args[i];
  }

  /** The calling thread's entry; set before a handler runs. */
  ThreadEntry thread() {
    ThreadEntry t = thread;
    if (t == null) {
      throw new IllegalStateException("no thread entry yet");
    }
    return t;
  }

  void thread(ThreadEntry t) {
    thread = t;
  }

  ProcessEntry process() {
    return thread().process();
  }

  /** The call's row; set before a handler runs. */
  Row row() {
    Row r = row;
    if (r == null) {
      throw new IllegalStateException("no row yet");
    }
    return r;
  }

  void row(Row r) {
    row = r;
  }

  /** The caller's call slot, between {@link DeviceCalls#begin} and its end. */
  CallSlot slot() {
    CallSlot s = slot;
    if (s == null) {
      throw new IllegalStateException("no device call has begun");
    }
    return s;
  }

  void slot(CallSlot s) {
    slot = s;
  }

  MemorySegment pathScratch() {
    return path;
  }

  /** Room for what a thread's status says. */
  TaskStatus statusScratch() {
    return status;
  }

  /** Room for one structure of stat(2) or less. */
  MemorySegment statScratch() {
    return stat;
  }

  /** Room for two {@code struct pollfd}. */
  MemorySegment pollScratch() {
    return polls;
  }

  /** The caller's descriptors cannot be looked at: it is not dumpable. */
  boolean unreadable() {
    return unreadable;
  }

  void setUnreadable() {
    unreadable = true;
  }

  /** Notes the handle that an accept made, in case its answer cannot be given. */
  void acceptedHandle(long handle) {
    accepted = handle;
  }

  /** Notes the birth of the handle that the call made on the device. */
  void newBirth(int birth) {
    newBirth = birth;
  }

  /** Notes the type of the file that the call opened, as the device told it; -1 if it did not. */
  void newType(int type) {
    newType = type;
  }

  /** The type noted last: bits of a mode. */
  int newType() {
    return newType;
  }

  /** Notes what the device told with an open: a {@code struct statx}. */
  void attributes(byte @Nullable [] told) {
    attributes = told;
  }

  /** The attributes noted last; null if the device told none. */
  byte @Nullable [] attributes() {
    return attributes;
  }

  /** The birth noted last. */
  int newBirth() {
    return newBirth;
  }

  /** The handle noted, or -1. */
  long acceptedHandle() {
    return accepted;
  }

  /** Whether somebody wants to know how long device calls take. */
  boolean timed() {
    return observer != null;
  }

  /** Notes the time that a device call took, and how its wait went: {@link CallSlot#spinsWon}. */
  void deviceTime(long nanos, int won, int lost) {
    deviceNanos += nanos;
    deviceCalls++;
    spinsWon += won;
    spinsLost += lost;
  }

  /** What the device calls of this notification took together. */
  long deviceNanos() {
    return deviceNanos;
  }

  /** Waits of these that ended while this thread looked for their end. */
  int spinsWon() {
    return spinsWon;
  }

  /** Those that looked in vain. */
  int spinsLost() {
    return spinsLost;
  }

  /** How many device calls this notification needed. */
  int deviceCalls() {
    return deviceCalls;
  }

  /** The caller's memory. What was read is the caller's only if {@link #valid} holds afterwards. */
  ProcessMemory memory() {
    return memory;
  }

  /** Whether the caller still waits: neither killed nor answered. */
  boolean valid() {
    return !answered && listener.valid(id(), scratch);
  }

  /** Whether the caller of another notification still waits. */
  boolean waits(long id) {
    return listener.valid(id, scratch);
  }

  /**
   * Says that this thread is going to block or to be long: another one receives from now on. May be
   * called more than once.
   */
  void willBlock() {
    seat.release();
  }

  /** Ends the call with a result, zero or more, or {@code -errno}. */
  void answer(long result) {
    observe(Answer.VALUE, result);
    // An errno goes in its own field; the kernel treats "value" as it is, errors included, but
    // checks "error" for range.
    if (result < 0 && result >= -4095) {
      send(0, (int) result, 0);
    } else {
      send(result, 0, 0);
    }
  }

  /** The same for a call that is none of the program's: no observer sees it. */
  void answerUnseen(long result) {
    observer = null;
    answer(result);
  }

  /** Ends the wait of a thread that is held: what it gets comes later, by {@link #heldResult}. */
  void answerHeld() {
    send(0, 0, 0);
  }

  /** Tells the observer what a thread that is held is about to get. */
  void heldResult(long result) {
    Observer o = observer;
    if (o != null) {
      o.answering(this, Answer.VALUE, result);
    }
  }

  void answerValue(long result) {
    answer(result);
  }

  /** Ends the call with an error, given as a positive number. */
  void answerErrno(int errno) {
    answer(-(long) errno);
  }

  /** Lets the host's kernel execute the call as if it had never been trapped. */
  void answerContinue() {
    observe(Answer.HOST, 0);
    send(0, 0, Seccomp.USER_NOTIF_FLAG_CONTINUE);
  }

  /**
   * Gives the caller a new descriptor, a copy of {@code fd} at the lowest free number, without
   * ending the call.
   *
   * @param newFdFlags O_CLOEXEC or 0
   * @return its number, or -errno: EMFILE, or ENOENT if the caller is gone
   */
  long addFd(int fd, int newFdFlags) {
    return listener.addFd(scratch, id(), fd, 0, newFdFlags);
  }

  boolean answered() {
    return answered;
  }

  private void observe(Answer outcome, long result) {
    Observer o = observer;
    if (o != null && !answered && thread != null && row != null) {
      o.answering(this, outcome, result);
    }
  }

  private void send(long result, int error, int flags) {
    if (answered) {
      throw new IllegalStateException("call " + nr() + " was answered already");
    }
    answered = true;
    response.set(JAVA_LONG_UNALIGNED, Seccomp.RESPONSE_ID, id());
    response.set(JAVA_LONG_UNALIGNED, Seccomp.RESPONSE_VALUE, result);
    response.set(JAVA_INT_UNALIGNED, Seccomp.RESPONSE_ERROR, error);
    response.set(JAVA_INT_UNALIGNED, Seccomp.RESPONSE_FLAGS, flags);
    long r;
    do {
      r = listener.send(response);
    } while (r == -Errno.EINTR);
    // -ENOENT: the caller was killed, or a signal took it out before the receipt was noted.
  }
}
