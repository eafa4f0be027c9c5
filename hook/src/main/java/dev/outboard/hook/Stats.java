// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.abi.Struct;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * The stat family on the device, by {@code statx(2)}: its structure is the same on every
 * architecture, that of {@code stat(2)} is not, so the hook makes the host's of it.
 *
 * <p>Device numbers of the device's file systems get a bit that no kernel sets, so that a file
 * there is never taken for the same as one of the host's.
 */
final class Stats {
  /** A bit of st_dev's major number, which has 12 in any kernel; device.c sets it, too. */
  private static final int DEVICE_MAJOR = 0x1000;

  // struct statx (include/uapi/linux/stat.h).
  private static final int STATX_BYTES = Struct.STATX.bytes();
  private static final int X_BLOCK_BYTES = 4;
  private static final int X_LINKS = 16;
  private static final int X_UID = 20;
  private static final int X_GID = 24;
  private static final int X_MODE = 28;
  private static final int X_INODE = 32;
  private static final int X_SIZE = 40;
  private static final int X_BLOCKS = 48;
  private static final int X_ACCESSED = 64;
  private static final int X_CHANGED = 96;
  private static final int X_MODIFIED = 112;
  private static final int X_RDEV_MAJOR = 128;
  private static final int X_DEV_MAJOR = 136;

  // struct stat of x86-64 (arch/x86/include/uapi/asm/stat.h).
  private static final int STAT_BYTES = Struct.STAT.bytes();

  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final int PATH_BYTES = 4096;
  private static final Row READLINKAT = SyscallTable.row("readlinkat");
  private static final Row STATX = SyscallTable.row("statx");
  private static final byte[] NOTHING = {};
  private static final byte[] HERE = {'.'};

  /** For so long what was told with an open answers a look at the file that follows it at once. */
  private static final long TOLD_NANOS = 10_000_000;

  /**
   * What the device told of a file that it has just opened.
   *
   * @param statx a {@code struct statx}, not to be changed
   * @param changes {@link DeviceCalls#changes} before that
   * @param at when the answer came
   */
  record Told(OpenFile file, MemorySegment statx, long changes, long at) {
    Told(OpenFile file, byte[] statx, long changes) {
      this(file, MemorySegment.ofArray(statx), changes, System.nanoTime());
    }
  }

  private final DeviceCalls calls;
  private final ThreadLocal<MemorySegment> scratch =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(STATX_BYTES + STAT_BYTES, 8));

  /** An empty path. */
  private final MemorySegment nothing = Arena.ofAuto().allocate(1);

  Stats(DeviceCalls calls) {
    this.calls = calls;
  }

  /** {@code stat} and {@code newfstatat} of a path, into a structure of the program. */
  long stat(Notification n, Paths.Look look, int flags, long to) {
    return put(n, ask(n, look.directory, look.path(), look.file, flags, Stat.STATX_BASIC), to);
  }

  /** {@code fstat} of an open file. */
  long stat(Notification n, OpenFile file, long to) {
    return put(n, ask(n, file.handle(), NOTHING, file, Fcntl.AT_EMPTY_PATH, Stat.STATX_BASIC), to);
  }

  /** {@code statx} of a path. */
  long statx(Notification n, Paths.Look look, int flags, int mask, long to) {
    long r = ask(n, look.directory, look.path(), look.file, flags, mask);
    if (r < 0) {
      return r;
    }
    MemorySegment s = scratch.get();
    s.set(INT, X_DEV_MAJOR, s.get(INT, X_DEV_MAJOR) | DEVICE_MAJOR);
    return calls.memoryError(n, n.memory().write(to, s, 0, STATX_BYTES));
  }

  /** {@code newfstatat} of a file of the hook's own, into a structure of the program. */
  long statOwn(Notification n, int fd, int flags, long to) {
    MemorySegment s = scratch.get();
    long r =
        Processes.fstatat(
            fd, nothing.address(), s.address() + STATX_BYTES, flags | Fcntl.AT_EMPTY_PATH);
    return r < 0 ? r : calls.memoryError(n, n.memory().write(to, s, STATX_BYTES, STAT_BYTES));
  }

  /** {@code statx} of one, likewise. */
  long statxOwn(Notification n, int fd, int flags, int mask, long to) {
    MemorySegment s = scratch.get();
    long r =
        Linux.syscall(
            SyscallNumbers.STATX,
            fd,
            nothing.address(),
            flags | Fcntl.AT_EMPTY_PATH,
            mask,
            s.address(),
            0);
    return r < 0 ? r : calls.memoryError(n, n.memory().write(to, s, 0, STATX_BYTES));
  }

  /** The type bits of an open file's mode, or {@code -errno}. */
  int type(Notification n, int handle) {
    long r = ask(n, handle, NOTHING, null, Fcntl.AT_EMPTY_PATH, Stat.STATX_TYPE);
    return r < 0 ? (int) r : scratch.get().get(SHORT, X_MODE) & Stat.S_IFMT;
  }

  /**
   * The size of an open file in bytes if it is a regular one; {@code -EACCES} if it is none, as of
   * what is to be executed; or another {@code -errno}.
   */
  long regularSize(Notification n, OpenFile file) {
    long size = size(n, file);
    boolean regular = (scratch.get().get(SHORT, X_MODE) & Stat.S_IFMT) == Stat.S_IFREG;
    return size < 0 || regular ? size : -Errno.EACCES;
  }

  /** What a link of the device names; nothing if it is none, or the caller may not know. */
  byte[] link(Notification n, byte[] path) {
    if (calls.begin(n) < 0) {
      return NOTHING;
    }
    try {
      Call c = n.slot().call();
      long r;
      do {
        c.start(READLINKAT.canonical());
        c.toDevice = path.length + 1L;
        c.fromDevice = PATH_BYTES;
        c.args[0] = Fcntl.AT_FDCWD;
        c.args[1] = PATH_BYTES;
        c.args[2] = 0;
        c.args[3] = PATH_BYTES;
        MemorySegment.copy(path, 0, c.data, JAVA_BYTE, PATH_BYTES, path.length);
        c.data.set(JAVA_BYTE, PATH_BYTES + path.length, (byte) 0);
        r = calls.execute(n, n.slot());
      } while (r == DeviceCalls.AGAIN);
      return r <= 0 || r > PATH_BYTES ? NOTHING : c.data.asSlice(0, r).toArray(JAVA_BYTE);
    } finally {
      calls.end(n);
    }
  }

  /** Whether two open files are one and the same. */
  boolean isSame(Notification n, OpenFile one, OpenFile other) {
    long[] inodes = new long[2];
    long[] devices = new long[2];
    for (int i = 0; i < 2; i++) {
      if (size(n, i == 0 ? one : other) < 0) {
        return false;
      }
      inodes[i] = scratch.get().get(LONG, X_INODE);
      // Major and minor number, side by side.
      devices[i] = scratch.get().get(LONG, X_DEV_MAJOR);
    }
    return inodes[0] == inodes[1] && devices[0] == devices[1];
  }

  /** The size of a regular file in bytes, or {@code -errno}. */
  long size(Notification n, OpenFile file) {
    long r = ask(n, file.handle(), NOTHING, file, Fcntl.AT_EMPTY_PATH, Stat.STATX_BASIC);
    return r < 0 ? r : scratch.get().get(LONG, X_SIZE);
  }

  /** Whether the caller may make a directory its own: 0, or {@code -errno}. */
  long search(Notification n, OpenFile file) {
    // To look up a name in it, be it itself, needs the same right as to change to it.
    return ask(n, file.handle(), HERE, file, 0, Stat.STATX_TYPE);
  }

  /** A statx into this thread's scratch memory. */
  private long ask(
      Notification n, int directory, byte[] path, @Nullable OpenFile file, int flags, int mask) {
    if (path.length == 0 && flags == Fcntl.AT_EMPTY_PATH && file != null && told(n, file, mask)) {
      return 0;
    }
    if (file != null && !file.use()) {
      return -Errno.EBADF;
    }
    try {
      long r = calls.begin(n);
      if (r < 0) {
        return r;
      }
      try {
        Call c = n.slot().call();
        do {
          c.start(STATX.canonical());
          c.toDevice = path.length + 1L;
          c.fromDevice = STATX_BYTES;
          c.args[0] = directory;
          c.args[1] = STATX_BYTES;
          c.args[2] = flags;
          c.args[3] = mask;
          MemorySegment.copy(path, 0, c.data, JAVA_BYTE, STATX_BYTES, path.length);
          c.data.set(JAVA_BYTE, STATX_BYTES + path.length, (byte) 0);
          r = calls.execute(n, n.slot());
        } while (r == DeviceCalls.AGAIN);
        if (r >= 0) {
          MemorySegment.copy(c.data, 0, scratch.get(), 0, STATX_BYTES);
        }
        return r;
      } finally {
        calls.end(n);
      }
    } finally {
      if (file != null) {
        calls.unuse(file);
      }
    }
  }

  /**
   * Takes what was told with the open that was the caller's last call that trapped, if no call of
   * the session can have changed it since.
   */
  private boolean told(Notification n, OpenFile file, int mask) {
    if (!(n.thread().found() instanceof Told told)
        || told.file() != file
        || told.changes() != calls.changes()
        || System.nanoTime() - told.at() > TOLD_NANOS) {
      return false;
    }
    MemorySegment from = told.statx();
    if ((mask & ~from.get(INT, 0)) != 0) {
      return false; // other attributes than were told, or none was
    }
    MemorySegment.copy(from, 0, scratch.get(), 0, STATX_BYTES);
    calls.wasKnown();
    return true;
  }

  private long put(Notification n, long r, long to) {
    if (r < 0) {
      return r;
    }
    MemorySegment x = scratch.get();
    MemorySegment s = x.asSlice(STATX_BYTES, STAT_BYTES);
    s.fill((byte) 0);
    s.set(LONG, 0, device(x.get(INT, X_DEV_MAJOR) | DEVICE_MAJOR, x.get(INT, X_DEV_MAJOR + 4)));
    s.set(LONG, 8, x.get(LONG, X_INODE));
    s.set(LONG, 16, x.get(INT, X_LINKS));
    s.set(INT, 24, Short.toUnsignedInt(x.get(SHORT, X_MODE)));
    s.set(INT, 28, x.get(INT, X_UID));
    s.set(INT, 32, x.get(INT, X_GID));
    s.set(LONG, 40, device(x.get(INT, X_RDEV_MAJOR), x.get(INT, X_RDEV_MAJOR + 4)));
    s.set(LONG, 48, x.get(LONG, X_SIZE));
    s.set(LONG, 56, x.get(INT, X_BLOCK_BYTES));
    s.set(LONG, 64, x.get(LONG, X_BLOCKS));
    time(x, X_ACCESSED, s, 72);
    time(x, X_MODIFIED, s, 88);
    time(x, X_CHANGED, s, 104);
    return calls.memoryError(n, n.memory().write(to, s, 0, STAT_BYTES));
  }

  private static void time(MemorySegment x, int from, MemorySegment s, int to) {
    s.set(LONG, to, x.get(LONG, from));
    s.set(LONG, to + 8, x.get(INT, from + 8));
  }

  /** As {@code makedev(3)} has it. */
  private static long device(long major, long minor) {
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffL) << 12 | (major & ~0xfffL) << 32;
  }
}
