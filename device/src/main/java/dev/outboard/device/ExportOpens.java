// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.virtio.Exports;
import dev.outboard.virtio.UntoldOpens;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Sees to it that who opens a file of an export whose server is told of no opens finds it as it is
 * now: the caller's thread does what the server would do for the message. Any thread that has a
 * task.
 */
final class ExportOpens {
  // The scratch memory: an empty string, a struct file_handle, a mount's number, and the rest.
  private static final int EMPTY = 0;
  private static final int HANDLE = 8;
  private static final int HANDLE_BYTES = HANDLE;
  private static final int HANDLE_TYPE = HANDLE + 4;
  private static final int HANDLE_DATA = HANDLE + 8;
  private static final int MOUNT = HANDLE + 40;
  private static final int LOOK = HANDLE + 48;

  /** Bytes of scratch memory that {@link #opened} needs. */
  static final int SCRATCH_BYTES = LOOK + UntoldOpens.SCRATCH_BYTES;

  // Of FUSE: enum fid_type of include/linux/exportfs.h, and fuse_encode_fh() of fs/fuse/inode.c.
  private static final int FILEID_INO64_GEN = 0x81;
  private static final int FILEID_BYTES = 12;

  /**
   * How often the kernel is asked to look at a file that changes all the time. Once is enough to
   * have what was there when it was opened; the others are for its opener to have the time of
   * modification that it had.
   */
  private static final int LOOKS = 8;

  private final Kernel kernel;
  private final Exports exports;

  ExportOpens(Kernel kernel, Exports exports) {
    this.kernel = kernel;
    this.exports = exports;
  }

  /**
   * As {@link Kernel#opened}.
   *
   * @param at where in {@code scratch} are {@link #SCRATCH_BYTES} for this method
   */
  long opened(int fd, MemorySegment scratch, long status, long at) {
    UntoldOpens opens =
        exports.untoldOpens(
            scratch.get(ValueLayout.JAVA_INT, status + Stat.STATX_DEV_MAJOR),
            scratch.get(ValueLayout.JAVA_INT, status + Stat.STATX_DEV_MINOR));
    if (opens == null) {
      return 0;
    }
    scratch.set(ValueLayout.JAVA_BYTE, at + EMPTY, (byte) 0);
    scratch.set(ValueLayout.JAVA_INT, at + HANDLE_BYTES, FILEID_BYTES);
    long r =
        kernel.syscall(
            Canonical.NAME_TO_HANDLE_AT,
            fd,
            scratch.address() + at + EMPTY,
            scratch.address() + at + HANDLE,
            scratch.address() + at + MOUNT,
            Fcntl.AT_EMPTY_PATH | Fcntl.AT_HANDLE_FID,
            0);
    if (r < 0) {
      return r;
    }
    if (scratch.get(ValueLayout.JAVA_INT, at + HANDLE_TYPE) != FILEID_INO64_GEN) {
      return -Errno.ESTALE;
    }
    long number =
        (long) scratch.get(ValueLayout.JAVA_INT, at + HANDLE_DATA) << 32
            | Integer.toUnsignedLong(scratch.get(ValueLayout.JAVA_INT, at + HANDLE_DATA + 4));
    for (int i = 0; i < LOOKS; i++) {
      r = opens.look(number, scratch, at + LOOK, status);
      if (r != UntoldOpens.CHANGED) {
        return r;
      }
      r = ask(fd, scratch, status, at);
      if (r < 0) {
        return r;
      }
    }
    return ask(fd, scratch, status, at);
  }

  /** Has the kernel ask the server what the file is; then, what it believes. */
  private long ask(int fd, MemorySegment scratch, long status, long at) {
    long r = status(fd, Fcntl.AT_STATX_FORCE_SYNC, scratch, status, at);
    // The first gives the answer as it came, though the kernel may have found it too old to heed.
    return r < 0 ? r : status(fd, Fcntl.AT_STATX_DONT_SYNC, scratch, status, at);
  }

  private long status(int fd, int flags, MemorySegment scratch, long status, long at) {
    return kernel.syscall(
        Canonical.STATX,
        fd,
        scratch.address() + at + EMPTY,
        Fcntl.AT_EMPTY_PATH | flags,
        Stat.STATX_BASIC,
        scratch.address() + status,
        0);
  }
}
