// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Fuse;
import dev.outboard.abi.Sched;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.FuseNodes.Node;
import dev.outboard.virtio.RequestDevice.Request;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Serves one directory of this machine by the FUSE protocol.
 *
 * <p><b>No way out.</b> The kernel names files by numbers that it was given, and by single names in
 * a directory; each number stands for a path descriptor, each name is opened with O_NOFOLLOW. So
 * neither {@code ..} nor a symbolic link leads out of the directory: links are the kernel's to
 * follow, in its own tree.
 *
 * <p><b>No copies.</b> What is read or written goes straight between the file and the kernel's page
 * cache, whose pages the request names.
 *
 * <p><b>Who acts.</b> The kernel has checked permissions ({@code default_permissions}). If this
 * process is the superuser's, what is made gets the caller's user and group, by the thread's own
 * credentials; otherwise everything is done as this process's user.
 *
 * <p><b>What is seen of others.</b> Attributes and names are good for a second, a name that is not
 * there is asked for each time. A file that has changed since the kernel was last told of it is
 * read anew when it is opened or when its new time is seen. Writes go through at once.
 *
 * <p>Any thread that has {@link #enter}ed may serve. Nothing is allocated but for files that are
 * new to the kernel.
 */
final class FuseServer implements AutoCloseable {
  private static final long WAIT = FileIo.WAIT;

  /** The longest read or write, and the length of the kernel's read-ahead. */
  static final int MAX_IO_BYTES = 1 << 20;

  private static final int PAGE_BYTES = 4096;
  private static final long VALID_SECONDS = 1;
  private static final int ROOM_WAITS = 100;
  private static final int ROOM_WAIT_MILLIS = 10;
  private static final int MAX_BACKGROUND = 64;
  private static final int CONGESTION = 48;

  /** Writes of more than this may be held up by the host's writeback: a worker's. */
  private static final int INLINE_WRITE_BYTES = 128 << 10;

  private static final long NO_REPLY = Long.MIN_VALUE + 1;

  private static final int NAME_MAX = 255;
  private static final int LONGEST_ENTRY = Fuse.DIRENT_NAME + NAME_MAX + 1;
  private static final int MAX_VALUE_BYTES = 64 << 10;

  // The scratch memory of a request.
  private static final int BODY = Fuse.IN_HEADER_BYTES;
  private static final int IN_BYTES = MAX_VALUE_BYTES + 4096;
  private static final int IO_BYTES = Fuse.IN_HEADER_BYTES + Fuse.IO_IN_BYTES;
  private static final int OUT = IN_BYTES;
  private static final int PAYLOAD = OUT + Fuse.OUT_HEADER_BYTES;
  private static final int PAYLOAD_BYTES = MAX_VALUE_BYTES + 4096;
  private static final int ENTRIES = PAYLOAD + PAYLOAD_BYTES;
  private static final int ENTRIES_BYTES = 32 << 10;
  private static final int STATX = ENTRIES + ENTRIES_BYTES;
  private static final int PATH = STATX + Stat.STATX_BYTES;
  private static final int SMALL = PATH + 64;
  private static final int EMPTY = SMALL + 128;
  private static final int DOT = EMPTY + 8;

  /** What a request needs of scratch memory; zeroed before its first use. */
  static final int SCRATCH_BYTES = DOT + 8;

  private static final int RESOLVE_CACHED = 0x20;
  private static final int OPEN_HOW_BYTES = 24;
  private static final int UTIME_NOW = (1 << 30) - 1;
  private static final int UTIME_OMIT = (1 << 30) - 2;
  private static final int RENAME_FLAGS = 7;

  // linux/capability.h
  private static final int CAPABILITY_VERSION_3 = 0x20080522;
  private static final int CAP_DAC_OVERRIDE = 1;
  private static final int CAP_DAC_READ_SEARCH = 2;

  private static final int FLAGS =
      Fuse.ASYNC_READ
          | Fuse.BIG_WRITES
          | Fuse.DONT_MASK
          | Fuse.AUTO_INVAL_DATA
          | Fuse.DO_READDIRPLUS
          | Fuse.READDIRPLUS_AUTO
          | Fuse.PARALLEL_DIROPS
          | Fuse.POSIX_ACL
          | Fuse.MAX_PAGES
          | Fuse.CACHE_SYMLINKS;

  /** A file or directory that the kernel has open. */
  private static final class Handle extends OpenFiles.Entry {
    final boolean directory;

    /** Where the descriptor of a directory is, if known; guarded by the handle. */
    long position;

    Handle(int fd, boolean directory) {
      super(fd);
      this.directory = directory;
    }
  }

  private final GuestMemory guest;
  private final boolean readOnly;
  private final boolean superuser;
  private final FuseNodes nodes;
  private final OpenFiles<Handle> handles;
  private final int limit;
  private final int pressureAt;
  private final Runnable pressure;

  /**
   * @param rootFd a path descriptor of the directory; belongs to this object
   * @param limit how many files the kernel may know, and how many it may have open
   * @param pressure called when the kernel should forget files; must return at once
   * @throws ExportException if the directory cannot be looked at
   */
  FuseServer(GuestMemory guest, int rootFd, boolean readOnly, int limit, Runnable pressure)
      throws ExportException {
    this.guest = guest;
    this.readOnly = readOnly;
    this.superuser = Linux.syscall(SyscallNumbers.GETEUID, 0) == 0;
    this.limit = limit;
    this.pressureAt = limit - limit / 4;
    this.pressure = pressure;
    this.handles = new OpenFiles<>(limit, 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment s = arena.allocate(SCRATCH_BYTES, 64);
      long r = statx(s, rootFd);
      if (r < 0) {
        Linux.close(rootFd);
        throw new ExportException("the directory cannot be read: " + Errno.name((int) -r));
      }
      this.nodes = new FuseNodes(limit, rootFd, s.asSlice(STATX, Stat.STATX_BYTES));
    }
  }

  /**
   * Makes the calling thread's umask and credentials its own: they are set for each file that is
   * made.
   */
  static void enter() {
    long r = Linux.syscall(SyscallNumbers.UNSHARE, Sched.CLONE_FS);
    if (r < 0) {
      throw new IllegalStateException("unshare: " + Errno.name((int) -r));
    }
  }

  /** Files that the kernel knows. */
  int nodes() {
    return nodes.count();
  }

  /** Files that the kernel has open. */
  int handles() {
    return handles.count();
  }

  @Override
  public void close() {
    handles.clear();
    nodes.close();
  }

  /**
   * Serves a request that was just taken.
   *
   * @return whether it is done; if not, {@link #serveSlowly} does it
   */
  boolean serve(Request request) throws RingViolation {
    MemorySegment s = request.scratch;
    long bytes = request.readable.bytes();
    if (bytes < Fuse.IN_HEADER_BYTES) {
      throw new RingViolation("request queue: a request of " + bytes + " bytes (virtio 5.11.6)");
    }
    request.readable.copyOut(guest, s, Math.min(bytes, IO_BYTES));
    if (bytes > IO_BYTES && s.get(JAVA_INT, Fuse.IN_OPCODE) != Fuse.WRITE) {
      request.readable.copyOut(guest, s, Math.min(bytes, IN_BYTES));
    }
    return reply(request, bytes, dispatch(request, bytes, false));
  }

  void serveSlowly(Request request) throws RingViolation {
    long bytes = request.readable.bytes();
    if (!reply(request, bytes, dispatch(request, bytes, true))) {
      throw new IllegalStateException("a worker may wait");
    }
  }

  private boolean reply(Request request, long bytes, long result) throws RingViolation {
    if (result == WAIT) {
      return false;
    }
    if (result == NO_REPLY) {
      return true;
    }
    MemorySegment s = request.scratch;
    long room = request.writable.bytes();
    boolean data = result > 0 && s.get(JAVA_INT, Fuse.IN_OPCODE) == Fuse.READ;
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
    return true;
  }

  /**
   * Carries a request out.
   *
   * @return bytes of the reply behind its header, or {@code -errno}, {@link #WAIT}, {@link
   *     #NO_REPLY}
   */
  private long dispatch(Request request, long bytes, boolean mayWait) {
    MemorySegment s = request.scratch;
    int opcode = s.get(JAVA_INT, Fuse.IN_OPCODE);
    int body = (int) Math.min(bytes, opcode == Fuse.WRITE ? IO_BYTES : IN_BYTES) - BODY;
    if (readOnly && changes(opcode)) {
      return -Errno.EROFS;
    }
    if (body < least(opcode)) {
      return -Errno.EINVAL;
    }
    if (adds(opcode) && nodes.count() >= limit) {
      if (!mayWait) {
        return WAIT;
      }
      awaitRoom();
    }
    long node = s.get(JAVA_LONG, Fuse.IN_NODE);
    return switch (opcode) {
      case Fuse.READ -> read(request, mayWait);
      case Fuse.WRITE -> write(request, bytes, mayWait);
      case Fuse.RELEASE, Fuse.RELEASEDIR -> release(s);
      case Fuse.FORGET -> {
        nodes.forget(node, s.get(JAVA_LONG, BODY));
        yield NO_REPLY;
      }
      case Fuse.BATCH_FORGET -> {
        batchForget(s, body);
        yield NO_REPLY;
      }
      case Fuse.INIT -> init(s);
      case Fuse.DESTROY -> {
        handles.clear();
        nodes.forgetAll();
        yield 0;
      }
      case Fuse.FALLOCATE, Fuse.COPY_FILE_RANGE, Fuse.FSYNC, Fuse.FSYNCDIR ->
          mayWait ? withHandle(s, opcode) : WAIT;
      case Fuse.LSEEK -> withHandle(s, opcode);
      case Fuse.READDIR, Fuse.READDIRPLUS -> list(request, opcode == Fuse.READDIRPLUS);
      case Fuse.SYNCFS -> mayWait ? synchronize(s) : WAIT;
      default -> withNode(s, node, opcode, body, mayWait);
    };
  }

  private long withNode(MemorySegment s, long node, int opcode, int body, boolean mayWait) {
    Node at = nodes.acquire(node);
    if (at == null) {
      return -Errno.ESTALE;
    }
    try {
      return onNode(s, at, opcode, body, mayWait);
    } finally {
      nodes.release(at);
    }
  }

  private static boolean changes(int opcode) {
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
  private static boolean adds(int opcode) {
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

  /** Gives the kernel time to forget files, while the thread that takes requests hears of it. */
  private void awaitRoom() {
    for (int i = 0; i < ROOM_WAITS && nodes.count() >= limit; i++) {
      pressure.run();
      try {
        TimeUnit.MILLISECONDS.sleep(ROOM_WAIT_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** The least that a request has behind its header, names aside. */
  private static int least(int opcode) {
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

  private long onNode(MemorySegment s, Node at, int opcode, int body, boolean mayWait) {
    return switch (opcode) {
      case Fuse.LOOKUP -> lookup(s, at, body, mayWait);
      case Fuse.GETATTR -> attributes(s, at);
      case Fuse.STATX -> extendedAttributes(s, at);
      case Fuse.SETATTR -> setAttributes(s, at, mayWait);
      case Fuse.READLINK -> readLink(s, at);
      case Fuse.SYMLINK, Fuse.MKNOD, Fuse.MKDIR -> make(s, at, opcode, body);
      case Fuse.UNLINK, Fuse.RMDIR -> remove(s, at, opcode, body);
      case Fuse.RENAME, Fuse.RENAME2 -> rename(s, at, opcode, body);
      case Fuse.LINK -> link(s, at, body);
      case Fuse.OPEN -> open(s, at);
      case Fuse.OPENDIR -> openDirectory(s, at);
      case Fuse.CREATE -> create(s, at, body);
      case Fuse.TMPFILE -> temporary(s, at);
      case Fuse.STATFS -> fileSystem(s, at);
      case Fuse.SETXATTR -> setValue(s, at, body);
      case Fuse.GETXATTR -> getValue(s, at, body);
      case Fuse.LISTXATTR -> listValues(s, at);
      case Fuse.REMOVEXATTR -> removeValue(s, at, body);
      // FLUSH and ACCESS among them: the kernel does not ask again.
      default -> -Errno.ENOSYS;
    };
  }

  // --- session ---

  private static long init(MemorySegment s) {
    if (s.get(JAVA_INT, BODY) != Fuse.KERNEL_VERSION) {
      return -Errno.EPROTO;
    }
    int minor = s.get(JAVA_INT, BODY + Fuse.INIT_MINOR);
    int offered = s.get(JAVA_INT, BODY + Fuse.INIT_FLAGS);
    clear(s, Fuse.INIT_OUT_BYTES);
    s.set(JAVA_INT, PAYLOAD, Fuse.KERNEL_VERSION);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_MINOR, Math.min(minor, Fuse.KERNEL_MINOR_VERSION));
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_MAX_READAHEAD, MAX_IO_BYTES);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_FLAGS, offered & FLAGS);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_MAX_BACKGROUND, (short) MAX_BACKGROUND);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_CONGESTION, (short) CONGESTION);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_MAX_WRITE, MAX_IO_BYTES);
    s.set(JAVA_INT, PAYLOAD + Fuse.INIT_OUT_TIME_GRANULARITY, 1);
    s.set(JAVA_SHORT, PAYLOAD + Fuse.INIT_OUT_MAX_PAGES, (short) (MAX_IO_BYTES / PAGE_BYTES));
    return Fuse.INIT_OUT_BYTES;
  }

  private void batchForget(MemorySegment s, int body) {
    long count = Integer.toUnsignedLong(s.get(JAVA_INT, BODY));
    long room = ((long) body - Fuse.BATCH_FORGET_IN_BYTES) / Fuse.FORGET_ONE_BYTES;
    for (int i = 0; i < Math.min(count, room); i++) {
      int one = BODY + Fuse.BATCH_FORGET_IN_BYTES + i * Fuse.FORGET_ONE_BYTES;
      nodes.forget(s.get(JAVA_LONG, one), s.get(JAVA_LONG, one + 8));
    }
  }

  // --- names and attributes ---

  private long lookup(MemorySegment s, Node at, int body, boolean mayWait) {
    long name = name(s, 0, body);
    if (name < 0) {
      return name;
    }
    int flags = Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC;
    long fd;
    if (mayWait) {
      fd = openAt(at.fd, s.address() + BODY, flags, 0);
    } else {
      // What the host's kernel has in its cache is answered at once.
      s.set(JAVA_LONG, SMALL, flags);
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
    return fd < 0 ? fd : entry(s, (int) fd, PAYLOAD);
  }

  /** Tells the kernel of a file: its entry goes to {@code to}. The descriptor is taken over. */
  private long entry(MemorySegment s, int fd, int to) {
    long r = statx(s, fd);
    if (r < 0) {
      Linux.close(fd);
      return r;
    }
    Node node = nodes.enter(fd, s.asSlice(STATX, Stat.STATX_BYTES));
    int known = nodes.count();
    if (known >= pressureAt) {
      pressure.run();
    }
    if (node == null) {
      return -Errno.ENFILE;
    }
    s.asSlice(to, Fuse.ENTRY_BYTES).fill((byte) 0);
    s.set(JAVA_LONG, to + Fuse.ENTRY_NODE, node.number());
    s.set(JAVA_LONG, to + Fuse.ENTRY_VALID, VALID_SECONDS);
    s.set(JAVA_LONG, to + Fuse.ENTRY_ATTR_VALID, VALID_SECONDS);
    attribute(s, to + Fuse.ENTRY_ATTR);
    return Fuse.ENTRY_BYTES;
  }

  private static long statx(MemorySegment s, int fd) {
    return Linux.syscall(
        SyscallNumbers.STATX,
        fd,
        s.address() + EMPTY,
        Fcntl.AT_EMPTY_PATH,
        Stat.STATX_WANTED,
        s.address() + STATX,
        0);
  }

  /** {@code struct fuse_attr} of what was asked for last. */
  private static void attribute(MemorySegment s, int to) {
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

  private long attributes(MemorySegment s, Node at) {
    long r = look(s, at, s.get(JAVA_INT, BODY + Fuse.GETATTR_FLAGS));
    return r < 0 ? r : tell(s, at);
  }

  /** Attributes of a node, or of the open file that a request names. */
  private long look(MemorySegment s, Node at, int flags) {
    if ((flags & Fuse.GETATTR_F_HANDLE) == 0) {
      return statx(s, at.fd);
    }
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY + Fuse.GETATTR_HANDLE));
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      return statx(s, handle.fd);
    } finally {
      handles.release(handle);
    }
  }

  private static long tell(MemorySegment s, Node at) {
    at.told(s.asSlice(STATX, Stat.STATX_BYTES));
    clear(s, Fuse.ATTR_OUT_BYTES);
    s.set(JAVA_LONG, PAYLOAD + Fuse.ATTR_OUT_VALID, VALID_SECONDS);
    attribute(s, PAYLOAD + Fuse.ATTR_OUT_ATTR);
    return Fuse.ATTR_OUT_BYTES;
  }

  private long extendedAttributes(MemorySegment s, Node at) {
    long r = look(s, at, s.get(JAVA_INT, BODY + Fuse.GETATTR_FLAGS));
    if (r < 0) {
      return r;
    }
    at.told(s.asSlice(STATX, Stat.STATX_BYTES));
    clear(s, Fuse.STATX_OUT_BYTES);
    s.set(JAVA_LONG, PAYLOAD + Fuse.ATTR_OUT_VALID, VALID_SECONDS);
    MemorySegment.copy(s, STATX, s, PAYLOAD + Fuse.STATX_OUT_STATX, Stat.STATX_MOUNT);
    return Fuse.STATX_OUT_BYTES;
  }

  private long setAttributes(MemorySegment s, Node at, boolean mayWait) {
    int valid = s.get(JAVA_INT, BODY + Fuse.SETATTR_VALID);
    if ((valid & Fuse.FATTR_SIZE) != 0 && !mayWait) {
      return WAIT;
    }
    long r = 0;
    long path = path(s, at.fd);
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
      r = statx(s, at.fd);
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
    long fd = reopen(s, at, Fcntl.O_WRONLY);
    if (fd < 0) {
      return fd;
    }
    long r = Linux.ftruncate((int) fd, size);
    Linux.close((int) fd);
    return r;
  }

  private static long readLink(MemorySegment s, Node at) {
    return Linux.syscall(
        SyscallNumbers.READLINKAT,
        at.fd,
        s.address() + EMPTY,
        s.address() + PAYLOAD,
        PAGE_BYTES - 1,
        0,
        0);
  }

  private static long fileSystem(MemorySegment s, Node at) {
    // struct statfs of 64-bit machines: words, of which the first is the type.
    long r = Linux.syscall(SyscallNumbers.FSTATFS, at.fd, s.address() + STATX, 0);
    if (r < 0) {
      return r;
    }
    clear(s, Fuse.STATFS_OUT_BYTES);
    // blocks, bfree, bavail, files, ffree
    MemorySegment.copy(s, STATX + 16, s, PAYLOAD, 40);
    s.set(JAVA_INT, PAYLOAD + 40, (int) s.get(JAVA_LONG, STATX + 8));
    s.set(JAVA_INT, PAYLOAD + 44, (int) s.get(JAVA_LONG, STATX + 64));
    s.set(JAVA_INT, PAYLOAD + 48, (int) s.get(JAVA_LONG, STATX + 72));
    return Fuse.STATFS_OUT_BYTES;
  }

  // --- making and removing ---

  private long make(MemorySegment s, Node at, int opcode, int body) {
    int skip =
        switch (opcode) {
          case Fuse.MKNOD -> Fuse.MKNOD_IN_BYTES;
          case Fuse.MKDIR -> Fuse.MKDIR_IN_BYTES;
          default -> 0;
        };
    long length = name(s, skip, body);
    if (length < 0) {
      return length;
    }
    long name = s.address() + BODY + skip;
    long r;
    if (opcode == Fuse.SYMLINK) {
      // The name, and then the target.
      int target = (int) length + 1;
      long targetLength = text(s, target, body);
      if (targetLength < 0) {
        return targetLength;
      }
      become(s, 0);
      r = Linux.syscall(SyscallNumbers.SYMLINKAT, s.address() + BODY + target, at.fd, name);
    } else if (opcode == Fuse.MKDIR) {
      become(s, s.get(JAVA_INT, BODY + Fuse.MKDIR_UMASK));
      int mode = s.get(JAVA_INT, BODY + Fuse.MKDIR_MODE);
      r = Linux.syscall(SyscallNumbers.MKDIRAT, at.fd, name, mode);
    } else {
      become(s, s.get(JAVA_INT, BODY + Fuse.MKNOD_UMASK));
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
    unbecome(s);
    return r < 0 ? r : made(s, at, name);
  }

  /** Tells the kernel of what was just made. */
  private long made(MemorySegment s, Node at, long name) {
    long fd = openAt(at.fd, name, Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC, 0);
    return fd < 0 ? fd : entry(s, (int) fd, PAYLOAD);
  }

  private static long remove(MemorySegment s, Node at, int opcode, int body) {
    long length = name(s, 0, body);
    return length < 0
        ? length
        : Linux.syscall(
            SyscallNumbers.UNLINKAT,
            at.fd,
            s.address() + BODY,
            opcode == Fuse.RMDIR ? Fcntl.AT_REMOVEDIR : 0);
  }

  private long rename(MemorySegment s, Node at, int opcode, int body) {
    boolean second = opcode == Fuse.RENAME2;
    int skip = second ? Fuse.RENAME2_IN_BYTES : Fuse.RENAME_IN_BYTES;
    int flags = second ? s.get(JAVA_INT, BODY + Fuse.RENAME2_FLAGS) : 0;
    if ((flags & ~RENAME_FLAGS) != 0) {
      return -Errno.EINVAL;
    }
    long from = name(s, skip, body);
    if (from < 0) {
      return from;
    }
    int toAt = skip + (int) from + 1;
    long to = name(s, toAt, body);
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

  private long link(MemorySegment s, Node at, int body) {
    long length = name(s, Fuse.LINK_IN_BYTES, body);
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
              path(s, old.fd),
              at.fd,
              name,
              Fcntl.AT_SYMLINK_FOLLOW,
              0);
      return r < 0 ? r : made(s, at, name);
    } finally {
      nodes.release(old);
    }
  }

  // --- open files ---

  private long open(MemorySegment s, Node at) {
    int flags = s.get(JAVA_INT, BODY);
    if (at.type != Stat.S_IFREG) {
      return -Errno.EINVAL;
    }
    if (readOnly && (flags & Fcntl.O_ACCMODE) != Fcntl.O_RDONLY) {
      return -Errno.EROFS;
    }
    long fd = reopen(s, at, flags);
    if (fd < 0) {
      return fd;
    }
    long r = statx(s, (int) fd);
    boolean keep = r >= 0 && !at.stale(s.asSlice(STATX, Stat.STATX_BYTES));
    return opened(s, new Handle((int) fd, false), PAYLOAD, keep ? Fuse.FOPEN_KEEP_CACHE : 0);
  }

  private long openDirectory(MemorySegment s, Node at) {
    if (at.type != Stat.S_IFDIR) {
      return -Errno.ENOTDIR;
    }
    s.set(JAVA_SHORT, DOT, (short) '.');
    int flags = Fcntl.O_RDONLY | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC;
    long fd = openAt(at.fd, s.address() + DOT, flags, 0);
    return fd < 0 ? fd : opened(s, new Handle((int) fd, true), PAYLOAD, 0);
  }

  private long synchronize(MemorySegment s) {
    s.set(JAVA_SHORT, DOT, (short) '.');
    int flags = Fcntl.O_RDONLY | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC;
    long fd = openAt(nodes.root().fd, s.address() + DOT, flags, 0);
    if (fd < 0) {
      return fd;
    }
    long r = Linux.syscall(SyscallNumbers.SYNCFS, fd);
    Linux.close((int) fd);
    return r;
  }

  private long opened(MemorySegment s, Handle handle, int to, int flags) {
    if (!handles.add(handle)) {
      return -Errno.ENFILE;
    }
    s.set(JAVA_LONG, to, handle.number());
    s.set(JAVA_LONG, to + Fuse.OPEN_OUT_FLAGS, flags);
    return Fuse.OPEN_OUT_BYTES;
  }

  /**
   * What is kept of the program's flags. The rest is the kernel's business, or said with each
   * write.
   */
  private static int keptFlags(int flags) {
    return (flags & (Fcntl.O_ACCMODE | Fcntl.O_NOATIME)) | Fcntl.O_CLOEXEC;
  }

  /** Opens what a path descriptor stands for; the link of /proc leads to it and nowhere else. */
  private static long reopen(MemorySegment s, Node at, int flags) {
    if (at.type != Stat.S_IFREG) {
      return -Errno.EINVAL;
    }
    return openAt(Fcntl.AT_FDCWD, path(s, at.fd), keptFlags(flags) | Fcntl.O_NONBLOCK, 0);
  }

  private long create(MemorySegment s, Node at, int body) {
    long length = name(s, Fuse.CREATE_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    long name = s.address() + BODY + Fuse.CREATE_IN_BYTES;
    int flags = s.get(JAVA_INT, BODY);
    int mode = s.get(JAVA_INT, BODY + Fuse.CREATE_MODE);
    become(s, s.get(JAVA_INT, BODY + Fuse.CREATE_UMASK));
    long fd = openAt(at.fd, name, keptFlags(flags) | Fcntl.O_CREAT | Fcntl.O_EXCL, mode);
    unbecome(s);
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
    long r = made(s, at, name);
    if (r < 0) {
      return r;
    }
    long number = s.get(JAVA_LONG, PAYLOAD + Fuse.ENTRY_NODE);
    Node node = nodes.acquire(number);
    if (node == null) {
      return -Errno.ESTALE;
    }
    try {
      long fd = reopen(s, node, flags);
      if (fd >= 0 && (flags & Fcntl.O_TRUNC) != 0) {
        long truncated = Linux.ftruncate((int) fd, 0);
        if (truncated < 0) {
          Linux.close((int) fd);
          fd = truncated;
        }
      }
      r = fd < 0 ? fd : opened(s, new Handle((int) fd, false), PAYLOAD + Fuse.ENTRY_BYTES, 0);
      if (r < 0) {
        nodes.forget(number, 1);
        return r;
      }
      return Fuse.ENTRY_BYTES + Fuse.OPEN_OUT_BYTES;
    } finally {
      nodes.release(node);
    }
  }

  private long temporary(MemorySegment s, Node at) {
    s.set(JAVA_SHORT, DOT, (short) '.');
    int flags = s.get(JAVA_INT, BODY);
    become(s, s.get(JAVA_INT, BODY + Fuse.CREATE_UMASK));
    long fd =
        openAt(
            at.fd,
            s.address() + DOT,
            keptFlags(flags) | Fcntl.O_TMPFILE | (flags & Fcntl.O_EXCL),
            s.get(JAVA_INT, BODY + Fuse.CREATE_MODE));
    unbecome(s);
    return fd < 0 ? fd : entryAndHandle(s, (int) fd);
  }

  /** The reply for a file that was made and opened in one. */
  private long entryAndHandle(MemorySegment s, int fd) {
    long pathFd = openAt(Fcntl.AT_FDCWD, path(s, fd), Fcntl.O_PATH | Fcntl.O_CLOEXEC, 0);
    long r = pathFd < 0 ? pathFd : entry(s, (int) pathFd, PAYLOAD);
    if (r < 0) {
      Linux.close(fd);
      return r;
    }
    r = opened(s, new Handle(fd, false), PAYLOAD + Fuse.ENTRY_BYTES, Fuse.FOPEN_KEEP_CACHE);
    if (r < 0) {
      nodes.forget(s.get(JAVA_LONG, PAYLOAD + Fuse.ENTRY_NODE), 1);
      return r;
    }
    return Fuse.ENTRY_BYTES + Fuse.OPEN_OUT_BYTES;
  }

  private long release(MemorySegment s) {
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY));
    if (handle == null) {
      return -Errno.EBADF;
    }
    handles.remove(handle);
    handles.release(handle);
    return 0;
  }

  private @Nullable Handle file(MemorySegment s) {
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY));
    if (handle != null && handle.directory) {
      handles.release(handle);
      return null;
    }
    return handle;
  }

  private long read(Request request, boolean mayWait) {
    MemorySegment s = request.scratch;
    Handle handle = file(s);
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      long offset = s.get(JAVA_LONG, BODY + Fuse.IO_OFFSET);
      long size = Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.IO_SIZE));
      size = Math.min(size, request.writable.bytes() - Fuse.OUT_HEADER_BYTES);
      return FileIo.read(
          handle.fd, offset, request.writable, Fuse.OUT_HEADER_BYTES, size, request.data, mayWait);
    } finally {
      handles.release(handle);
    }
  }

  private long write(Request request, long bytes, boolean mayWait) {
    MemorySegment s = request.scratch;
    long size = Integer.toUnsignedLong(s.get(JAVA_INT, BODY + Fuse.IO_SIZE));
    if (size > bytes - IO_BYTES) {
      return -Errno.EINVAL;
    }
    if (size > INLINE_WRITE_BYTES && !mayWait) {
      return WAIT;
    }
    Handle handle = file(s);
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      long offset = s.get(JAVA_LONG, BODY + Fuse.IO_OFFSET);
      boolean append = (s.get(JAVA_INT, BODY + Fuse.IO_FLAGS) & Fcntl.O_APPEND) != 0;
      long done =
          FileIo.write(handle.fd, offset, request.readable, IO_BYTES, size, request.data, append);
      if (done < 0) {
        return done;
      }
      s.set(JAVA_LONG, PAYLOAD, done);
      return Fuse.WRITE_OUT_BYTES;
    } finally {
      handles.release(handle);
    }
  }

  private long withHandle(MemorySegment s, int opcode) {
    Handle handle = handles.acquire(s.get(JAVA_LONG, BODY));
    if (handle == null) {
      return -Errno.EBADF;
    }
    try {
      return switch (opcode) {
        case Fuse.FSYNC, Fuse.FSYNCDIR -> {
          boolean data = (s.get(JAVA_INT, BODY + Fuse.FSYNC_FLAGS) & Fuse.FSYNC_F_DATA_ONLY) != 0;
          yield Linux.syscall(data ? SyscallNumbers.FDATASYNC : SyscallNumbers.FSYNC, handle.fd);
        }
        case Fuse.FALLOCATE ->
            Linux.syscall(
                SyscallNumbers.FALLOCATE,
                handle.fd,
                s.get(JAVA_INT, BODY + Fuse.FALLOCATE_MODE),
                s.get(JAVA_LONG, BODY + Fuse.FALLOCATE_OFFSET),
                s.get(JAVA_LONG, BODY + Fuse.FALLOCATE_LENGTH),
                0,
                0);
        case Fuse.LSEEK -> {
          long offset =
              Linux.lseek(
                  handle.fd,
                  s.get(JAVA_LONG, BODY + Fuse.LSEEK_OFFSET),
                  s.get(JAVA_INT, BODY + Fuse.LSEEK_WHENCE));
          if (offset < 0) {
            yield offset;
          }
          s.set(JAVA_LONG, PAYLOAD, offset);
          yield Fuse.LSEEK_OUT_BYTES;
        }
        default -> copy(s, handle);
      };
    } finally {
      handles.release(handle);
    }
  }

  private long copy(MemorySegment s, Handle from) {
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
              from.fd,
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

  // --- directories ---

  private long list(Request request, boolean plus) {
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
          openAt(
              handle.fd,
              s.address() + at + Stat.DIRENT_NAME,
              Fcntl.O_PATH | Fcntl.O_NOFOLLOW | Fcntl.O_CLOEXEC,
              0);
      if (fd >= 0 && entry(s, (int) fd, to) >= 0) {
        return;
      }
    }
    s.set(JAVA_LONG, to + Fuse.ENTRY_ATTR + Fuse.ATTR_INO, s.get(JAVA_LONG, at + Stat.DIRENT_INO));
    s.set(
        JAVA_INT,
        to + Fuse.ENTRY_ATTR + Fuse.ATTR_MODE,
        s.get(JAVA_BYTE, at + Stat.DIRENT_TYPE) << 12);
  }

  // --- extended attributes ---

  private static long setValue(MemorySegment s, Node at, int body) {
    long length = text(s, Fuse.SETXATTR_IN_BYTES, body);
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
        path(s, at.fd),
        s.address() + BODY + Fuse.SETXATTR_IN_BYTES,
        s.address() + BODY + value,
        size,
        s.get(JAVA_INT, BODY + Fuse.SETXATTR_FLAGS),
        0);
  }

  private static long getValue(MemorySegment s, Node at, int body) {
    long length = text(s, Fuse.GETXATTR_IN_BYTES, body);
    if (length < 0) {
      return length;
    }
    int size = Math.clamp(Integer.toUnsignedLong(s.get(JAVA_INT, BODY)), 0, MAX_VALUE_BYTES);
    long n =
        Linux.syscall(
            SyscallNumbers.GETXATTR,
            path(s, at.fd),
            s.address() + BODY + Fuse.GETXATTR_IN_BYTES,
            s.address() + PAYLOAD,
            size,
            0,
            0);
    return valueSize(s, size, n);
  }

  private static long listValues(MemorySegment s, Node at) {
    int size = Math.clamp(Integer.toUnsignedLong(s.get(JAVA_INT, BODY)), 0, MAX_VALUE_BYTES);
    long n = Linux.syscall(SyscallNumbers.LISTXATTR, path(s, at.fd), s.address() + PAYLOAD, size);
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

  private static long removeValue(MemorySegment s, Node at, int body) {
    long length = text(s, 0, body);
    return length < 0
        ? length
        : Linux.syscall(SyscallNumbers.REMOVEXATTR, path(s, at.fd), s.address() + BODY, 0);
  }

  // --- small things ---

  private static long openAt(int fd, long path, int flags, int mode) {
    return Linux.syscall(SyscallNumbers.OPENAT, fd, path, flags, mode, 0, 0);
  }

  private static void clear(MemorySegment s, int bytes) {
    s.asSlice(PAYLOAD, bytes).fill((byte) 0);
  }

  /** The length of a string in the body of a request, or {@code -errno}. */
  private static long text(MemorySegment s, int from, int body) {
    for (int i = from; i < body; i++) {
      if (s.get(JAVA_BYTE, BODY + i) == 0) {
        return (long) i - from;
      }
    }
    return -Errno.EINVAL;
  }

  /** The same for the name of an entry of a directory, which leads nowhere else. */
  private static long name(MemorySegment s, int from, int body) {
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

  /** {@code /proc/self/fd/N}: the file of a path descriptor, for calls that take none. */
  private static long path(MemorySegment s, int fd) {
    MemorySegment.copy(FD_PATH, 0, s, JAVA_BYTE, PATH, FD_PATH.length);
    int at = PATH + FD_PATH.length;
    int digits = 1;
    for (int n = fd; n >= 10; n /= 10) {
      digits++;
    }
    int n = fd;
    for (int i = digits - 1; i >= 0; i--) {
      s.set(JAVA_BYTE, at + i, (byte) ('0' + n % 10));
      n /= 10;
    }
    s.set(JAVA_BYTE, at + digits, (byte) 0);
    return s.address() + PATH;
  }

  private static final byte[] FD_PATH =
      "/proc/self/fd/".getBytes(java.nio.charset.StandardCharsets.US_ASCII);

  /**
   * Makes this thread the caller of the request, for one call that makes a file: its owner, its
   * group and its mode are then as the host's kernel would have them. Directories stay open to it,
   * since the caller's permission was checked, with groups that this side does not know.
   */
  private void become(MemorySegment s, int umask) {
    Linux.syscall(SyscallNumbers.UMASK, umask & 0777);
    if (!superuser) {
      return;
    }
    int uid = s.get(JAVA_INT, Fuse.IN_UID);
    int gid = s.get(JAVA_INT, Fuse.IN_GID);
    Linux.syscall(SyscallNumbers.SETFSGID, Integer.toUnsignedLong(gid));
    if (uid != 0) {
      Linux.syscall(SyscallNumbers.SETFSUID, Integer.toUnsignedLong(uid));
      s.set(JAVA_INT, SMALL, CAPABILITY_VERSION_3);
      s.set(JAVA_INT, SMALL + 4, 0);
      Linux.syscall(SyscallNumbers.CAPGET, s.address() + SMALL, s.address() + SMALL + 8, 0);
      int permitted = s.get(JAVA_INT, SMALL + 12);
      int wanted = permitted & (1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH);
      s.set(JAVA_INT, SMALL + 8, s.get(JAVA_INT, SMALL + 8) | wanted);
      Linux.syscall(SyscallNumbers.CAPSET, s.address() + SMALL, s.address() + SMALL + 8, 0);
    }
  }

  private void unbecome(MemorySegment s) {
    if (superuser) {
      if (s.get(JAVA_INT, Fuse.IN_UID) != 0) {
        // The capabilities of the superuser's file system calls come back with it.
        Linux.syscall(SyscallNumbers.SETFSUID, 0);
      }
      Linux.syscall(SyscallNumbers.SETFSGID, 0);
    }
  }
}
