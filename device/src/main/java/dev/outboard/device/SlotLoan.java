// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Memory;
import dev.outboard.channel.Frame;
import dev.outboard.channel.FrameStream;
import dev.outboard.channel.SlotLayout;
import dev.outboard.posix.Linux;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A call slot whose memory is a file of its own, so that a process of the program can have this
 * slot and no other. The file is mapped where the slot has its place in the session's memory:
 * pointers into it are good for the kernel, as they are into any slot.
 */
final class SlotLoan {
  private final FrameStream stream;
  private final MemorySegment place;
  private final int session;
  private final int index;
  private int file;

  private SlotLoan(FrameStream stream, MemorySegment place, int file, int session, int index) {
    this.stream = stream;
    this.place = place;
    this.file = file;
    this.session = session;
    this.index = index;
  }

  /**
   * Maps the file.
   *
   * @param place the slot's place, which nobody uses
   * @param file sealed, {@link SlotLayout#BYTES} long; owned by this object, also if it fails
   * @param session the session's file, for later
   * @param index the slot's place in that
   * @return null without memory
   */
  static @Nullable SlotLoan begin(
      FrameStream stream, MemorySegment place, int file, int session, int index) {
    if (!map(place, file, 0)) {
      // What was there may be gone.
      map(place, session, index * SlotLayout.BYTES);
      Linux.close(file);
      return null;
    }
    return new SlotLoan(stream, place, file, session, index);
  }

  /** Sends the answer to the host, and the file with it. */
  void send(Frame.Attached answer) {
    stream.send(answer, file);
    close();
  }

  /**
   * Makes the place the session's memory again; nobody uses it any more.
   *
   * @return false if that cannot be
   */
  boolean end() {
    close();
    return map(place, session, index * SlotLayout.BYTES);
  }

  private void close() {
    if (file >= 0) {
      Linux.close(file);
      file = -1;
    }
  }

  private static boolean map(MemorySegment place, int file, long offset) {
    return Linux.mmap(
            place.address(),
            place.byteSize(),
            Memory.PROT_READ | Memory.PROT_WRITE,
            Memory.MAP_SHARED | Memory.MAP_FIXED,
            file,
            offset)
        == place.address();
  }
}
