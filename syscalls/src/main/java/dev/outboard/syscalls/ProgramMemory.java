// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.MemorySegment;

/**
 * The memory of the program, as the thread whose call is being served sees it.
 *
 * <p>Every method returns a count of bytes or {@code -errno}; {@code -EFAULT} where the program's
 * own kernel would say so. One user thread at a time. The segments are native memory.
 */
public interface ProgramMemory {
  /** Copies exactly {@code bytes} from the program; 0 or {@code -errno}. */
  long read(long address, MemorySegment to, long offset, long bytes);

  /** Copies exactly {@code bytes} to the program; 0 or {@code -errno}. */
  long write(long address, MemorySegment from, long offset, long bytes);

  /**
   * Gathers what a {@code struct iovec[]} of the program names into one piece, after leaving out
   * its first {@code skip} bytes.
   *
   * @return bytes gathered, at most {@code maxBytes}; less only if the vector ends
   */
  long readVector(
      long iovAddress, int iovCount, long skip, MemorySegment to, long offset, long maxBytes);

  /**
   * Scatters {@code bytes} over a {@code struct iovec[]} of the program, after leaving out its
   * first {@code skip} bytes; bytes or -errno.
   */
  long writeVector(
      long iovAddress, int iovCount, long skip, MemorySegment from, long offset, long bytes);

  /**
   * The sum of the lengths of an iovec, or {@code -errno} (EFAULT; EINVAL for a negative length or
   * count, for more than 1024 elements and for a sum that does not fit a {@code ssize_t}).
   */
  long vectorLength(long iovAddress, int iovCount);

  /**
   * Copies a NUL-terminated string, NUL included.
   *
   * @return its length without the NUL, -ENAMETOOLONG if there is none in {@code max} bytes
   */
  long readString(long address, MemorySegment to, long offset, long max);
}
