// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.CallSlot;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * A thread of the program, known since its first trapped call.
 *
 * <p>A thread waits in one notification at a time, so all but what is said to be guarded or is
 * volatile belongs to the notifier thread that serves it now; the receipt of the next notification
 * orders their uses. After a notification was answered nothing here may be touched on its behalf.
 */
final class ThreadEntry {
  private final int tid;
  private final ProcessEntry process;

  /** The thread's shadow on the device: null until its first device call, and after its end. */
  private @Nullable CallSlot slot;

  private boolean inCall;
  private boolean dead;

  /** The credentials of the shadow may be old: a set*id call or exec was let through. */
  boolean credentialsDirty;

  /** It makes, or waits for, a child that has its memory; the shim's. */
  boolean inVfork;

  /** It makes a child that has a copy of its memory; the shim's. */
  volatile boolean inFork;

  /** It was let through to wait for descriptors. */
  final AtomicBoolean waiting = new AtomicBoolean();

  /** Of {@link #changesSet}: none. */
  static final int NO_SET = Integer.MIN_VALUE;

  /** The number by which it was let through to change an epoll set, and not by the shim. */
  volatile int changesSet = NO_SET;

  /** What its last call found out, which may answer this one, and that it is this one's turn. */
  private volatile @Nullable Object found;

  private volatile boolean usable;

  /** A close was let through in its last notification. */
  boolean hasClosing;

  /** The calls that it makes now are the hook's; a {@link HeldThread}'s. */
  volatile boolean held;

  // The sampler's view of a blocked call; all guarded by the sampler.
  int blockedSequence;
  int blockedEvent = -1;
  volatile long blockedId;
  int statusFd = -1;
  boolean interrupted;
  boolean certain;
  boolean seizing;

  ThreadEntry(int tid, ProcessEntry process) {
    this.tid = tid;
    this.process = process;
  }

  int tid() {
    return tid;
  }

  /** It makes a call that has trapped. */
  void arrived() {
    if (found != null) {
      if (usable) {
        found = null;
      }
      usable = true;
    }
  }

  /** Keeps what the call has found out for the thread's next one that traps, and for no other. */
  void found(Object what) {
    usable = false;
    found = what;
  }

  /** What the call before has found out. */
  @Nullable Object found() {
    return usable ? found : null;
  }

  ProcessEntry process() {
    return process;
  }

  /** The thread's slot if it has one. */
  synchronized @Nullable CallSlot slot() {
    return slot;
  }

  synchronized boolean dead() {
    return dead;
  }

  /**
   * Whether a call of this thread is being made. As it waits for that one's answer, a thread that
   * comes with the same number is another: the kernel gives the first thread's number to the one
   * that has executed a program (execve(2)).
   */
  synchronized boolean inCall() {
    return inCall || blockedId != 0;
  }

  /** Gives the thread its slot; false if it is dead, and then the slot is the caller's to free. */
  synchronized boolean attach(CallSlot s) {
    if (dead) {
      return false;
    }
    slot = s;
    inCall = true;
    return true;
  }

  /**
   * Takes the slot into use for one device call, which {@link #endCall} ends.
   *
   * @return null if there is none yet, or none any more
   */
  synchronized @Nullable CallSlot beginCall() {
    if (slot != null) {
      inCall = true;
    }
    return slot;
  }

  /** Ends a use; returns the slot if the thread has died meanwhile: the caller detaches it. */
  synchronized @Nullable CallSlot endCall() {
    inCall = false;
    CallSlot s = slot;
    if (dead) {
      slot = null;
      return s;
    }
    return null;
  }

  /**
   * Notes the thread's end.
   *
   * @return the slot if it was not in use: the caller detaches it. If it is in use, the caller
   *     interrupts it, and its user detaches it.
   */
  synchronized @Nullable CallSlot die() {
    dead = true;
    CallSlot s = slot;
    if (inCall) {
      return null;
    }
    slot = null;
    return s;
  }
}
