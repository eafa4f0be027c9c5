// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;

/** Moves data between a file and memory that a request names, by the host's kernel alone. */
final class FileIo {
  /** Result: it may have to wait. What was read so far is read again by who waits. */
  static final long WAIT = Long.MIN_VALUE;

  /** Writes of more than this may be held up by the host's writeback: a worker's. */
  static final int INLINE_WRITE_BYTES = 128 << 10;

  // linux/fs.h
  private static final int RWF_NOWAIT = 8;
  private static final int RWF_APPEND = 16;

  private FileIo() {}

  /**
   * Reads {@code size} bytes, or up to the end of the file, into {@code memory} from byte {@code
   * skip} on.
   *
   * @param part for use
   * @param mayWait whether to wait for what the host does not have in memory
   * @return bytes read, {@code -errno} if none was, or {@link #WAIT}
   */
  static long read(
      int fd,
      long offset,
      IoVectors memory,
      long skip,
      long size,
      IoVectors part,
      boolean mayWait) {
    long done = 0;
    while (done < size) {
      part.clear();
      part.addPart(memory, skip + done, size - done);
      long n =
          Linux.syscall(
              SyscallNumbers.PREADV2,
              fd,
              part.address(),
              part.count(),
              offset + done,
              0,
              mayWait ? 0 : RWF_NOWAIT);
      if (!mayWait && (n == -Errno.EAGAIN || n == -Errno.EOPNOTSUPP)) {
        return WAIT;
      }
      if (n < 0 && done == 0) {
        return n;
      }
      // A short result says that the file ends, or that what follows is not in memory: ask again.
      if (n <= 0) {
        break;
      }
      done += n;
    }
    return done;
  }

  /**
   * Writes {@code size} bytes of {@code memory} from byte {@code skip} on.
   *
   * @param append at the end of the file, wherever that is
   * @return bytes written, {@code -errno} if none was
   */
  static long write(
      int fd, long offset, IoVectors memory, long skip, long size, IoVectors part, boolean append) {
    long done = 0;
    while (done < size) {
      part.clear();
      part.addPart(memory, skip + done, size - done);
      long n =
          Linux.syscall(
              SyscallNumbers.PWRITEV2,
              fd,
              part.address(),
              part.count(),
              offset + done,
              0,
              append ? RWF_APPEND : 0);
      if (n < 0 && done == 0) {
        return n;
      }
      if (n <= 0) {
        break;
      }
      done += n;
    }
    return done;
  }
}
