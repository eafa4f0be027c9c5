// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.Call;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The other end of a link where that is in this process. Calls, and what is sent ahead, go there by
 * the thread that has them instead of one that would have to be woken; they may overtake frames of
 * the link's socket. In the same way what the device says comes from there by the thread that reads
 * it. Any thread. All methods that send wait while the other side takes nothing.
 */
public interface NearEnd {
  /** Who is told what the device says. */
  interface Hearer {
    /**
     * The device's word, in its order and before the end of any call that ends after it; by the
     * thread that reads what the device says, which must not have to wait.
     *
     * @return null, or what is wrong with it: then the link ends
     */
    @Nullable String heard(Frame frame);
  }

  /**
   * Has frames that are about sockets (Ready, Done, Looked) told at once from now on, instead of by
   * the link's socket, whose reader would have to be woken.
   */
  void tell(Hearer hearer);

  /**
   * Sends a frame.
   *
   * @param flags as {@link Call#flags}: which frames of the link's socket it must come after
   * @param now false if it may stay here for a few milliseconds; what is sent by anybody takes it
   *     along
   * @return false if the link is gone
   */
  boolean send(Frame.Ahead frame, int flags, boolean now);

  /**
   * Sends bytes ahead: as many frames as they take, and what each of them costs only once. They
   * come after no frame of the link's socket.
   *
   * @param first of the first frame, as of a {@link Frame.Ahead}; likewise handle and flags
   * @param bytes one at least; the caller's again when this returns
   * @param now false if they may stay here until the caller's {@link #push} or {@link #keep}, of
   *     which one is to come before it waits for anything; what is sent by anybody takes them along
   * @return false if the link is gone
   */
  boolean sendBytes(
      int slot, boolean first, int handle, int flags, MemorySegment bytes, boolean now);

  /** Has on its way what {@link #sendBytes} may have left here. */
  void push();

  /** Leaves it here for a few milliseconds at most. */
  void keep();

  /**
   * Makes the call that is in a slot. Its end comes as that of any; if the link is gone, as the
   * loss of the device.
   *
   * @param slot its index
   * @param call the slot's; the caller's again when this returns
   * @param ended run when the reply is in the slot's memory, by the thread that has put it there,
   *     which must not have to wait; perhaps before this returns. Null if somebody waits for it.
   */
  void call(int slot, int sequence, Call call, @Nullable Runnable ended);
}
