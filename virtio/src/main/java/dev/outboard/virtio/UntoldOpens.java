// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Stat;
import dev.outboard.virtio.FuseNodes.Node;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Opens of files of a read-only export, of which the kernel tells its server nothing: who has made
 * one asks here, before anything is read, what the server would have said to it.
 *
 * <p>An open is <i>current</i> if the kernel's attributes are those that the file has now, and its
 * pages are no older. If it is not, whoever opens has the kernel ask for attributes ({@code
 * AT_STATX_FORCE_SYNC}), which drops its pages when it finds another size or time of modification,
 * and asks again. Any thread.
 */
public final class UntoldOpens {
  /** Result of {@link #look}: nothing is to be done. */
  public static final long CURRENT = 0;

  /** Result of {@link #look}: the kernel is to ask for attributes, and its opener once more. */
  public static final long CHANGED = 1;

  // The scratch memory.
  private static final int EMPTY = 0;
  private static final int STATX = 8;
  private static final int PATH = STATX + Stat.STATX_BYTES;

  /** What {@link #look} needs of scratch memory. */
  public static final int SCRATCH_BYTES = PATH + FuseHost.PATH_BYTES;

  private final FuseNodes nodes;

  UntoldOpens(FuseNodes nodes) {
    this.nodes = nodes;
  }

  /**
   * Looks at a regular file that the kernel has just opened for reading.
   *
   * @param number what the kernel calls the file
   * @param scratch memory of the caller's: {@link #SCRATCH_BYTES} from {@code at} on, and what the
   *     kernel says of the file, a {@code struct statx}, from {@code believed} on
   * @return {@link #CURRENT}, {@link #CHANGED}, or {@code -errno} with which the open ends
   */
  public long look(long number, MemorySegment scratch, long at, long believed) {
    Node node = nodes.acquire(number);
    if (node == null) {
      return -Errno.ESTALE;
    }
    try {
      if (node.type != Stat.S_IFREG) {
        return -Errno.ESTALE;
      }
      scratch.set(ValueLayout.JAVA_BYTE, at + EMPTY, (byte) 0);
      long r = FuseHost.statx(scratch, node.fd, at + EMPTY, at + STATX);
      return r < 0 ? r : node.opened(scratch, at + STATX, believed, at + EMPTY, at + PATH);
    } finally {
      nodes.release(node);
    }
  }
}
