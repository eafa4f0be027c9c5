// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FileIo.WAIT;
import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static dev.outboard.virtio.FuseWire.SMALL;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import java.lang.foreign.MemorySegment;

/**
 * The operations about names in a directory: looking one up, making, moving and removing them. Any
 * thread that has entered.
 */
final class FuseNames {
  private static final int RESOLVE_CACHED = 0x20;
  private static final int OPEN_HOW_BYTES = 24;
  private static final int RENAME_FLAGS = 7;

  private final FuseTables tables;
  private final FuseNodes nodes;
  private final FuseCaller caller;

  FuseNames(FuseTables known, FuseCaller caller) {
    this.tables = known;
    this.nodes = known.nodes;
    this.caller = caller;
  }

  long lookup(MemorySegment s, Node at, int body, boolean mayWait) {
    long name = FuseWire.name(s, 0, body);
    if (name < 0) {
      return name;
    }
    int flags = Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC;
    long fd;
    if (mayWait) {
      fd = FuseHost.openAt(at.fd, s.address() + BODY, flags, 0);
    } else {
      // What the host's kernel has in its cache is answered at once.
      s.set(JAVA_LONG, SMALL, Architecture.MACHINE.openFlags(flags));
      s.set(JAVA_LONG, SMALL + 8, 0);
      s.set(JAVA_LONG, SMALL + 16, RESOLVE_CACHED);
      fd =
          Linux.syscall(
              SyscallNumbers.OPENAT2,
              at.fd,
              s.address() + BODY,
              s.address() + SMALL,
              OPEN_HOW_BYTES,
              0,
              0);
      if (fd == -Errno.EAGAIN) {
        return WAIT;
      }
    }
    return fd < 0 ? fd : tables.entry(s, (int) fd, PAYLOAD);
  }

  long make(MemorySegment s, Node at, int opcode, int body) {
    int skip =
        switch (opcode) {
          case Fuse.MKNOD -> Fuse.MKNOD_IN_BYTES;
          case Fuse.MKDIR -> Fuse.MKDIR_IN_BYTES;
          default -> 0;
        };
    long length = FuseWire.name(s, skip, body);
    if (length < 0) {
      return length;
    }
    long name = s.address() + BODY + skip;
    long r;
    if (opcode == Fuse.SYMLINK) {
      // The name, and then the target.
      int target = (int) length + 1;
      long targetLength = FuseWire.text(s, target, body);
      if (targetLength < 0) {
        return targetLength;
      }
      caller.become(s, 0);
      r = Linux.syscall(SyscallNumbers.SYMLINKAT, s.address() + BODY + target, at.fd, name);
    } else if (opcode == Fuse.MKDIR) {
      caller.become(s, s.get(JAVA_INT, BODY + Fuse.MKDIR_UMASK));
      int mode = s.get(JAVA_INT, BODY + Fuse.MKDIR_MODE);
      r = Linux.syscall(SyscallNumbers.MKDIRAT, at.fd, name, mode);
    } else {
      caller.become(s, s.get(JAVA_INT, BODY + Fuse.MKNOD_UMASK));
      r =
          Linux.syscall(
              SyscallNumbers.MKNODAT,
              at.fd,
              name,
              s.get(JAVA_INT, BODY + Fuse.MKNOD_MODE),
              Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.MKNOD_RDEV)),
              0,
              0);
    }
    caller.unbecome(s);
    return r < 0 ? r : tables.made(s, at, name);
  }

  static long remove(MemorySegment s, Node at, int opcode, int body) {
    long length = FuseWire.name(s, 0, body);
    return length < 0
        ? length
        : Linux.syscall(
            SyscallNumbers.UNLINKAT,
            at.fd,
            s.address() + BODY,
            opcode == Fuse.RMDIR ? Fcntl.AT_REMOVEDIR : 0);
  }

  long rename(MemorySegment s, Node at, int opcode, int body) {
    boolean second = opcode == Fuse.RENAME2;
    int skip = second ? Fuse.RENAME2_IN_BYTES : Fuse.RENAME_IN_BYTES;
    int flags = second ? s.get(JAVA_INT, BODY + Fuse.RENAME2_FLAGS) : 0;
    if ((flags & ~RENAME_FLAGS) != 0) {
      return -Errno.EINVAL;
    }
    long from = FuseWire.name(s, skip, body);
    if (from < 0) {
      return from;
    }
    int toAt = skip + (int) from + 1;
    long to = FuseWire.name(s, toAt, body);
    if (to < 0) {
      return to;
    }
    Node target = nodes.acquire(s.get(JAVA_LONG, BODY));
    if (target == null) {
      return -Errno.ESTALE;
    }
    try {
      return Linux.syscall(
          SyscallNumbers.RENAMEAT2,
          at.fd,
          s.address() + BODY + skip,
          target.fd,
          s.address() + BODY + toAt,
          flags,
          0);
    } finally {
      nodes.release(target);
    }
  }

  long link(MemorySegment s, Node at, int body) {
    long length = FuseWire.name(s, Fuse.LINK_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    Node old = nodes.acquire(s.get(JAVA_LONG, BODY));
    if (old == null) {
      return -Errno.ESTALE;
    }
    try {
      long name = s.address() + BODY + Fuse.LINK_IN_BYTES;
      long r =
          Linux.syscall(
              SyscallNumbers.LINKAT,
              Fcntl.AT_FDCWD,
              FuseHost.path(s, old.fd),
              at.fd,
              name,
              Fcntl.AT_SYMLINK_FOLLOW,
              0);
      return r < 0 ? r : tables.made(s, at, name);
    } finally {
      nodes.release(old);
    }
  }
}
