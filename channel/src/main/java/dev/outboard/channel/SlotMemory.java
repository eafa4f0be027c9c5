// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Memory;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Files of call slots, mapped after checks that make it impossible for a touch to fault. */
public final class SlotMemory {
  private SlotMemory() {}

  /**
   * Maps a session's slots; the caller keeps the descriptor.
   *
   * @return memory that is not unmapped by itself: see {@link #owned}
   * @throws LinkException if it is not what {@code welcome} says
   */
  public static MemorySegment map(Welcome welcome, int descriptor) throws LinkException {
    if (welcome.slots() < 1
        || welcome.slots() > SlotLayout.MAX_SLOTS
        || welcome.slotBytes() != SlotLayout.BYTES) {
      throw new LinkException("The device offers call slots of a layout that this side lacks.");
    }
    long bytes = welcome.slots() * SlotLayout.BYTES;
    return map(descriptor, bytes, bytes);
  }

  /**
   * Maps the start of a file of slots.
   *
   * @param bytes how long the file must be at least, and
   * @param mapped how much of it to map
   */
  static MemorySegment map(int descriptor, long bytes, long mapped) throws LinkException {
    long size = Linux.lseek(descriptor, 0, 2);
    long seals = Linux.fcntl(descriptor, Memory.F_GET_SEALS, 0);
    if (size < bytes || seals < 0 || (seals & Memory.F_SEAL_SHRINK) == 0) {
      throw new LinkException("The memory for the call slots is too short or could shrink.");
    }
    long address =
        Linux.mmap(
            0, mapped, Memory.PROT_READ | Memory.PROT_WRITE, Memory.MAP_SHARED, descriptor, 0);
    if (address < 0 && address > -4096) {
      throw new LinkException(
          "The call slots cannot be mapped: " + Errno.name((int) -address) + ".");
    }
    return Linux.at(address, mapped);
  }

  /** Memory that {@link #map} made, to be unmapped at the arena's end. */
  public static MemorySegment owned(MemorySegment memory, Arena arena) {
    return memory.reinterpret(arena, SlotMemory::unmap);
  }

  private static void unmap(MemorySegment memory) {
    Linux.munmap(memory.address(), memory.byteSize());
  }
}
