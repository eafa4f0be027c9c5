// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Stat;
import dev.outboard.hook.Paths.Look;
import dev.outboard.hook.Paths.Owner;
import dev.outboard.hook.Paths.Work;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Calls that name a path: made on the device if the path is the device's, else continued. Each is
 * brought into the form that works with a directory's descriptor, so that {@code mkdir} crosses as
 * {@code mkdirat}; the stat family crosses as {@code statx}, whose layout is the same on every
 * architecture.
 *
 * <p>{@code /etc/resolv.conf} is the device's text, for the program's name look-ups go out there:
 * the program gets a file of its own (a new open file on one memfd), read-only, and its attributes
 * are that one's, so that a C library which compares them need not read it anew. Owns the memfd.
 */
final class PathCalls implements AutoCloseable {
  static final byte[] RESOLV_CONF = "/etc/resolv.conf".getBytes(StandardCharsets.US_ASCII);

  /** What was opened in several steps did not tell its attributes. */
  private static final long NOT_COUNTED = -1;

  private static final int ALL_SEALS =
      Memory.F_SEAL_SEAL | Memory.F_SEAL_SHRINK | Memory.F_SEAL_GROW | Memory.F_SEAL_WRITE;
  private static final int MODE = 0444;

  private static final int PERMISSIONS = 07777;
  private static final int OPEN_HOW_BYTES = 24;
  private static final int PAGE_BYTES = 4096;
  private static final int UTIMBUF_BYTES = 16;
  private static final int TIMES_BYTES = 32;
  private static final long UTIME_NANOS = 1000;
  private static final long MICROSECONDS = 1_000_000;
  private static final int STATUS_BYTES = 4096;

  private static final Row OPENAT = SyscallTable.row("openat");
  private static final Row OPENAT2 = SyscallTable.row("openat2");
  private static final Row FACCESSAT = SyscallTable.row("faccessat");
  private static final Row READLINKAT = SyscallTable.row("readlinkat");
  private static final Row RENAMEAT2 = SyscallTable.row("renameat2");
  private static final Row MKDIRAT = SyscallTable.row("mkdirat");
  private static final Row UNLINKAT = SyscallTable.row("unlinkat");
  private static final Row LINKAT = SyscallTable.row("linkat");
  private static final Row SYMLINKAT = SyscallTable.row("symlinkat");
  private static final Row MKNODAT = SyscallTable.row("mknodat");
  private static final Row FCHMODAT = SyscallTable.row("fchmodat");
  private static final Row FCHOWNAT = SyscallTable.row("fchownat");
  private static final Row UTIMENSAT = SyscallTable.row("utimensat");

  /** No hash of a path. */
  static final int ANSWERED = -1;

  private final Hook.Services hook;
  private final Paths paths;
  private final Stats stats;
  private final @Nullable Executions executions;
  private final Arena arena = Arena.ofShared();
  private final int memfd;
  private final MemorySegment memfdPath;

  /**
   * @param text the device's resolv.conf; if empty, the host's is used
   * @param executes whether programs may be executed from files of the device
   */
  PathCalls(Hook.Services hook, Paths paths, Stats stats, String text, boolean executes) {
    this.executions = executes ? new Executions(hook, paths, stats) : null;
    this.hook = hook;
    this.paths = paths;
    this.stats = stats;
    this.memfd = text.isEmpty() ? -1 : file(text);
    this.memfdPath = arena.allocateFrom("/proc/self/fd/" + memfd);
  }

  void register(Handlers h) {
    h.register(n -> open(n, -1, 0, n.args()[1], n.args()[2]), "open");
    h.register(n -> open(n, 0, 1, n.args()[2], n.args()[3]), "openat");
    h.register(
        n -> open(n, -1, 0, Fcntl.O_CREAT | Fcntl.O_WRONLY | Fcntl.O_TRUNC, n.args()[1]), "creat");
    h.register(this::open2, "openat2");
    h.register(n -> stat(n, -1, 0, 1, 0), "stat");
    h.register(n -> stat(n, -1, 0, 1, Fcntl.AT_SYMLINK_NOFOLLOW), "lstat");
    h.register(n -> stat(n, 0, 1, 2, n.intArg(3)), "newfstatat");
    h.register(this::statx, "statx");
    h.register(n -> one(n, -1, 0, FACCESSAT, 0, 1, args(0, 0, n.args()[1])), "access");
    h.register(
        n -> one(n, -1, 0, READLINKAT, 0, 1, args(0, 0, n.args()[1], n.args()[2])), "readlink");
    h.register(n -> one(n, -1, 0, MKDIRAT, 0, 1, args(0, 0, mode(n, n.args()[1]))), "mkdir");
    h.register(n -> one(n, 0, 1, MKDIRAT, 0, 1, args(0, 0, mode(n, n.args()[2]))), "mkdirat");
    h.register(n -> one(n, -1, 0, UNLINKAT, 0, 1, args(0, 0, Fcntl.AT_REMOVEDIR)), "rmdir");
    h.register(n -> one(n, -1, 0, UNLINKAT, 0, 1, args(0, 0, 0)), "unlink");
    h.register(n -> one(n, -1, 1, SYMLINKAT, 1, 2, args(n.args()[0], 0, 0)), "symlink");
    h.register(
        n -> one(n, -1, 0, MKNODAT, 0, 1, args(0, 0, mode(n, n.args()[1]), n.args()[2])), "mknod");
    h.register(
        n -> one(n, 0, 1, MKNODAT, 0, 1, args(0, 0, mode(n, n.args()[2]), n.args()[3])), "mknodat");
    h.register(n -> one(n, -1, 0, FCHMODAT, 0, 1, args(0, 0, n.args()[1])), "chmod");
    h.register(
        n -> one(n, -1, 0, FCHOWNAT, 0, 1, args(0, 0, n.args()[1], n.args()[2], 0)), "chown");
    h.register(
        n ->
            one(
                n,
                -1,
                0,
                FCHOWNAT,
                0,
                1,
                args(0, 0, n.args()[1], n.args()[2], Fcntl.AT_SYMLINK_NOFOLLOW)),
        "lchown");
    h.register(n -> times(n, -1, 0, 1), "utime", "utimes");
    h.register(n -> times(n, 0, 1, 2), "futimesat");
    h.register(n -> two(n, -1, 0, -1, 1, RENAMEAT2, args(0, 0, 0, 0, 0)), "rename");
    h.register(n -> two(n, 0, 1, 2, 3, RENAMEAT2, args(0, 0, 0, 0, 0)), "renameat");
    h.register(n -> two(n, 0, 1, 2, 3, RENAMEAT2, args(0, 0, 0, 0, n.args()[4])), "renameat2");
    h.register(n -> two(n, -1, 0, -1, 1, LINKAT, args(0, 0, 0, 0, 0)), "link");
    h.register(n -> two(n, 0, 1, 2, 3, LINKAT, args(0, 0, 0, 0, n.args()[4])), "linkat");
    h.register(this::watch, "inotify_add_watch");
    h.register(this::changeDirectory, "chdir");
    h.register(this::changeDirectoryTo, "fchdir");
    h.register(this::workingDirectory, "getcwd");
  }

  /** The handler of every row of route PATH that has no other: it crosses as it is. */
  void any(Notification n) {
    Row row = n.row();
    int path = pathIndex(row);
    int directory = path > 0 && row.arg(path - 1).kind() == Arg.Kind.FD ? path - 1 : -1;
    one(n, directory, path, row, directory, path, n.args().clone());
  }

  /**
   * A program is about to be executed.
   *
   * @return a hash of its path; or {@link #ANSWERED} if it was, as the program is a file of the
   *     device, or is interpreted by one
   */
  int executed(Notification n) {
    int path = pathIndex(n.row());
    Work w = paths.begin(n);
    Owner owner = paths.look(n, w, w.first, path - 1, path);
    if (owner == Owner.HOST) {
      byte[] head =
          hook.executables()
              .executing(n, path == 0 ? Fcntl.AT_FDCWD : n.intArg(path - 1), w.first.written());
      boolean answered = executions != null && executions.script(n, w, head);
      return answered ? ANSWERED : w.first.hash();
    }
    if (owner == Owner.WRONG) {
      n.answerErrno(w.first.errno);
    } else if (executions != null) {
      executions.execute(n, w);
    } else {
      hook.messages()
          .once(
              "exec",
              "A program that lies on the device cannot be executed on the host (EACCES) with"
                  + " --hook notifier: "
                  + new String(w.first.absolute(), StandardCharsets.UTF_8)
                  + ". Leave that option out, or copy the program to a directory of this machine.");
      n.answerErrno(Errno.EACCES);
    }
    return ANSWERED;
  }

  private static int pathIndex(Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      if (row.arg(i).kind() == Arg.Kind.PATH) {
        return i;
      }
    }
    throw new IllegalStateException("no path in " + row.name());
  }

  private static long[] args(long... given) {
    return Arrays.copyOf(given, 6);
  }

  /**
   * Serves a call with one path.
   *
   * @param directory index of the directory's descriptor among the call's arguments, -1 for none
   * @param path index of the path
   * @param row what it crosses as
   * @param toDirectory where the directory goes in {@code args}, -1 if the row has none
   * @param toPath where the path goes
   */
  private void one(
      Notification n, int directory, int path, Row row, int toDirectory, int toPath, long[] args) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, directory, path)) {
      case HOST -> {
        if (row == READLINKAT && isResolvConf(n, look, directory)) {
          n.answerErrno(Errno.EINVAL); // no link, whatever the host's is
        } else {
          hook.onHost(n);
        }
      }
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> {
        byte[] text = row == READLINKAT ? look.descriptorPath() : null;
        if (text != null) {
          answerText(n, text, args[2], args[3]);
          return;
        }
        if (toDirectory >= 0) {
          args[toDirectory] = look.directory;
        }
        args[toPath] = look.address();
        hook.answer(n, hook.calls().runAt(n, row, args, look.file, null));
      }
    }
  }

  private void answerText(Notification n, byte[] text, long to, long room) {
    long bytes = Math.min(text.length, (int) room);
    if (bytes <= 0) {
      n.answerErrno(Errno.EINVAL);
      return;
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment copy = a.allocateFrom(JAVA_BYTE, text);
      long r = n.memory().write(to, copy, 0, bytes);
      hook.answer(n, r < 0 ? hook.calls().memoryError(n, r) : bytes);
    }
  }

  /** Serves a call with two paths, which must be one kernel's. */
  private void two(
      Notification n, int directory1, int path1, int directory2, int path2, Row row, long[] args) {
    Work w = paths.begin(n);
    Owner from = paths.look(n, w, w.first, directory1, path1);
    Owner to = paths.look(n, w, w.second, directory2, path2);
    if (from == Owner.HOST && to == Owner.HOST) {
      hook.onHost(n);
    } else if (from == Owner.WRONG || to == Owner.WRONG) {
      n.answerErrno(from == Owner.WRONG ? w.first.errno : w.second.errno);
    } else if (from != to) {
      n.answerErrno(Errno.EXDEV);
    } else {
      args[0] = w.first.directory;
      args[1] = w.first.address();
      args[2] = w.second.directory;
      args[3] = w.second.address();
      hook.answer(n, hook.calls().runAt(n, row, args, w.first.file, w.second.file));
    }
  }

  // ---- opening ----

  private void open(Notification n, int directory, int path, long flags, long mode) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, directory, path)) {
      case HOST -> openOnHost(n, look, directory, flags);
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> {
        boolean creates = (flags & (Fcntl.O_CREAT | Fcntl.O_TMPFILE_ALONE)) != 0;
        long[] args =
            args(
                look.directory,
                look.address(),
                flags & ~Fcntl.O_CLOEXEC,
                creates ? mode(n, mode) : 0);
        long changes = hook.calls().changes();
        opened(n, look, hook.calls().runAt(n, OPENAT, args, look.file, null), flags, changes);
      }
    }
  }

  private void open2(Notification n) {
    MemorySegment how = n.statScratch();
    long r = readHow(n, how);
    long flags = how.get(JAVA_LONG_UNALIGNED, 0);
    long mode = how.get(JAVA_LONG_UNALIGNED, 8);
    long resolve = r < 0 ? 0 : how.get(JAVA_LONG_UNALIGNED, 16);
    Work w = paths.begin(n);
    Look look = w.first;
    Owner owner = paths.look(n, w, look, 0, 1, resolve);
    if (owner == Owner.HOST) {
      openOnHost(n, look, 0, r < 0 ? Fcntl.O_PATH : flags); // what is wrong is its kernel's to say
    } else if (r < 0) {
      hook.answer(n, hook.calls().memoryError(n, r));
    } else if (owner == Owner.WRONG) {
      n.answerErrno(look.errno);
    } else {
      // With the program's own mask, which the device does not know; its flags and ways to resolve
      // are the device's to judge.
      MemorySegment own = w.times();
      own.set(JAVA_LONG_UNALIGNED, 0, flags & ~Fcntl.O_CLOEXEC);
      boolean creates = (flags & (Fcntl.O_CREAT | Fcntl.O_TMPFILE_ALONE)) != 0;
      own.set(JAVA_LONG_UNALIGNED, 8, creates ? mode(n, mode) : mode);
      own.set(JAVA_LONG_UNALIGNED, 16, resolve);
      opened(
          n, look, look.start > 0 ? openFromStart(n, look) : openFrom(n, look), flags, NOT_COUNTED);
    }
  }

  private long openFrom(Notification n, Look look) {
    long[] args = args(look.directory, look.address(), Work.timesAddress(), OPEN_HOW_BYTES);
    return hook.calls().runAt(n, OPENAT2, args, look.file, null);
  }

  /** The same for a path that is not to lead out of the directory that it begins with. */
  private long openFromStart(Notification n, Look look) {
    long r = openDirectory(n, look);
    if (r < 0) {
      // Of a mount that is one file there is no directory to stay in.
      return r == -Errno.ENOTDIR ? -Errno.EXDEV : r;
    }
    OpenFile start =
        new OpenFile(
            (int) r, OpenFile.Kind.OTHER, look.absolute(), paths.exported(look), Fcntl.O_PATH);
    hook.files().add(start);
    try {
      long[] args = args(r, look.restAddress(), Work.timesAddress(), OPEN_HOW_BYTES);
      return hook.calls().runAt(n, OPENAT2, args, start, null);
    } finally {
      hook.calls().close((int) r);
    }
  }

  private long openDirectory(Notification n, Look look) {
    long[] args = args(look.directory, look.address(), Fcntl.O_PATH | Fcntl.O_DIRECTORY);
    return hook.calls().runAt(n, OPENAT, args, look.file, null);
  }

  /** Reads the structure, as {@code copy_struct_from_user()}; 0 or {@code -errno}. */
  private static long readHow(Notification n, MemorySegment how) {
    long bytes = n.args()[3];
    if (bytes < OPEN_HOW_BYTES) {
      return bytes < 0 ? -Errno.E2BIG : -Errno.EINVAL;
    }
    if (bytes > PAGE_BYTES) {
      return -Errno.E2BIG;
    }
    long from = n.args()[2];
    // What is not known yet must be absent.
    for (long at = OPEN_HOW_BYTES; at < bytes; at += OPEN_HOW_BYTES) {
      long r = n.memory().read(from + at, how, 0, Math.min(OPEN_HOW_BYTES, bytes - at));
      if (r < 0) {
        return r;
      }
      for (int i = 0; i < Math.min(OPEN_HOW_BYTES, bytes - at); i++) {
        if (how.get(JAVA_BYTE, i) != 0) {
          return -Errno.E2BIG;
        }
      }
    }
    return n.memory().read(from, how, 0, OPEN_HOW_BYTES);
  }

  /**
   * Gives the program a descriptor for what the device has opened, and answers.
   *
   * @param changes {@link DeviceCalls#changes} before that, or {@link #NOT_COUNTED}
   */
  private void opened(Notification n, Look look, long r, long flags, long changes) {
    if (r < 0) {
      hook.answer(n, r);
      return;
    }
    int handle = (int) r;
    boolean exported = paths.exported(look);
    boolean pathOnly = (flags & Fcntl.O_PATH) != 0;
    int type = exported && !pathOnly ? n.newType() : 0;
    if (type == -1) {
      type = stats.type(n, handle);
    }
    if (type < 0) {
      hook.calls().close(handle);
      hook.answer(n, type);
      return;
    }
    boolean regular = type == Stat.S_IFREG;
    OpenFile.Kind kind = regular ? OpenFile.Kind.REGULAR : OpenFile.Kind.OTHER;
    byte[] path = look.absolute();
    OpenFile file = new OpenFile(handle, kind, path, exported, (int) flags);
    if (hook.shim() != null) {
      file.allowSending(n.newBirth());
    }
    hook.files().add(file);
    boolean nonBlocking = (flags & Fcntl.O_NONBLOCK) != 0;
    Placeholder p =
        regular
            ? hook.placeholders().createMemory(handle, path, file.quiet())
            : hook.placeholders().create(handle, nonBlocking, false);
    if (p != null && !regular && !waits(type, path, exported)) {
      p.ready();
    }
    r = hook.install(n, file, p, (flags & Fcntl.O_CLOEXEC) != 0);
    byte[] told = n.attributes();
    if (r >= 0 && regular && exported && told != null && changes != NOT_COUNTED) {
      n.thread().found(new Stats.Told(file, told, changes));
    }
    if (r == -Errno.EMFILE) {
      hook.calls().close(handle);
    }
    n.answer(r);
  }

  /** Whether a file's readiness changes, so that the device must watch it. */
  private static boolean waits(int type, byte[] path, boolean exported) {
    return exported
        ? type == Stat.S_IFIFO || type == Stat.S_IFCHR
        : path.length > 5 && path[1] == 'd'; // /dev/net/tun
  }

  /** Whether a path of the host is that of {@code resolv.conf}, of which the device has another. */
  private boolean isResolvConf(Notification n, Look look, int directory) {
    return memfd >= 0 && !look.isAbsent() && Paths.names(n, look, directory, RESOLV_CONF);
  }

  private void openOnHost(Notification n, Look look, int directory, long flags) {
    int never = Fcntl.O_ACCMODE | Fcntl.O_CREAT | Fcntl.O_TRUNC | Fcntl.O_DIRECTORY | Fcntl.O_PATH;
    if ((flags & never) != 0 || !isResolvConf(n, look, directory)) {
      hook.onHost(n);
      return;
    }
    long own =
        Processes.openat(Fcntl.AT_FDCWD, memfdPath.address(), Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
    if (own < 0) {
      n.answerErrno(Errno.ENFILE);
      return;
    }
    long fd = n.addFd((int) own, (int) flags & Fcntl.O_CLOEXEC);
    Linux.close((int) own);
    n.answer(fd == -Errno.ENOENT ? -Errno.EINTR : fd);
  }

  /** What the program's mask leaves of a mode. */
  private static long mode(Notification n, long mode) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment text = a.allocate(STATUS_BYTES);
      String name = "task/" + n.tid() + "/status";
      long fd =
          Processes.openat(
              n.process().directory(),
              Linux.cString(a, name).address(),
              Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
      if (fd < 0) {
        return mode;
      }
      long got = Linux.read((int) fd, text.address(), STATUS_BYTES - 1);
      Linux.close((int) fd);
      String status = got <= 0 ? "" : text.getString(0, StandardCharsets.ISO_8859_1);
      int at = status.indexOf("Umask:\t");
      int mask = 0;
      for (int i = at + 7; at >= 0 && i < status.length() && status.charAt(i) != '\n'; i++) {
        mask = mask * 8 + status.charAt(i) - '0';
      }
      return mode & ~(mask & PERMISSIONS);
    }
  }

  // ---- attributes ----

  private void stat(Notification n, int directory, int path, int to, int flags) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, directory, path)) {
      case HOST -> {
        if (isResolvConf(n, look, directory)) {
          hook.answer(n, stats.statOwn(n, memfd, flags, n.args()[to]));
        } else {
          hook.onHost(n);
        }
      }
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> {
        if ((flags & Fcntl.AT_SYMLINK_NOFOLLOW) != 0 && look.descriptorPath() != null) {
          hook.onHost(n);
        } else {
          hook.answer(n, stats.stat(n, look, flags, n.args()[to]));
        }
      }
    }
  }

  private void statx(Notification n) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, 0, 1)) {
      case HOST -> {
        if (isResolvConf(n, look, 0)) {
          long r = stats.statxOwn(n, memfd, n.intArg(2), n.intArg(3), n.args()[4]);
          hook.answer(n, r);
        } else {
          hook.onHost(n);
        }
      }
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> hook.answer(n, stats.statx(n, look, n.intArg(2), n.intArg(3), n.args()[4]));
    }
  }

  /** utime, utimes, futimesat: brought into the form of utimensat. */
  private void times(Notification n, int directory, int path, int times) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, directory, path)) {
      case HOST -> hook.onHost(n);
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> {
        long from = n.args()[times];
        long r = from == 0 ? 0 : times(n, w.times(), from);
        if (r < 0) {
          hook.answer(n, hook.calls().memoryError(n, r));
          return;
        }
        long[] args = args(look.directory, look.address(), from == 0 ? 0 : Work.timesAddress(), 0);
        hook.answer(n, hook.calls().runAt(n, UTIMENSAT, args, look.file, null));
      }
    }
  }

  private static long times(Notification n, MemorySegment to, long from) {
    boolean seconds = n.row().name().equals("utime");
    long r = n.memory().read(from, to, 0, seconds ? UTIMBUF_BYTES : TIMES_BYTES);
    if (r < 0) {
      return r;
    }
    if (seconds) {
      to.set(JAVA_LONG_UNALIGNED, 16, to.get(JAVA_LONG_UNALIGNED, 8));
      to.set(JAVA_LONG_UNALIGNED, 8, 0);
      to.set(JAVA_LONG_UNALIGNED, 24, 0);
      return 0;
    }
    for (int at = 8; at < TIMES_BYTES; at += 16) {
      long micros = to.get(JAVA_LONG_UNALIGNED, at);
      if (micros < 0 || micros >= MICROSECONDS) {
        return -Errno.EINVAL;
      }
      to.set(JAVA_LONG_UNALIGNED, at, micros * UTIME_NANOS);
    }
    return 0;
  }

  private void watch(Notification n) {
    Work w = paths.begin(n);
    if (paths.look(n, w, w.first, -1, 1) == Owner.HOST) {
      hook.onHost(n);
    } else {
      n.answerErrno(Errno.ENOSPC);
    }
  }

  // ---- the working directory ----

  private void changeDirectory(Notification n) {
    Work w = paths.begin(n);
    Look look = w.first;
    switch (paths.look(n, w, look, -1, 0)) {
      case HOST -> {
        String path = n.process().deviceDirectory() == null ? null : hostPath(look);
        leave(n, path);
      }
      case WRONG -> n.answerErrno(look.errno);
      case DEVICE -> hook.answer(n, enter(n, look));
    }
  }

  /** The host's path of an absolute path, as seen from {@code /proc/PID}. */
  private static String hostPath(Look look) {
    return "root" + new String(look.path(), StandardCharsets.ISO_8859_1);
  }

  private void changeDirectoryTo(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    OpenFile file = p == null ? null : hook.files().get(p.handle());
    byte[] path = file == null ? null : file.path();
    if (file == null || path == null) {
      leave(n, n.process().deviceDirectory() == null ? null : "fd/" + n.intArg(0));
      return;
    }
    long r = stats.search(n, file);
    if (r == 0) {
      moveTo(n, path);
    }
    hook.answer(n, r);
  }

  /**
   * Continues a change to a directory of the host.
   *
   * @param target what it is, relative to {@code /proc/PID}, if the caller is in a directory of the
   *     device now: it stays there if the host's kernel will refuse
   */
  private void leave(Notification n, @Nullable String target) {
    if (target != null) {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
        MemorySegment path = a.allocateFrom(target, StandardCharsets.ISO_8859_1);
        long r = Processes.fstatat(n.process().directory(), path.address(), stat.address(), 0);
        int mode = stat.get(JAVA_INT_UNALIGNED, Processes.STAT_MODE);
        if (r == 0 && (mode & Stat.S_IFMT) == Stat.S_IFDIR) {
          moveTo(n, null);
        }
      }
    }
    hook.onHost(n);
  }

  /** Makes a directory of the device the caller's; getcwd will say the name that it came by. */
  private long enter(Notification n, Look look) {
    long handle = openDirectory(n, look);
    if (handle < 0) {
      return handle;
    }
    OpenFile file =
        new OpenFile(
            (int) handle, OpenFile.Kind.OTHER, look.absolute(), paths.exported(look), Fcntl.O_PATH);
    hook.files().add(file);
    try {
      long r = stats.search(n, file);
      if (r == 0) {
        moveTo(n, look.absolute());
      }
      return r;
    } finally {
      hook.calls().close((int) handle);
    }
  }

  private void moveTo(Notification n, byte @Nullable [] path) {
    hook.processes().meetChildren(n.process());
    n.process().deviceDirectory(path);
  }

  private void workingDirectory(Notification n) {
    byte[] path = n.process().deviceDirectory();
    if (path == null) {
      hook.onHost(n);
      return;
    }
    if (n.args()[1] >= 0 && n.args()[1] <= path.length) {
      n.answerErrno(Errno.ERANGE);
      return;
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment text = a.allocate(path.length + 1L);
      MemorySegment.copy(path, 0, text, JAVA_BYTE, 0, path.length);
      long r = n.memory().write(n.args()[0], text, 0, path.length + 1L);
      hook.answer(n, r < 0 ? hook.calls().memoryError(n, r) : path.length + 1L);
    }
  }

  private static int file(String text) {
    try (Arena a = Arena.ofConfined()) {
      long fd =
          Linux.memfdCreate(
              a.allocateFrom("resolv.conf").address(),
              Memory.MFD_CLOEXEC | Memory.MFD_ALLOW_SEALING);
      if (fd < 0) {
        throw new IllegalStateException("memfd_create: " + Errno.name((int) -fd));
      }
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      MemorySegment from = a.allocate(Math.max(1, bytes.length));
      MemorySegment.copy(bytes, 0, from, JAVA_BYTE, 0, bytes.length);
      long written = Linux.write((int) fd, from.address(), bytes.length);
      if (written != bytes.length) {
        throw new IllegalStateException("a memfd takes no " + bytes.length + " bytes");
      }
      Linux.fchmod((int) fd, MODE);
      Linux.fcntl((int) fd, Memory.F_ADD_SEALS, ALL_SEALS);
      return (int) fd;
    }
  }

  @Override
  public void close() {
    if (memfd >= 0) {
      Linux.close(memfd);
    }
    arena.close();
  }
}
