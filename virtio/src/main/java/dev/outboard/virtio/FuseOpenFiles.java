// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FileIo.WAIT;
import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.DOT;
import static dev.outboard.virtio.FuseWire.IO_BYTES;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static dev.outboard.virtio.FuseWire.SMALL;
import static dev.outboard.virtio.FuseWire.STATX;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import dev.outboard.virtio.FuseTables.Handle;
import dev.outboard.virtio.RequestDevice.Request;
import java.lang.foreign.MemorySegment;

/**
 * The operations on files that the kernel has open, or opens, or makes in order to open them. Any
 * thread that has entered.
 */
final class FuseOpenFiles {
  private final FuseTables tables;
  private final FuseNodes nodes;
  private final OpenFiles<Handle> handles;
  private final FuseCaller caller;
  private final boolean readOnly;

  FuseOpenFiles(FuseTables known, FuseCaller caller, boolean readOnly) {
    this.tables = known;
    this.nodes = known.nodes;
    this.handles = known.handles;
    this.caller = caller;
    this.readOnly = readOnly;
  }

  long open(MemorySegment s, Node at) {
    if (tables.opensUntold()) {
      return -Errno.ENOSYS; // The kernel asks no more, for no file, and tells of no end.
    }
    int flags = s.get(JAVA_INT, BODY);
    if (at.type != Stat.S_IFREG) {
      return -Errno.EINVAL;
    }
    if (readOnly && (flags & Fcntl.O_ACCMODE) != Fcntl.O_RDONLY) {
      return -Errno.EROFS;
    }
    long fd = FuseHost.reopen(s, at, flags);
    if (fd < 0) {
      return fd;
    }
    long r = FuseHost.statx(s, (int) fd);
    boolean keep = r >= 0 && !at.stale(s.asSlice(STATX, Stat.STATX_BYTES));
    return tables.opened(s, new Handle((int) fd, false), PAYLOAD, keep ? Fuse.FOPEN_KEEP_CACHE : 0);
  }

  long openDirectory(MemorySegment s, Node at) {
    if (at.type != Stat.S_IFDIR) {
      return -Errno.ENOTDIR;
    }
    long fd = FuseHost.openDirectory(s, at.fd);
    return fd < 0 ? fd : tables.opened(s, new Handle((int) fd, true), PAYLOAD, 0);
  }

  long create(MemorySegment s, Node at, int body) {
    long length = FuseWire.name(s, Fuse.CREATE_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    long name = s.address() + BODY + Fuse.CREATE_IN_BYTES;
    int flags = s.get(JAVA_INT, BODY);
    int mode = s.get(JAVA_INT, BODY + Fuse.CREATE_MODE);
    caller.become(s, s.get(JAVA_INT, BODY + Fuse.CREATE_UMASK));
    long fd =
        FuseHost.openAt(
            at.fd, name, FuseHost.keptFlags(flags) | Fcntl.O_CREAT | Fcntl.O_EXCL, mode);
    caller.unbecome(s);
    if (fd == -Errno.EEXIST && (flags & Fcntl.O_EXCL) == 0) {
      return createdByAnother(s, at, name, flags);
    }
    if (fd < 0) {
      return fd;
    }
    return entryAndHandle(s, (int) fd);
  }

  /** Somebody made the file after the kernel had looked. */
  private long createdByAnother(MemorySegment s, Node at, long name, int flags) {
    long r = tables.made(s, at, name);
    if (r < 0) {
      return r;
    }
    long number = s.get(JAVA_LONG, PAYLOAD + Fuse.ENTRY_NODE);
    Node node = nodes.acquire(number);
    if (node == null) {
      return -Errno.ESTALE;
    }
    try {
      long fd = FuseHost.reopen(s, node, flags);
      if (fd >= 0 && (flags & Fcntl.O_TRUNC) != 0) {
        long truncated = Linux.ftruncate((int) fd, 0);
        if (truncated < 0) {
          Linux.close((int) fd);
          fd = truncated;
        }
      }
      r =
          fd < 0
              ? fd
              : tables.opened(s, new Handle((int) fd, false), PAYLOAD + Fuse.ENTRY_BYTES, 0);
      if (r < 0) {
        nodes.forget(number, 1);
        return r;
      }
      return Fuse.ENTRY_BYTES + Fuse.OPEN_OUT_BYTES;
    } finally {
      nodes.release(node);
    }
  }

  long temporary(MemorySegment s, Node at) {
    s.set(JAVA_SHORT, DOT, (short) '.');
    int flags = s.get(JAVA_INT, BODY);
    caller.become(s, s.get(JAVA_INT, BODY + Fuse.CREATE_UMASK));
    long fd =
        FuseHost.openAt(
            at.fd,
            s.address() + DOT,
            FuseHost.keptFlags(flags) | Fcntl.O_TMPFILE | (flags & Fcntl.O_EXCL),
            s.get(JAVA_INT, BODY + Fuse.CREATE_MODE));
    caller.unbecome(s);
    return fd < 0 ? fd : entryAndHandle(s, (int) fd);
  }

  /** The reply for a file that was made and opened in one. */
  private long entryAndHandle(MemorySegment s, int fd) {
    long pathFd =
        FuseHost.openAt(Fcntl.AT_FDCWD, FuseHost.path(s, fd), Fcntl.O_PATH | Fcntl.O_CLOEXEC, 0);
    long r = pathFd < 0 ? pathFd : tables.entry(s, (int) pathFd, PAYLOAD);
    if (r < 0) {
      Linux.close(fd);
      return r;
    }
    r = tables.opened(s, new Handle(fd, false), PAYLOAD + Fuse.ENTRY_BYTES, Fuse.FOPEN_KEEP_CACHE);
    if (r < 0) {
      nodes.forget(s.get(JAVA_LONG, PAYLOAD + Fuse.ENTRY_NODE), 1);
      return r;
    }
    return Fuse.ENTRY_BYTES + Fuse.OPEN_OUT_BYTES;
  }

  long release(MemorySegment s) {
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY));
    if (handle == null) {
      return -Errno.EBADF;
    }
    handles.remove(handle);
    handles.release(handle);
    return 0;
  }

  long read(Request request, boolean mayWait) {
    MemorySegment s = request.scratch;
    OpenFiles.Entry open = tables.file(s);
    if (open == null) {
      return -Errno.EBADF;
    }
    try {
      long fd = FuseTables.descriptor(open, s);
      if (fd < 0) {
        return fd;
      }
      long offset = s.get(JAVA_LONG, BODY + Fuse.IO_OFFSET);
      long size = Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.IO_SIZE));
      size = Math.min(size, request.writable.bytes() - Fuse.OUT_HEADER_BYTES);
      return FileIo.read(
          (int) fd, offset, request.writable, Fuse.OUT_HEADER_BYTES, size, request.data, mayWait);
    } finally {
      tables.leave(open);
    }
  }

  long write(Request request, long bytes, boolean mayWait) {
    MemorySegment s = request.scratch;
    long size = Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.IO_SIZE));
    if (size > bytes - IO_BYTES) {
      return -Errno.EINVAL;
    }
    if (size > FileIo.INLINE_WRITE_BYTES && !mayWait) {
      return WAIT;
    }
    OpenFiles.Entry open = tables.file(s);
    if (open == null) {
      return -Errno.EBADF;
    }
    try {
      long offset = s.get(JAVA_LONG, BODY + Fuse.IO_OFFSET);
      boolean append = (s.get(JAVA_INT, BODY + Fuse.IO_FLAGS) & Fcntl.O_APPEND) != 0;
      long done =
          FileIo.write(open.fd, offset, request.readable, IO_BYTES, size, request.data, append);
      if (done < 0) {
        return done;
      }
      s.set(JAVA_LONG, PAYLOAD, done);
      return Fuse.WRITE_OUT_BYTES;
    } finally {
      tables.leave(open);
    }
  }

  long withHandle(MemorySegment s, int opcode) {
    OpenFiles.Entry open = tables.open(s);
    if (open == null) {
      return -Errno.EBADF;
    }
    try {
      long fd = FuseTables.descriptor(open, s);
      if (fd < 0) {
        return fd;
      }
      return switch (opcode) {
        case Fuse.FSYNC, Fuse.FSYNCDIR -> {
          boolean data = (s.get(JAVA_INT, BODY + Fuse.FSYNC_FLAGS) & Fuse.FSYNC_F_DATA_ONLY) != 0;
          yield Linux.syscall(data ? SyscallNumbers.FDATASYNC : SyscallNumbers.FSYNC, fd);
        }
        case Fuse.FALLOCATE ->
            Linux.syscall(
                SyscallNumbers.FALLOCATE,
                fd,
                s.get(JAVA_INT, BODY + Fuse.FALLOCATE_MODE),
                s.get(JAVA_LONG, BODY + Fuse.FALLOCATE_OFFSET),
                s.get(JAVA_LONG, BODY + Fuse.FALLOCATE_LENGTH),
                0,
                0);
        case Fuse.LSEEK -> {
          long offset =
              Linux.lseek(
                  (int) fd,
                  s.get(JAVA_LONG, BODY + Fuse.LSEEK_OFFSET),
                  s.get(JAVA_INT, BODY + Fuse.LSEEK_WHENCE));
          if (offset < 0) {
            yield offset;
          }
          s.set(JAVA_LONG, PAYLOAD, offset);
          yield Fuse.LSEEK_OUT_BYTES;
        }
        default -> copy(s, fd);
      };
    } finally {
      tables.leave(open);
    }
  }

  private long copy(MemorySegment s, long from) {
    Handle to = handles.acquire(s.get(JAVA_LONG, BODY + Fuse.COPY_OUT_HANDLE));
    if (to == null) {
      return -Errno.EBADF;
    }
    try {
      s.set(JAVA_LONG, SMALL, s.get(JAVA_LONG, BODY + Fuse.COPY_IN_OFFSET));
      s.set(JAVA_LONG, SMALL + 8, s.get(JAVA_LONG, BODY + Fuse.COPY_OUT_OFFSET));
      long n =
          Linux.syscall(
              SyscallNumbers.COPY_FILE_RANGE,
              from,
              s.address() + SMALL,
              to.fd,
              s.address() + SMALL + 8,
              // The reply has 32 bits for it.
              Math.min(s.get(JAVA_LONG, BODY + Fuse.COPY_LENGTH), 1L << 30),
              0);
      if (n < 0) {
        return n;
      }
      s.set(JAVA_LONG, PAYLOAD, n);
      return Fuse.WRITE_OUT_BYTES;
    } finally {
      handles.release(to);
    }
  }

  /** Has the host write back all of the file system that the export lies in. */
  long synchronize(MemorySegment s) {
    long fd = FuseHost.openDirectory(s, nodes.root().fd);
    if (fd < 0) {
      return fd;
    }
    long r = Linux.syscall(SyscallNumbers.SYNCFS, fd);
    Linux.close((int) fd);
    return r;
  }
}
