// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Socket;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Two connected Unix stream sockets, close-on-exec ({@code socketpair(2)}).
 *
 * @param error 0, or {@code -errno}: then there are none
 * @param one a descriptor, the caller's
 * @param other the other end, likewise
 */
public record SocketPair(int error, int one, int other) {
  /** Makes two. Any thread. */
  public static SocketPair open() {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment pair = a.allocate(8, 4);
      int r =
          (int)
              Linux.socketpair(
                  Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0, pair.address());
      return r < 0
          ? new SocketPair(r, -1, -1)
          : new SocketPair(0, pair.get(ValueLayout.JAVA_INT, 0), pair.get(ValueLayout.JAVA_INT, 4));
    }
  }
}
