// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.virtio.RequestDevice.Request;
import java.lang.foreign.MemorySegment;

/**
 * FUSE's messages as they lie in memory. A request is taken into the <i>scratch memory</i> of the
 * {@link Request} that holds it, where its reply is put together, too:
 *
 * <pre>
 * 0      header of the request, then its body       {@link #BODY}
 * OUT    header of the reply, then its payload      {@link #PAYLOAD}
 * ...    what the host's kernel is asked with       {@link #ENTRIES}, {@link #STATX}, ...
 * </pre>
 *
 * <p>All that is in a request is the guest's word: how much of it there is is asked of the queue,
 * never of the request. Nothing here keeps a state, makes a call or allocates.
 */
final class FuseWire {
  /** The longest read or write, and the length of the kernel's read-ahead. */
  static final int MAX_IO_BYTES = 1 << 20;

  static final int PAGE_BYTES = 4096;

  /** How long the kernel may believe what it was told. */
  static final long VALID_SECONDS = 1;

  /** Result of a request that is not answered. */
  static final long NO_REPLY = Long.MIN_VALUE + 1;

  static final int NAME_MAX = 255;
  static final int MAX_VALUE_BYTES = 64 << 10;

  // The scratch memory of a request.
  static final int BODY = Fuse.IN_HEADER_BYTES;
  static final int IN_BYTES = MAX_VALUE_BYTES + 4096;

  /** Header and body of a read or a write. */
  static final int IO_BYTES = Fuse.IN_HEADER_BYTES + Fuse.IO_IN_BYTES;

  static final int OUT = IN_BYTES;
  static final int PAYLOAD = OUT + Fuse.OUT_HEADER_BYTES;
  static final int PAYLOAD_BYTES = MAX_VALUE_BYTES + 4096;

  /** Entries of a directory, as the host's kernel gives them. */
  static final int ENTRIES = PAYLOAD + PAYLOAD_BYTES;

  static final int ENTRIES_BYTES = 32 << 10;

  /** What the host's kernel says about a file. */
  static final int STATX = ENTRIES + ENTRIES_BYTES;

  /** Words of calls: a path, small structures, an empty string, and the name ".". */
  static final int PATH = STATX + Stat.STATX_BYTES;

  static final int SMALL = PATH + 64;
  static final int EMPTY = SMALL + 128;
  static final int DOT = EMPTY + 8;

  /** What a request needs of scratch memory; zeroed before its first use. */
  static final int SCRATCH_BYTES = DOT + 8;

  private FuseWire() {}

  /**
   * Takes a request into its scratch memory, but for the data of a write: they stay where they are.
   *
   * @return bytes of the request, all told
   * @throws RingViolation if it has no header
   */
  static long take(GuestMemory guest, Request request) throws RingViolation {
    MemorySegment s = request.scratch;
    long bytes = request.readable.bytes();
    if (bytes < Fuse.IN_HEADER_BYTES) {
      throw new RingViolation("request queue: a request of " + bytes + " bytes (virtio 5.11.6)");
    }
    request.readable.copyOut(guest, s, Math.min(bytes, IO_BYTES));
    if (bytes > IO_BYTES && opcode(s) != Fuse.WRITE) {
      request.readable.copyOut(guest, s, Math.min(bytes, IN_BYTES));
    }
    return bytes;
  }

  static int opcode(MemorySegment s) {
    return s.get(JAVA_INT, Fuse.IN_OPCODE);
  }

  /** How many of the bytes of a request are in its scratch memory, behind the header. */
  static int bodyBytes(MemorySegment s, long bytes) {
    return (int) Math.min(bytes, opcode(s) == Fuse.WRITE ? IO_BYTES : IN_BYTES) - BODY;
  }

  /**
   * Answers a request.
   *
   * @param bytes of the request, for messages
   * @param result bytes of the reply behind its header, or {@code -errno}
   * @throws RingViolation if there is no room for the reply
   */
  static void reply(GuestMemory guest, Request request, long bytes, long result)
      throws RingViolation {
    MemorySegment s = request.scratch;
    long room = request.writable.bytes();
    boolean data = result > 0 && opcode(s) == Fuse.READ;
    long length = Fuse.OUT_HEADER_BYTES + Math.max(result, 0);
    if (length > room) {
      throw new RingViolation(
          "request queue: "
              + room
              + " bytes for a reply of "
              + length
              + " to a request of "
              + bytes
              + " (virtio 5.11.6)");
    }
    s.set(JAVA_INT, OUT + Fuse.OUT_LENGTH, (int) length);
    s.set(JAVA_INT, OUT + Fuse.OUT_ERROR, result < 0 ? (int) result : 0);
    s.set(JAVA_LONG, OUT + Fuse.OUT_UNIQUE, s.get(JAVA_LONG, Fuse.IN_UNIQUE));
    // What was read lies there already.
    request.writable.copyIn(
        guest,
        s.asSlice(OUT, data ? Fuse.OUT_HEADER_BYTES : length),
        data ? Fuse.OUT_HEADER_BYTES : length);
    request.written = length;
  }

  static boolean changes(int opcode) {
    return switch (opcode) {
      case Fuse.SETATTR,
          Fuse.SYMLINK,
          Fuse.MKNOD,
          Fuse.MKDIR,
          Fuse.UNLINK,
          Fuse.RMDIR,
          Fuse.RENAME,
          Fuse.RENAME2,
          Fuse.LINK,
          Fuse.WRITE,
          Fuse.SETXATTR,
          Fuse.REMOVEXATTR,
          Fuse.CREATE,
          Fuse.TMPFILE,
          Fuse.FALLOCATE,
          Fuse.COPY_FILE_RANGE ->
          true;
      default -> false;
    };
  }

  /** Whether the kernel may come to know one more file. */
  static boolean adds(int opcode) {
    return switch (opcode) {
      case Fuse.LOOKUP,
          Fuse.SYMLINK,
          Fuse.MKNOD,
          Fuse.MKDIR,
          Fuse.LINK,
          Fuse.CREATE,
          Fuse.TMPFILE ->
          true;
      default -> false;
    };
  }

  /** The least that a request has behind its header, names aside. */
  static int least(int opcode) {
    return switch (opcode) {
      case Fuse.GETATTR -> Fuse.GETATTR_IN_BYTES;
      case Fuse.STATX -> Fuse.STATX_IN_BYTES;
      case Fuse.SETATTR -> Fuse.SETATTR_IN_BYTES;
      case Fuse.MKNOD -> Fuse.MKNOD_IN_BYTES;
      case Fuse.MKDIR -> Fuse.MKDIR_IN_BYTES;
      case Fuse.RENAME -> Fuse.RENAME_IN_BYTES;
      case Fuse.RENAME2 -> Fuse.RENAME2_IN_BYTES;
      case Fuse.LINK -> Fuse.LINK_IN_BYTES;
      case Fuse.OPEN, Fuse.OPENDIR -> Fuse.OPEN_IN_BYTES;
      case Fuse.CREATE, Fuse.TMPFILE -> Fuse.CREATE_IN_BYTES;
      case Fuse.READ, Fuse.WRITE, Fuse.READDIR, Fuse.READDIRPLUS -> Fuse.IO_IN_BYTES;
      case Fuse.RELEASE, Fuse.RELEASEDIR -> Fuse.RELEASE_IN_BYTES;
      case Fuse.FSYNC, Fuse.FSYNCDIR -> Fuse.FSYNC_IN_BYTES;
      case Fuse.SETXATTR -> Fuse.SETXATTR_IN_BYTES;
      case Fuse.GETXATTR, Fuse.LISTXATTR -> Fuse.GETXATTR_IN_BYTES;
      case Fuse.INIT -> Fuse.INIT_IN_BYTES;
      case Fuse.FORGET -> Fuse.FORGET_IN_BYTES;
      case Fuse.BATCH_FORGET -> Fuse.BATCH_FORGET_IN_BYTES;
      case Fuse.FALLOCATE -> Fuse.FALLOCATE_IN_BYTES;
      case Fuse.LSEEK -> Fuse.LSEEK_IN_BYTES;
      case Fuse.COPY_FILE_RANGE -> Fuse.COPY_IN_BYTES;
      default -> 0;
    };
  }

  /** The length of a string in the body of a request, or {@code -errno}. */
  static long text(MemorySegment s, int from, int body) {
    for (int i = from; i < body; i++) {
      if (s.get(JAVA_BYTE, BODY + i) == 0) {
        return (long) i - from;
      }
    }
    return -Errno.EINVAL;
  }

  /** The same for the name of an entry of a directory, which leads nowhere else. */
  static long name(MemorySegment s, int from, int body) {
    long length = text(s, from, body);
    if (length < 0) {
      return length;
    }
    if (length > NAME_MAX) {
      return -Errno.ENAMETOOLONG;
    }
    boolean dots = true;
    for (int i = from; i < from + length; i++) {
      byte b = s.get(JAVA_BYTE, BODY + i);
      if (b == '/') {
        return -Errno.EINVAL;
      }
      dots &= b == '.';
    }
    return dots && length <= 2 ? -Errno.EINVAL : length;
  }

  static void clear(MemorySegment s, int bytes) {
    s.asSlice(PAYLOAD, bytes).fill((byte) 0);
  }

  /** {@code struct fuse_attr} of what was asked for last. */
  static void attribute(MemorySegment s, int to) {
    s.set(JAVA_LONG, to + Fuse.ATTR_INO, s.get(JAVA_LONG, STATX + Stat.STATX_INO));
    s.set(JAVA_LONG, to + Fuse.ATTR_SIZE, s.get(JAVA_LONG, STATX + Stat.STATX_SIZE));
    s.set(JAVA_LONG, to + Fuse.ATTR_BLOCKS, s.get(JAVA_LONG, STATX + Stat.STATX_BLOCKS));
    time(s, Stat.STATX_ATIME, to + Fuse.ATTR_ATIME, to + Fuse.ATTR_ATIME_NANOS);
    time(s, Stat.STATX_MTIME, to + Fuse.ATTR_MTIME, to + Fuse.ATTR_MTIME_NANOS);
    time(s, Stat.STATX_CTIME, to + Fuse.ATTR_CTIME, to + Fuse.ATTR_CTIME_NANOS);
    s.set(
        JAVA_INT,
        to + Fuse.ATTR_MODE,
        Short.toUnsignedInt(s.get(JAVA_SHORT, STATX + Stat.STATX_MODE)));
    s.set(JAVA_INT, to + Fuse.ATTR_LINKS, s.get(JAVA_INT, STATX + Stat.STATX_LINKS));
    s.set(JAVA_INT, to + Fuse.ATTR_UID, s.get(JAVA_INT, STATX + Stat.STATX_UID));
    s.set(JAVA_INT, to + Fuse.ATTR_GID, s.get(JAVA_INT, STATX + Stat.STATX_GID));
    // new_encode_dev() of the kernel
    int major = s.get(JAVA_INT, STATX + Stat.STATX_RDEV_MAJOR);
    int minor = s.get(JAVA_INT, STATX + Stat.STATX_RDEV_MINOR);
    s.set(JAVA_INT, to + Fuse.ATTR_RDEV, (minor & 0xff) | major << 8 | (minor & ~0xff) << 12);
    s.set(JAVA_INT, to + Fuse.ATTR_BLOCK_SIZE, s.get(JAVA_INT, STATX + Stat.STATX_BLOCK_SIZE));
    s.set(JAVA_INT, to + Fuse.ATTR_BLOCK_SIZE + 4, 0);
  }

  private static void time(MemorySegment s, int from, int seconds, int nanos) {
    s.set(JAVA_LONG, seconds, s.get(JAVA_LONG, STATX + from));
    s.set(JAVA_INT, nanos, s.get(JAVA_INT, STATX + from + Stat.STATX_NANOS));
  }
}
