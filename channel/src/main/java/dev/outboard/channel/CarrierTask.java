// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.MemorySegment;

/**
 * A task of the session's for the thread that brings what its host sends: what does not have to
 * wait is done by that thread, for which no other needs to be woken. For that one thread alone.
 */
public interface CarrierTask {
  /**
   * Makes the calling thread the task. Once; whoever is told true calls {@link #leave} before it
   * ends, and the session ends after that.
   *
   * @return false if the session has ended, or the device has no task for it
   */
  boolean enter();

  /**
   * Sends what a stream takes at once.
   *
   * @param handle the stream's
   * @param data where the bytes are, of a slot's data area
   * @param count how many, one at least
   * @param flags of {@code send(2)}
   * @return how many it has taken, or {@code -errno}; {@code -EAGAIN} if it takes none now, {@code
   *     -EOPNOTSUPP} if it is none of those that this thread may send to: a thread of a slot's is
   *     to do it then
   */
  long send(int handle, MemorySegment data, long count, int flags);

  /**
   * Sets an option of TCP, of those that {@link Frame.Ahead#isOption} has; whatever comes of it.
   *
   * @param handle the socket's
   * @param name the option's
   * @return false if a thread of a slot's is to do it
   */
  boolean setOption(int handle, int name, int value);

  /**
   * Before this thread makes a call on a handle for a thread of a slot's: one that only asks.
   *
   * @return whether it may, up to {@link #release}; false if it could be held up
   */
  boolean hold(int handle);

  /** Ends what {@link #hold} has begun. */
  void release();

  /** Ends the task. */
  void leave();
}
