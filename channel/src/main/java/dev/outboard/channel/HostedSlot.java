// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.posix.Linux;
import dev.outboard.posix.SealedMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A call slot that a process of the program uses itself, and whose calls the host takes: where the
 * device shares no memory with that process. The device knows nothing of it.
 *
 * <p>{@link #slot} is for the one thread that takes its calls, but for {@link DeviceSlot#close};
 * its memory stays as long as that object. {@link #takeBack} may be called by any thread.
 */
public final class HostedSlot {
  /** No slot of a session's memory has this index. */
  private static final int NO_INDEX = -1;

  private final LentSlot lent;
  private final DeviceSlot slot;

  private HostedSlot(LentSlot lent, DeviceSlot slot) {
    this.lent = lent;
    this.slot = slot;
  }

  /** A new one; null without memory or descriptors. */
  public static @Nullable HostedSlot make() {
    int file = SealedMemory.create("outboard-slot", SlotLayout.BYTES);
    if (file < 0) {
      return null;
    }
    try {
      MemorySegment memory =
          SlotMemory.owned(
              SlotMemory.map(file, SlotLayout.BYTES, SlotLayout.BYTES), Arena.ofAuto());
      MemorySegment header = SlotMemory.map(file, SlotLayout.BYTES, SlotLayout.DATA);
      return new HostedSlot(new LentSlot(NO_INDEX, header, file), DeviceSlot.hosted(memory));
    } catch (LinkException e) {
      Linux.close(file);
      return null;
    }
  }

  /** What is given to the process. */
  public LentSlot lent() {
    return lent;
  }

  /** By which its calls come. */
  public DeviceSlot slot() {
    return slot;
  }

  /**
   * The process that had it is gone, or its memory is: no more calls come. One that waits for a
   * reply all the same looks up, and makes its call another way. Repeatable.
   */
  public void takeBack() {
    slot.close();
    lent.lose();
    lent.close();
  }
}
