// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.virtio.FuseWire.BODY;
import static dev.outboard.virtio.FuseWire.ENTRIES;
import static dev.outboard.virtio.FuseWire.ENTRIES_BYTES;
import static dev.outboard.virtio.FuseWire.NAME_MAX;
import static dev.outboard.virtio.FuseWire.PAYLOAD;
import static dev.outboard.virtio.FuseWire.PAYLOAD_BYTES;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseTables.Handle;
import dev.outboard.virtio.RequestDevice.Request;
import java.lang.foreign.MemorySegment;

/** The operation that lists a directory. Any thread that has entered. */
final class FuseDirectories {
  private static final int LONGEST_ENTRY = Fuse.DIRENT_NAME + NAME_MAX + 1;

  private final FuseTables tables;
  private final OpenFiles<Handle> handles;

  FuseDirectories(FuseTables known) {
    this.tables = known;
    this.handles = known.handles;
  }

  long list(Request request, boolean plus) {
    MemorySegment s = request.scratch;
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY));
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      if (!handle.directory) {
        return -Errno.ENOTDIR;
      }
      long room =
          Math.min(
              Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.IO_SIZE)),
              Math.min(request.writable.bytes() - Fuse.OUT_HEADER_BYTES, PAYLOAD_BYTES));
      synchronized (handle) {
        return list(s, handle, s.get(JAVA_LONG, BODY + Fuse.IO_OFFSET), (int) room, plus);
      }
    } finally {
      handles.release(handle);
    }
  }

  private long list(MemorySegment s, Handle handle, long offset, int room, boolean plus) {
    if (handle.position != offset) {
      long r = Linux.lseek(handle.fd, offset, 0);
      if (r < 0) {
        return r;
      }
      handle.position = offset;
    }
    int head = plus ? Fuse.ENTRY_BYTES : 0;
    int used = 0;
    while (true) {
      if (used > 0 && room - used < head + LONGEST_ENTRY) {
        return used;
      }
      // An entry of ours is longer than one of the host's, much longer if it says more.
      int ask = Math.clamp((room - used) / (plus ? 4 : 1), 512, ENTRIES_BYTES);
      long n = Linux.syscall(SyscallNumbers.GETDENTS64, handle.fd, s.address() + ENTRIES, ask);
      if (n <= 0) {
        return used > 0 ? used : n;
      }
      for (int at = ENTRIES; at < ENTRIES + n; ) {
        int length = Short.toUnsignedInt(s.get(JAVA_SHORT, at + Stat.DIRENT_LENGTH));
        int nameLength = 0;
        while (s.get(JAVA_BYTE, at + Stat.DIRENT_NAME + nameLength) != 0) {
          nameLength++;
        }
        int record = head + (Fuse.DIRENT_NAME + nameLength + 7 & -8);
        if (used + record > room) {
          // The rest is read again, from where this one starts.
          Linux.lseek(handle.fd, handle.position, 0);
          return used > 0 ? used : -Errno.EINVAL;
        }
        int to = PAYLOAD + used;
        s.asSlice(to, record).fill((byte) 0);
        if (plus) {
          told(s, handle, at, nameLength, to);
        }
        int entry = to + head;
        int type = s.get(JAVA_BYTE, at + Stat.DIRENT_TYPE);
        s.set(JAVA_LONG, entry + Fuse.DIRENT_INO, s.get(JAVA_LONG, at + Stat.DIRENT_INO));
        s.set(JAVA_LONG, entry + Fuse.DIRENT_OFFSET, s.get(JAVA_LONG, at + Stat.DIRENT_OFFSET));
        s.set(JAVA_INT, entry + Fuse.DIRENT_NAME_LENGTH, nameLength);
        s.set(JAVA_INT, entry + Fuse.DIRENT_TYPE, type);
        MemorySegment.copy(s, at + Stat.DIRENT_NAME, s, entry + Fuse.DIRENT_NAME, nameLength);
        handle.position = s.get(JAVA_LONG, at + Stat.DIRENT_OFFSET);
        used += record;
        at += length;
      }
    }
  }

  /** Tells the kernel of a directory's entry, if it is still there; else only what it was. */
  private void told(MemorySegment s, Handle handle, int at, int nameLength, int to) {
    boolean dots =
        s.get(JAVA_BYTE, at + Stat.DIRENT_NAME) == '.'
            && (nameLength == 1
                || (nameLength == 2 && s.get(JAVA_BYTE, at + Stat.DIRENT_NAME + 1) == '.'));
    if (!dots) {
      long fd =
          FuseHost.openAt(
              handle.fd,
              s.address() + at + Stat.DIRENT_NAME,
              Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC,
              0);
      if (fd >= 0 && tables.entry(s, (int) fd, to) >= 0) {
        return;
      }
    }
    s.set(JAVA_LONG, to + Fuse.ENTRY_ATTR + Fuse.ATTR_INO, s.get(JAVA_LONG, at + Stat.DIRENT_INO));
    s.set(
        JAVA_INT,
        to + Fuse.ENTRY_ATTR + Fuse.ATTR_MODE,
        s.get(JAVA_BYTE, at + Stat.DIRENT_TYPE) << 12);
  }
}
