// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;

/**
 * A call slot that a process of the program uses itself, without the hook: a file of its own with
 * the layout of {@link SlotLayout}, which that process and the device map.
 *
 * <p>What the process writes there is between it and the device, which takes few calls from such a
 * slot and checks the birth of each handle. This side only gives the slot out, takes it back
 * ({@link DeviceLink#takeBack}), and ends a wait for a device that is gone. Any thread may call
 * everything.
 */
public final class LentSlot {
  private final int index;
  private final Word reply;
  private final MemorySegment header;
  private int descriptor;
  private boolean closed;

  /**
   * @param header its first bytes, mapped; owned by this object, as is
   * @param descriptor the file
   */
  LentSlot(int index, MemorySegment header, int descriptor) {
    this.index = index;
    this.header = header;
    this.descriptor = descriptor;
    this.reply = new Word(header, SlotLayout.REPLY, SlotLayout.HOST_SLEEPS, new Spin());
  }

  int index() {
    return index;
  }

  /** The file, to be given to the process; -1 after {@link #given}. */
  public synchronized int descriptor() {
    return descriptor;
  }

  /** The process has it; nobody else is to get it. */
  public synchronized void given() {
    if (descriptor >= 0) {
      Linux.close(descriptor);
      descriptor = -1;
    }
  }

  /** Adds how long the device has taken for the calls by this slot, until it is taken back. */
  public synchronized void addTimes(DirectTimes to) {
    if (!closed) {
      to.add(header);
    }
  }

  /** Makes the process look up from its wait and see that nothing more will come. Repeatable. */
  synchronized void lose() {
    if (!closed) {
      reply.raise();
    }
  }

  synchronized void close() {
    if (!closed) {
      closed = true;
      given();
      Linux.munmap(header.address(), header.byteSize());
    }
  }
}
