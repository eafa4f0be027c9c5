// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.lang.foreign.MemorySegment;

/**
 * Who carries the calls of a session from a host that shares no memory with the device; in the
 * device's process. Any thread may call any method.
 */
public interface CallCarrier {
  /**
   * The session has begun; before any other method. The carrier's reader may have the task.
   *
   * @param task for as long as the session lasts
   */
  void begin(CarrierTask task);

  /**
   * A slot is given out. Whoever had it before has come out of {@link CallSource#run}.
   *
   * @param index the slot's
   * @param data its data area, as the one before has left it; zeros at first
   */
  CallSource open(int index, MemorySegment data);

  /** Tells the host of edges, as the link of the session would. May wait for the host. */
  void tell(Frame.Ready edges);

  /**
   * The session ends: before long nobody waits for the host any more in {@link #tell} and {@link
   * CallSource#run}, and whoever is its {@link CarrierTask} leaves it.
   */
  void ending();

  /** All that has to end with the session has. */
  void ended();
}
