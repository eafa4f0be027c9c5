// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FileIo.WAIT;
import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.EMPTY;
import static dev.outboard.virtio.FuseWire.MAX_VALUE_BYTES;
import static dev.outboard.virtio.FuseWire.PAGE_BYTES;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static dev.outboard.virtio.FuseWire.SMALL;
import static dev.outboard.virtio.FuseWire.STATX;
import static dev.outboard.virtio.FuseWire.VALID_SECONDS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import dev.outboard.virtio.FuseTables.Handle;
import java.lang.foreign.MemorySegment;

/**
 * The operations about what a file is: attributes, extended ones among them, a link's target, and
 * the file system that it lies in. Any thread that has entered.
 */
final class FuseAttributes {
  private static final int UTIME_NOW = (1 << 30) - 1;
  private static final int UTIME_OMIT = (1 << 30) - 2;

  private final FuseTables tables;
  private final OpenFiles<Handle> handles;

  FuseAttributes(FuseTables known) {
    this.tables = known;
    this.handles = known.handles;
  }

  long attributes(MemorySegment s, Node at) {
    long r = look(s, at, s.get(JAVA_INT, BODY + Fuse.GETATTR_FLAGS));
    return r < 0 ? r : tell(s, at);
  }

  /** Attributes of a node, or of the open file that a request names. */
  private long look(MemorySegment s, Node at, int flags) {
    if ((flags & Fuse.GETATTR_F_HANDLE) == 0) {
      return FuseHost.statx(s, at.fd);
    }
    long number = s.get(JAVA_LONG, BODY + Fuse.GETATTR_HANDLE);
    if (tables.isUntold(number)) {
      return FuseHost.statx(s, at.fd);
    }
    Handle handle = handles.acquire(number);
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      return FuseHost.statx(s, handle.fd);
    } finally {
      handles.release(handle);
    }
  }

  private static long tell(MemorySegment s, Node at) {
    at.tell(s.asSlice(STATX, Stat.STATX_BYTES));
    FuseWire.clear(s, Fuse.ATTR_OUT_BYTES);
    s.set(JAVA_LONG, PAYLOAD + Fuse.ATTR_OUT_VALID, VALID_SECONDS);
    FuseWire.attribute(s, PAYLOAD + Fuse.ATTR_OUT_ATTR);
    return Fuse.ATTR_OUT_BYTES;
  }

  long extendedAttributes(MemorySegment s, Node at) {
    long r = look(s, at, s.get(JAVA_INT, BODY + Fuse.GETATTR_FLAGS));
    if (r < 0) {
      return r;
    }
    at.told(s.asSlice(STATX, Stat.STATX_BYTES));
    FuseWire.clear(s, Fuse.STATX_OUT_BYTES);
    s.set(JAVA_LONG, PAYLOAD + Fuse.ATTR_OUT_VALID, VALID_SECONDS);
    MemorySegment.copy(s, STATX, s, PAYLOAD + Fuse.STATX_OUT_STATX, Stat.STATX_MOUNT);
    return Fuse.STATX_OUT_BYTES;
  }

  long setAttributes(MemorySegment s, Node at, boolean mayWait) {
    int valid = s.get(JAVA_INT, BODY + Fuse.SETATTR_VALID);
    if ((valid & Fuse.FATTR_SIZE) != 0 && !mayWait) {
      return WAIT;
    }
    long r = 0;
    long path = FuseHost.path(s, at.fd);
    if ((valid & Fuse.FATTR_MODE) != 0) {
      int mode = s.get(JAVA_INT, BODY + Fuse.SETATTR_MODE) & 07777;
      r = Linux.syscall(SyscallNumbers.FCHMODAT, Fcntl.AT_FDCWD, path, mode);
    }
    if (r >= 0 && (valid & (Fuse.FATTR_UID | Fuse.FATTR_GID)) != 0) {
      int uid = (valid & Fuse.FATTR_UID) != 0 ? s.get(JAVA_INT, BODY + Fuse.SETATTR_UID) : -1;
      int gid = (valid & Fuse.FATTR_GID) != 0 ? s.get(JAVA_INT, BODY + Fuse.SETATTR_GID) : -1;
      r =
          Linux.syscall(
              SyscallNumbers.FCHOWNAT,
              at.fd,
              s.address() + EMPTY,
              uid,
              gid,
              Fcntl.AT_EMPTY_PATH,
              0);
    }
    if (r >= 0 && (valid & Fuse.FATTR_SIZE) != 0) {
      r = truncate(s, at, (valid & Fuse.FATTR_HANDLE) != 0);
    }
    if (r >= 0 && (valid & (Fuse.FATTR_ATIME | Fuse.FATTR_MTIME)) != 0) {
      moment(s, SMALL, valid, Fuse.FATTR_ATIME, Fuse.FATTR_ATIME_NOW, Fuse.SETATTR_ATIME);
      moment(s, SMALL + 16, valid, Fuse.FATTR_MTIME, Fuse.FATTR_MTIME_NOW, Fuse.SETATTR_MTIME);
      r =
          Linux.syscall(
              SyscallNumbers.UTIMENSAT, Fcntl.AT_FDCWD, path, s.address() + SMALL, 0, 0, 0);
    }
    if (r >= 0) {
      r = FuseHost.statx(s, at.fd);
    }
    return r < 0 ? r : tell(s, at);
  }

  private static void moment(MemorySegment s, int to, int valid, int given, int now, int from) {
    long seconds = 0;
    long nanos = UTIME_OMIT;
    if ((valid & now) != 0) {
      nanos = UTIME_NOW;
    } else if ((valid & given) != 0) {
      seconds = s.get(JAVA_LONG, BODY + from);
      int at = from == Fuse.SETATTR_ATIME ? Fuse.SETATTR_ATIME_NANOS : Fuse.SETATTR_MTIME_NANOS;
      nanos = Integer.toUnsignedLong(s.get(JAVA_INT, BODY + at));
    }
    s.set(JAVA_LONG, to, seconds);
    s.set(JAVA_LONG, to + 8, nanos);
  }

  private long truncate(MemorySegment s, Node at, boolean open) {
    long size = s.get(JAVA_LONG, BODY + Fuse.SETATTR_SIZE);
    if (open) {
      Handle handle = handles.acquire(s.get(JAVA_LONG, BODY + Fuse.SETATTR_HANDLE));
      if (handle == null) {
        return -Errno.EBADF;
      }
      try {
        return Linux.ftruncate(handle.fd, size);
      } finally {
        handles.release(handle);
      }
    }
    long fd = FuseHost.reopen(s, at, Fcntl.O_WRONLY);
    if (fd < 0) {
      return fd;
    }
    long r = Linux.ftruncate((int) fd, size);
    Linux.close((int) fd);
    return r;
  }

  static long readLink(MemorySegment s, Node at) {
    return Linux.syscall(
        SyscallNumbers.READLINKAT,
        at.fd,
        s.address() + EMPTY,
        s.address() + PAYLOAD,
        PAGE_BYTES - 1,
        0,
        0);
  }

  static long fileSystem(MemorySegment s, Node at) {
    // struct statfs of 64-bit machines: words, of which the first is the type.
    long r = Linux.syscall(SyscallNumbers.FSTATFS, at.fd, s.address() + STATX, 0);
    if (r < 0) {
      return r;
    }
    FuseWire.clear(s, Fuse.STATFS_OUT_BYTES);
    // blocks, bfree, bavail, files, ffree
    MemorySegment.copy(s, STATX + 16, s, PAYLOAD, 40);
    s.set(JAVA_INT, PAYLOAD + 40, (int) s.get(JAVA_LONG, STATX + 8));
    s.set(JAVA_INT, PAYLOAD + 44, (int) s.get(JAVA_LONG, STATX + 64));
    s.set(JAVA_INT, PAYLOAD + 48, (int) s.get(JAVA_LONG, STATX + 72));
    return Fuse.STATFS_OUT_BYTES;
  }

  static long setValue(MemorySegment s, Node at, int body) {
    long length = FuseWire.text(s, Fuse.SETXATTR_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    long size = Integer.toUnsignedLong(s.get(JAVA_INT, BODY));
    long value = Fuse.SETXATTR_IN_BYTES + length + 1;
    if (size > body - value) {
      return -Errno.EINVAL;
    }
    return Linux.syscall(
        SyscallNumbers.SETXATTR,
        FuseHost.path(s, at.fd),
        s.address() + BODY + Fuse.SETXATTR_IN_BYTES,
        s.address() + BODY + value,
        size,
        s.get(JAVA_INT, BODY + Fuse.SETXATTR_FLAGS),
        0);
  }

  static long getValue(MemorySegment s, Node at, int body) {
    long length = FuseWire.text(s, Fuse.GETXATTR_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    int size = Math.clamp(Integer.toUnsignedLong(s.get(JAVA_INT, BODY)), 0, MAX_VALUE_BYTES);
    long n =
        Linux.syscall(
            SyscallNumbers.GETXATTR,
            FuseHost.path(s, at.fd),
            s.address() + BODY + Fuse.GETXATTR_IN_BYTES,
            s.address() + PAYLOAD,
            size,
            0,
            0);
    return valueSize(s, size, n);
  }

  static long listValues(MemorySegment s, Node at) {
    int size = Math.clamp(Integer.toUnsignedLong(s.get(JAVA_INT, BODY)), 0, MAX_VALUE_BYTES);
    long n =
        Linux.syscall(
            SyscallNumbers.LISTXATTR, FuseHost.path(s, at.fd), s.address() + PAYLOAD, size);
    return valueSize(s, size, n);
  }

  /** A size of 0 asks how much there is. */
  private static long valueSize(MemorySegment s, int size, long n) {
    if (size != 0 || n < 0) {
      return n;
    }
    s.set(JAVA_LONG, PAYLOAD, n);
    return Fuse.GETXATTR_OUT_BYTES;
  }

  static long removeValue(MemorySegment s, Node at, int body) {
    long length = FuseWire.text(s, 0, body);
    return length < 0
        ? length
        : Linux.syscall(SyscallNumbers.REMOVEXATTR, FuseHost.path(s, at.fd), s.address() + BODY, 0);
  }
}
