// SPDX-License-Identifier: MIT
package dev.outboard.channel;

/**
 * Makes the calls of one slot, as the task that stands for a thread of the program. For the thread
 * that {@link CallSource#run} is called by; for calls that wait for nobody also for whoever is the
 * session's {@link CarrierTask}, while that thread has nothing to do.
 */
public interface CallMaker {
  /**
   * Makes {@link CallSource#call} and waits for its end.
   *
   * @param sequence the call's number, greater than 0: by it an interruption finds it
   * @return what the device's kernel returned: a result or {@code -errno}
   */
  long make(int sequence);

  /** As {@link CallSlot#readyMask} says of the call made last. */
  int readyMask();

  /** As {@link CallSlot#readyStamp} does. */
  long readyStamp();

  /** As {@link CallSlot#newBirth} does. */
  int newBirth();
}
