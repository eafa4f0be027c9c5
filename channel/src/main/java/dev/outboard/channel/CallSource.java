// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.Call;

/**
 * Where the calls of one slot come from, on a device whose host shares no memory with it: whoever
 * brings them is in the device's process. What they hold is as hostile as what lies in a slot.
 */
public interface CallSource {
  /** What each call is made of; its data are the slot's data area. */
  Call call();

  /**
   * Has calls made as they come, and sees to what becomes of them, until {@link #close}. The thread
   * that calls this is the one that makes them.
   */
  void run(CallMaker maker);

  /**
   * Makes {@link #run} return, once the call that is being made has ended. Any thread, repeatable;
   * does not wait.
   */
  void close();
}
