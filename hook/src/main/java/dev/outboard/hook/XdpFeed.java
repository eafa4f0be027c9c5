// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.CallSlot;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;

/** Brings the frames of one XDP socket to the program. */
final class XdpFeed extends Feed {
  private final XdpSocket socket;

  /**
   * @param slot for this object alone
   */
  XdpFeed(
      Hook.Services hook, OpenFile file, Placeholder placeholder, CallSlot slot, XdpSocket socket) {
    super(hook, file, placeholder, slot);
    this.socket = socket;
  }

  @Override
  void receive(Call c, boolean waits) {
    c.start(PseudoCall.XDP_RECEIVE);
    c.args[0] = file().handle();
    c.args[1] = waits ? 1 : 0;
    c.carried = c.data.byteSize();
    c.receives = true;
  }

  @Override
  boolean put(MemorySegment data, long bytes) {
    return socket.receive(data, bytes);
  }

  @Override
  boolean holds() {
    return socket.holds();
  }

  /** Its interface is gone, and it with it. */
  @Override
  boolean failed(int errno) {
    return false;
  }

  /** Rings and memory are the socket's. */
  @Override
  void ended() {}
}
