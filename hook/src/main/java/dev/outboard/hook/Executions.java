// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.hook.Paths.Look;
import dev.outboard.hook.Paths.Owner;
import dev.outboard.hook.Paths.Work;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Executes programs that are files of the device. ADR 0066 argues it.
 *
 * <p>The host's kernel executes a copy: a sealed file in memory, which the caller gets as a
 * descriptor. The caller is held ({@link HeldThread}) and calls {@code execveat} on that, with the
 * arguments of its own call. Of a script the copy is its first line, and the kernel starts the
 * interpreter; one that lies on the device is a copy, too, and named by its descriptor. When the
 * new program is there, and has not begun, the names of descriptors among its arguments are
 * replaced by paths, it gets its name, and the script's descriptor is closed.
 *
 * <p>Notifier threads call it, each with the notification that it serves.
 */
final class Executions {
  /** Copies lie in memory; no program comes near this. */
  static final long MOST_BYTES = 1L << 30;

  /** As {@code exec_binprm()}: so many interpreters, one behind the other. */
  private static final int MOST_INTERPRETERS = 5;

  /** In the place of a depth: what a program names, whose own interpreter is not asked for. */
  private static final int LINKER = Integer.MAX_VALUE;

  /** As {@code MAXSYMLINKS}. */
  private static final int MOST_LINKS = 40;

  private static final int PATH_BYTES = 4096;
  private static final int NAME_BYTES = 200;
  private static final int THREAD_NAME_BYTES = 15;
  private static final int MODE = 0555;
  private static final int ALL_SEALS =
      Memory.F_SEAL_SEAL | Memory.F_SEAL_SHRINK | Memory.F_SEAL_GROW | Memory.F_SEAL_WRITE;

  // ELF of 64 bits.
  private static final int ELF_BYTES = 64;
  private static final int ELF_MACHINE = 18;
  private static final int EM_386 = 3;
  private static final int EM_X86_64 = 62;
  private static final int ELF_HEADERS = 32;
  private static final int ELF_HEADERS_SIZE = 54;
  private static final int HEADER_BYTES = 56;
  private static final int HEADER_OFFSET = 8;
  private static final int HEADER_FILE_SIZE = 32;
  private static final int PT_INTERP = 3;

  private static final byte[] SYSCALL = {0x0f, 0x05};
  private static final int PR_SET_NAME = 15;
  private static final int PR_SET_MM = 35;
  private static final int PR_SET_MM_MAP = 14;

  /** Fields of {@code /proc/PID/stat}, counted from 1: see proc(5). */
  private static final int[] MAP_FIELDS = {26, 27, 45, 46, 47, 47, 28};

  private static final int STAT_ENVIRONMENT = 50;
  private static final int MAP_ARGUMENTS = 7 * Long.BYTES;
  private static final int MAP_ENVIRONMENT = 9 * Long.BYTES;
  private static final int MAP_FILE = 13 * Long.BYTES - Integer.BYTES;

  /** A thread that another part of the hook traces is let go within milliseconds. */
  private static final int SEIZURES = 200;

  private static final long SEIZURE_NANOS = 500_000;

  private static final Row OPENAT = SyscallTable.row("openat");
  private static final Row PREAD = SyscallTable.row("pread64");
  private static final Row FACCESSAT2 = SyscallTable.row("faccessat2");

  private final Hook.Services hook;
  private final Paths paths;
  private final Stats stats;

  Executions(Hook.Services hook, Paths paths, Stats stats) {
    this.hook = hook;
    this.paths = paths;
    this.stats = stats;
  }

  /** A copy of what is executed, or of what interprets it. */
  private static final class Copy {
    private final int fd;
    private final byte[] path;

    /** It is handed to the kernel as a whole, and not only how it begins. */
    private boolean program;

    /** What interprets it, if that is the device's too. */
    private @Nullable Copy interpreter;

    /** Of a script with such an interpreter. */
    private @Nullable ScriptLine line;

    /** Its number in the program, once it has one. */
    private int number = -1;

    Copy(int fd, byte[] path) {
      this.fd = fd;
      this.path = path;
    }
  }

  /** An execution that came to its end before the caller was held. */
  private static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    private final int errno;

    Refused(int errno) {
      super(null, null, false, false);
      this.errno = errno;
    }
  }

  /** What one execution needs. */
  private static final class Plan {
    final List<Copy> copies = new ArrayList<>();
    final int directory;
    final byte[] name;
    final int program;
    byte[] thread = {};

    /** Where an empty path is in the caller's memory. */
    long emptyPath;

    /** The script is the host's: whether the caller may execute it, it must ask itself. */
    boolean asks;

    long flags;

    Plan(int directory, byte[] name, int program) {
      this.directory = directory;
      this.name = name;
      this.program = program;
    }
  }

  /** Serves an {@code execve} or {@code execveat} whose path is the device's: {@code w.first}. */
  void execute(Notification n, Work w) {
    Look look = w.first;
    boolean at = n.row().argCount() > 3;
    int flags = at ? n.intArg(4) : 0;
    int known = Fcntl.AT_SYMLINK_NOFOLLOW | Fcntl.AT_EMPTY_PATH | Fcntl.AT_EXECVE_CHECK;
    if ((flags & ~known) != 0) {
      n.answerErrno(Errno.EINVAL);
      return;
    }
    if (look.isAbsent()) {
      n.answerErrno(Errno.EFAULT);
      return;
    }
    if (look.isEmpty() && (flags & Fcntl.AT_EMPTY_PATH) == 0) {
      n.answerErrno(Errno.ENOENT);
      return;
    }
    Plan plan = plan(n, look, at);
    plan.flags = flags;
    n.willBlock();
    try {
      OpenFile own = look.isEmpty() ? look.file : null;
      boolean follow = (flags & Fcntl.AT_SYMLINK_NOFOLLOW) == 0;
      byte[] path = look.absolute();
      OpenFile file =
          own == null ? open(n, look, follow) : own.readable() ? own : reopen(n, w, own);
      Copy first;
      try {
        first = copy(n, w, plan, file, 0);
      } finally {
        if (file != own) {
          hook.calls().close(file.handle());
        }
      }
      plan.thread = Paths.lastName(look.isEmpty() ? path : plan.name);
      if ((flags & Fcntl.AT_EXECVE_CHECK) != 0) {
        n.answer(0);
      } else {
        begin(n, w, plan, first);
      }
    } catch (Refused r) {
      n.answerErrno(r.errno);
    } finally {
      plan.copies.forEach(c -> Linux.close(c.fd));
    }
  }

  /**
   * Serves one whose path is the host's if that is a script whose interpreter is the device's.
   *
   * @param head how the file begins
   * @return false if it is not: then nothing is done
   */
  boolean script(Notification n, Work w, byte[] head) {
    ScriptLine line = ScriptLine.of(head);
    boolean at = n.row().argCount() > 3;
    int flags = at ? n.intArg(4) : 0;
    // A check alone is of the script, which is the host's.
    boolean executes = (flags & ~(Fcntl.AT_SYMLINK_NOFOLLOW | Fcntl.AT_EMPTY_PATH)) == 0;
    if (line == null || !executes || isHosts(n, w, line.interpreter())) {
      return false;
    }
    Plan plan = plan(n, w.first, at);
    plan.flags = flags;
    plan.asks = true;
    plan.thread = Paths.lastName(plan.name);
    n.willBlock();
    try {
      begin(n, w, plan, scripted(n, w, plan, line, plan.name, 0));
    } catch (Refused r) {
      n.answerErrno(r.errno);
    } finally {
      plan.copies.forEach(c -> Linux.close(c.fd));
    }
    return true;
  }

  /** As {@code alloc_bprm()} names what is executed. */
  private static Plan plan(Notification n, Look look, boolean at) {
    int directory = at ? n.intArg(0) : Fcntl.AT_FDCWD;
    byte[] written = look.written();
    byte[] name = written;
    if (look.isEmpty() || (directory != Fcntl.AT_FDCWD && written[0] != '/')) {
      String rest = look.isEmpty() ? "" : "/" + new String(written, StandardCharsets.ISO_8859_1);
      name = ("/dev/fd/" + directory + rest).getBytes(StandardCharsets.ISO_8859_1);
    } else {
      directory = Fcntl.AT_FDCWD;
    }
    Plan plan = new Plan(directory, name, look.hash());
    plan.emptyPath = n.args()[at ? 1 : 0] + written.length;
    return plan;
  }

  // --- what the device has

  /**
   * Opens a program for reading; the handle is the caller's. What the file's path says is where
   * links have led.
   */
  private OpenFile open(Notification n, Look look, boolean follow) throws Refused {
    if (!paths.exported(look)) {
      throw new Refused(Errno.EACCES); // of the network's files none is one
    }
    byte[] path = look.absolute();
    // Mostly it is no link, and where one leads is not asked.
    long r = open(n, look, Fcntl.O_NOFOLLOW);
    if (r == -Errno.ELOOP && follow) {
      path = target(n, look);
      r = open(n, look, 0);
    }
    if (r == -Errno.EACCES && mayExecute(n, look, follow)) {
      hook.messages()
          .once(
              "exec unreadable",
              "A program of the device that may be executed and not read cannot be executed"
                  + " (EACCES): "
                  + text(path));
    }
    if (r < 0) {
      boolean noRegular = r == -Errno.ENXIO || r == -Errno.ENODEV;
      throw new Refused(noRegular ? Errno.EACCES : (int) -r);
    }
    OpenFile file = new OpenFile((int) r, OpenFile.Kind.REGULAR, path, true, Fcntl.O_RDONLY);
    hook.files().add(file);
    return file;
  }

  private long open(Notification n, Look look, int more) {
    long flags = Fcntl.O_RDONLY | Fcntl.O_NONBLOCK | more;
    long[] args = {look.directory, look.address(), flags, 0, 0, 0};
    return hook.calls().runAt(n, OPENAT, args, look.file, null);
  }

  /** Where a link leads, over other links, as far as that shows; its own path if it does not. */
  private byte[] target(Notification n, Look look) {
    byte[] at = look.absolute();
    for (int i = 0; i < MOST_LINKS; i++) {
      byte[] link = stats.link(n, at);
      if (link.length == 0) {
        return at;
      }
      int directory = link[0] == '/' ? 0 : at.length - Paths.lastName(at).length - 1;
      byte[] whole = Arrays.copyOf(at, directory + link.length + 4);
      int length = Paths.normalize(link, link.length, whole, directory, 0);
      at = Arrays.copyOf(whole, Paths.bare(whole, length));
    }
    return look.absolute();
  }

  /** Opens what a descriptor names that cannot be read: by its path, if it is there still. */
  private OpenFile reopen(Notification n, Work w, OpenFile own) throws Refused {
    byte[] path = own.path();
    if (own.writable()) {
      throw new Refused(Errno.ETXTBSY);
    }
    if (path == null || paths.look(n, w, w.second, path) != Owner.DEVICE) {
      throw new Refused(Errno.EACCES);
    }
    OpenFile file = open(n, w.second, true);
    if (!stats.isSame(n, own, file)) {
      hook.calls().close(file.handle());
      throw new Refused(Errno.ENOENT);
    }
    return file;
  }

  private boolean mayExecute(Notification n, Look look, boolean follow) {
    long flags = Fcntl.AT_EACCESS | (follow ? 0 : Fcntl.AT_SYMLINK_NOFOLLOW);
    long[] args = {look.directory, look.address(), Fcntl.X_OK, flags, 0, 0};
    return hook.calls().runAt(n, FACCESSAT2, args, look.file, null) == 0;
  }

  /** Copies a file of the device, as far as a kernel needs it, and what interprets it. */
  private Copy copy(Notification n, Work w, Plan plan, OpenFile file, int depth) throws Refused {
    byte[] path = Objects.requireNonNull(file.path());
    long size = stats.regularSize(n, file);
    check(size);
    MemorySegment empty = w.times();
    empty.set(JAVA_BYTE, 0, (byte) 0);
    long[] asked = {
      file.handle(), Work.timesAddress(), Fcntl.X_OK, Fcntl.AT_EACCESS | Fcntl.AT_EMPTY_PATH, 0, 0
    };
    check(hook.calls().runAt(n, FACCESSAT2, asked, file, null));
    byte[] head = new byte[Executables.LOOKED_BYTES];
    head = Arrays.copyOf(head, (int) read(n, file, 0, head.length, MemorySegment.ofArray(head)));
    ScriptLine line = depth == LINKER ? null : ScriptLine.of(head);
    if (line != null && !isHosts(n, w, line.interpreter())) {
      return scripted(n, w, plan, line, path, depth);
    }
    Copy copy = create(plan, path);
    copy.program = isProgram(head);
    hook.executables().looked(head, path);
    if (!copy.program) {
      // A script of the host's, or nothing that a kernel knows: it says so, or knows what to do.
      write(copy, MemorySegment.ofArray(head), head.length, 0);
      return copy;
    }
    if (size > MOST_BYTES) {
      hook.messages()
          .once(
              "exec size",
              "A program of the device of more than "
                  + (MOST_BYTES >> 20)
                  + " MiB is not executed (ENOMEM): "
                  + text(path));
      throw new Refused(Errno.ENOMEM);
    }
    long copied = read(n, file, copy, size);
    if (depth != LINKER) {
      findInterpreter(n, w, plan, copy, copied);
    }
    return copy;
  }

  /** What is executed for a script whose interpreter is the device's: {@code w.second}. */
  private Copy scripted(Notification n, Work w, Plan plan, ScriptLine line, byte[] path, int depth)
      throws Refused {
    Copy copy = create(plan, path);
    copy.line = line;
    copy.interpreter = interpreter(n, w, plan, depth + 1);
    return copy;
  }

  /** Looks at an interpreter's path, as {@code w.second}: whether it is the host's, or wrong. */
  private boolean isHosts(Notification n, Work w, byte[] path) {
    return paths.look(n, w, w.second, path) != Owner.DEVICE;
  }

  /**
   * Copies {@code w.second}, which has been looked at and is the device's.
   *
   * @param depth how many files name each other before it, or {@link #LINKER}
   */
  private Copy interpreter(Notification n, Work w, Plan plan, int depth) throws Refused {
    if (depth > MOST_INTERPRETERS && depth != LINKER) {
      throw new Refused(Errno.ELOOP);
    }
    Look look = w.second;
    OpenFile file = open(n, look, true);
    try {
      return copy(n, w, plan, file, depth);
    } finally {
      hook.calls().close(file.handle());
    }
  }

  private static boolean isProgram(byte[] head) {
    if (head.length < ELF_BYTES) {
      return false;
    }
    MemorySegment h = MemorySegment.ofArray(head);
    int machine = h.get(JAVA_SHORT_UNALIGNED, ELF_MACHINE);
    return h.get(JAVA_INT_UNALIGNED, 0) == Executables.MAGIC
        && (machine == EM_X86_64 || machine == EM_386);
  }

  /**
   * If the program names an interpreter of the device's, that is copied, too; its name gets room
   * behind the program, for that of a descriptor may be longer.
   */
  private void findInterpreter(Notification n, Work w, Plan plan, Copy copy, long size)
      throws Refused {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment header = interpreterHeader(a, copy, size);
      if (header == null) {
        return;
      }
      long at = header.get(JAVA_LONG_UNALIGNED, HEADER_OFFSET);
      long bytes = header.get(JAVA_LONG_UNALIGNED, HEADER_FILE_SIZE);
      if (bytes < 2 || bytes > PATH_BYTES || at < 0 || at > size - bytes) {
        return; // which the kernel finds, too
      }
      MemorySegment text = a.allocate(bytes);
      if (Processes.pread(copy.fd, text.address(), bytes, at) != bytes
          || text.get(JAVA_BYTE, bytes - 1) != 0) {
        return;
      }
      byte[] path =
          text.getString(0, StandardCharsets.ISO_8859_1).getBytes(StandardCharsets.ISO_8859_1);
      if (path.length > 0 && !isHosts(n, w, path)) {
        copy.interpreter = interpreter(n, w, plan, LINKER);
      }
    }
  }

  /** The program header that names the interpreter; its own offset stands behind it. */
  private static @Nullable MemorySegment interpreterHeader(Arena a, Copy copy, long size) {
    MemorySegment elf = a.allocate(ELF_BYTES, 8);
    if (Processes.pread(copy.fd, elf.address(), ELF_BYTES, 0) != ELF_BYTES
        || elf.get(JAVA_BYTE, Executables.CLASS) == Executables.CLASS_32
        || elf.get(JAVA_SHORT_UNALIGNED, ELF_HEADERS_SIZE) != HEADER_BYTES) {
      return null;
    }
    long at = elf.get(JAVA_LONG_UNALIGNED, ELF_HEADERS);
    int count = Short.toUnsignedInt(elf.get(JAVA_SHORT_UNALIGNED, ELF_HEADERS_SIZE + 2));
    MemorySegment header = a.allocate(HEADER_BYTES + Long.BYTES, 8);
    for (int i = 0; i < count && at >= 0 && at <= size - HEADER_BYTES; i++, at += HEADER_BYTES) {
      if (Processes.pread(copy.fd, header.address(), HEADER_BYTES, at) != HEADER_BYTES) {
        return null;
      }
      if (header.get(JAVA_INT_UNALIGNED, 0) == PT_INTERP) {
        header.set(JAVA_LONG_UNALIGNED, HEADER_BYTES, at);
        return header;
      }
    }
    return null;
  }

  // --- copies

  private static Copy create(Plan plan, byte[] path) throws Refused {
    byte[] name = Paths.lastName(path);
    try (Arena a = Arena.ofConfined()) {
      MemorySegment text =
          a.allocateFrom(
              new String(name, 0, Math.min(name.length, NAME_BYTES), StandardCharsets.ISO_8859_1),
              StandardCharsets.ISO_8859_1);
      int flags = Memory.MFD_CLOEXEC | Memory.MFD_ALLOW_SEALING;
      long fd = Linux.memfdCreate(text.address(), flags | Memory.MFD_EXEC);
      if (fd == -Errno.EINVAL) {
        fd = Linux.memfdCreate(text.address(), flags); // before Linux 6.3
      }
      check(fd == -Errno.EMFILE ? -Errno.ENFILE : fd);
      Copy copy = new Copy((int) fd, path);
      plan.copies.add(copy);
      return copy;
    }
  }

  private static void write(Copy copy, MemorySegment bytes, long count, long at) throws Refused {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment from = a.allocate(Math.max(1, count));
      MemorySegment.copy(bytes, 0, from, 0, count);
      check(put(copy, from, count, at));
    }
  }

  private static long put(Copy copy, MemorySegment from, long count, long at) {
    long done = 0;
    while (done < count) {
      long r =
          Linux.syscall(
              SyscallNumbers.PWRITE64,
              copy.fd,
              from.address() + done,
              count - done,
              at + done,
              0,
              0);
      if (r <= 0) {
        return r < 0 ? r : -Errno.EIO;
      }
      done += r;
    }
    return done;
  }

  /** Reads at most so many bytes of a file of the device; how many. */
  private long read(Notification n, OpenFile file, long from, long count, MemorySegment to)
      throws Refused {
    return read(
        n,
        file,
        from,
        count,
        (data, bytes, at) -> {
          MemorySegment.copy(data, 0, to, at - from, bytes);
          return bytes;
        });
  }

  private long read(Notification n, OpenFile file, Copy copy, long size) throws Refused {
    return read(n, file, 0, size, (data, bytes, at) -> put(copy, data, bytes, at));
  }

  /** Takes a piece of a file; {@code -errno} if it cannot. */
  private interface Taker {
    long take(MemorySegment data, long bytes, long at);
  }

  private long read(Notification n, OpenFile file, long from, long count, Taker taker)
      throws Refused {
    if (!file.use()) {
      throw new Refused(Errno.EBADF);
    }
    try {
      check(hook.calls().begin(n));
      try {
        Call c = n.slot().call();
        long at = from;
        while (at < from + count) {
          if (!n.valid()) {
            throw new Refused(Errno.EINTR); // It is gone, and nobody gets that.
          }
          long most = Math.min(from + count - at, Call.PIECE_BYTES);
          long r = hook.calls().transfer(n, PREAD, file.handle(), most, at);
          if (r == DeviceCalls.AGAIN) {
            continue;
          }
          check(r);
          if (r == 0) {
            break; // It is shorter than its size said.
          }
          r = Math.min(r, most);
          check(taker.take(c.data, r, at));
          at += r;
        }
        return at - from;
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
  }

  // --- the execution itself

  private void begin(Notification n, Work w, Plan plan, Copy first) throws Refused {
    try (Arena a = Arena.ofConfined()) {
      HeldThread t = seize(n, a);
      if (t == null && !n.valid()) {
        throw new Refused(Errno.EINTR); // It is gone, and nobody gets that.
      }
      if (t == null) {
        hook.messages()
            .once(
                "exec traced",
                "A program of the device cannot be executed by a process that is traced, as by a"
                    + " debugger, or that has made itself unreadable (EACCES): "
                    + text(first.path));
        throw new Refused(Errno.EACCES);
      }
      long r = give(n, plan, first);
      if (!t.begin()) {
        return;
      }
      if (r >= 0 && plan.asks) {
        r = t.call(SyscallNumbers.FACCESSAT2, asked(n, plan));
      }
      if (r >= 0) {
        hook.execing(n, plan.program);
        long[] own = n.args();
        int argv = n.row().argCount() > 3 ? 2 : 1;
        r =
            t.execute(
                SyscallNumbers.EXECVEAT,
                first.number,
                plan.emptyPath,
                own[argv],
                own[argv + 1],
                Fcntl.AT_EMPTY_PATH);
        if (r == 0) {
          n.args()[argv - 1] = w.first.keepWritten(w);
          n.heldResult(0);
          started(n, t, plan, first, a);
          t.finish(0);
          return;
        }
      }
      if (r != HeldThread.GONE) {
        for (Copy c : plan.copies) {
          if (c.number >= 0) {
            t.call(SyscallNumbers.CLOSE, c.number);
          }
        }
        n.heldResult(r);
        t.finish(r);
      }
    }
  }

  /** The arguments by which the caller asks whether it may execute its script. */
  private static long[] asked(Notification n, Plan plan) {
    boolean at = n.row().argCount() > 3;
    long flags = Fcntl.AT_EACCESS | (plan.flags & Fcntl.AT_SYMLINK_NOFOLLOW);
    return at
        ? new long[] {n.args()[0], n.args()[1], Fcntl.X_OK, flags}
        : new long[] {Fcntl.AT_FDCWD, n.args()[0], Fcntl.X_OK, flags};
  }

  private static @Nullable HeldThread seize(Notification n, Arena a) {
    for (int i = 0; i < SEIZURES; i++) {
      HeldThread t = HeldThread.seize(n, a);
      if (t != null) {
        return t;
      }
      TaskStatus status = n.statusScratch();
      if (status.read(a, n.tid()) < 0 || status.tracer != Processes.getpid()) {
        return null;
      }
      LockSupport.parkNanos(SEIZURE_NANOS);
    }
    return null;
  }

  /** Gives the caller descriptors of the copies, those of interpreters first; or -errno. */
  private static long give(Notification n, Plan plan, Copy copy) {
    Copy interpreter = copy.interpreter;
    if (interpreter != null) {
      long r = give(n, plan, interpreter);
      if (r >= 0) {
        r = name(copy, "/proc/self/fd/" + interpreter.number);
      }
      if (r < 0) {
        return r;
      }
    }
    Linux.fchmod(copy.fd, MODE);
    Linux.fcntl(copy.fd, Memory.F_ADD_SEALS, ALL_SEALS);
    // By a script's descriptor its interpreter would open it, if its name were not replaced: so a
    // kernel refuses one that is to be closed.
    boolean opened = copy == plan.copies.getFirst() && !copy.program && !isClosedInNew(n, plan);
    long number = n.addFd(copy.fd, opened ? 0 : Fcntl.O_CLOEXEC);
    copy.number = (int) number;
    return number;
  }

  /** Names the interpreter in a copy. */
  private static long name(Copy copy, String interpreter) {
    try (Arena a = Arena.ofConfined()) {
      ScriptLine line = copy.line;
      if (line != null) {
        // What the argument is, is put right later: here there may be no room for it.
        String text = "#!" + interpreter + (line.argument() == null ? "\n" : " -\n");
        return put(copy, a.allocateFrom(text), text.length(), 0);
      }
      long size = Linux.lseek(copy.fd, 0, 2);
      MemorySegment header = interpreterHeader(a, copy, size);
      if (header == null) {
        return -Errno.ENOEXEC;
      }
      header.set(JAVA_LONG_UNALIGNED, HEADER_OFFSET, size);
      header.set(JAVA_LONG_UNALIGNED, HEADER_FILE_SIZE, interpreter.length() + 1L);
      long r = put(copy, a.allocateFrom(interpreter), interpreter.length() + 1L, size);
      return r < 0
          ? r
          : put(copy, header, HEADER_BYTES, header.get(JAVA_LONG_UNALIGNED, HEADER_BYTES));
    }
  }

  /** Whether the program's own descriptor, from which the path starts, is close-on-exec. */
  private static boolean isClosedInNew(Notification n, Plan plan) {
    if (plan.directory == Fcntl.AT_FDCWD) {
      return false;
    }
    String of = n.process().tablesPerThread() ? "task/" + n.tid() + "/" : "";
    try {
      for (String line :
          Files.readAllLines(
              Path.of("/proc/" + n.process().pid() + "/" + of + "fdinfo/" + plan.directory))) {
        if (line.startsWith("flags:")) {
          return (Long.parseLong(line.substring(6).trim(), 8) & Fcntl.O_CLOEXEC) != 0;
        }
      }
    } catch (IOException e) {
      // It is closed by now.
    }
    return true;
  }

  /** The new program is there, and waits. */
  private void started(Notification n, HeldThread t, Plan plan, Copy first, Arena a) {
    ProcessEntry p = n.process();
    Copy last = first;
    while (last.line != null && last.interpreter != null) {
      last = last.interpreter;
    }
    if (last.program) {
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      Linux.fstat(last.fd, stat.address());
      p.program(
          new ProcessEntry.Program(
              last.path,
              stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV),
              stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO)));
    }
    int memory = Shim.openMemory(a, p);
    boolean done = memory >= 0;
    if (done) {
      done = name(t, plan, first, a, memory, p);
      Linux.close(memory);
    }
    if (!done && t.isStopped()) {
      // Of a script the interpreter would read a line of ours. Nothing else can be answered now.
      hook.messages()
          .bug("executing " + text(first.path), new IllegalStateException("no start of a stack"));
      Processes.kill(p.pid(), Processes.SIG_KILL);
    }
  }

  private static boolean name(
      HeldThread t, Plan plan, Copy first, Arena a, int memory, ProcessEntry p) {
    StartStack stack =
        StartStack.read(
            (address, bytes) -> {
              try (Arena own = Arena.ofConfined()) {
                MemorySegment to = own.allocate(bytes);
                long got = Processes.pread(memory, to.address(), bytes, address);
                return got <= 0 ? new byte[0] : to.asSlice(0, got).toArray(JAVA_BYTE);
              }
            },
            t.stack());
    if (stack == null) {
      return false;
    }
    List<byte[]> others = new ArrayList<>();
    int script = first.program ? -1 : scriptArgument(stack, first);
    int from = Math.max(0, script);
    if (script >= 0) {
      others.add(plan.name);
      for (Copy c = first; c != null && c.line != null; c = c.interpreter) {
        byte[] argument = c.line.argument();
        if (argument != null) {
          others.addFirst(argument);
          from--;
        }
        others.addFirst(c.line.interpreter());
        from--;
      }
    }
    byte[] thread = Arrays.copyOf(plan.thread, Math.min(plan.thread.length, THREAD_NAME_BYTES));
    StartStack.Rewritten r = stack.rewrite(plan.name, Math.max(0, from), others, thread);
    if (from < 0 || !write(a, memory, r.bytes(), r.stack())) {
      return false;
    }
    byte[] map = r.arguments() == 0 ? null : map(p, r);
    boolean mapped = map != null && write(a, memory, map, r.spare());
    byte[] code = new byte[SYSCALL.length];
    MemorySegment old = a.allocate(code.length);
    if (!Shim.readAll(memory, old, t.entry()) || !write(a, memory, SYSCALL, t.entry())) {
      return false;
    }
    t.callAt(t.entry());
    t.call(SyscallNumbers.PRCTL, PR_SET_NAME, r.threadName());
    if (mapped) {
      // Where a kernel does not offer that, /proc/PID/cmdline has names of descriptors.
      t.call(SyscallNumbers.PRCTL, PR_SET_MM, PR_SET_MM_MAP, r.spare(), StartStack.SPARE_BYTES, 0);
    }
    if (!first.program) {
      t.call(SyscallNumbers.CLOSE, first.number);
    }
    t.stack(r.stack());
    return Shim.writeAll(memory, old, t.entry());
  }

  /** Which argument is the script's name, as the kernel gave it; -1 if none is. */
  private static int scriptArgument(StartStack stack, Copy first) {
    byte[] name = ("/dev/fd/" + first.number).getBytes(StandardCharsets.US_ASCII);
    for (int i = 0; i < Math.min(stack.arguments(), 2 * MOST_INTERPRETERS + 1); i++) {
      if (Arrays.equals(stack.argument(i, PATH_BYTES), name)) {
        return i;
      }
    }
    return -1;
  }

  /** A {@code struct prctl_mm_map} that has the arguments elsewhere; null if not all is known. */
  private static byte @Nullable [] map(ProcessEntry p, StartStack.Rewritten r) {
    try {
      String stat =
          Files.readString(
              new File("/proc/" + p.pid() + "/stat").toPath(), StandardCharsets.ISO_8859_1);
      String[] fields = stat.substring(stat.lastIndexOf(')') + 2).trim().split(" ", -1);
      MemorySegment map = MemorySegment.ofArray(new byte[StartStack.SPARE_BYTES]);
      for (int i = 0; i < MAP_FIELDS.length; i++) {
        map.set(JAVA_LONG_UNALIGNED, (long) i * Long.BYTES, field(fields, MAP_FIELDS[i]));
      }
      map.set(JAVA_LONG_UNALIGNED, MAP_ARGUMENTS, r.arguments());
      map.set(JAVA_LONG_UNALIGNED, MAP_ARGUMENTS + Long.BYTES, r.argumentsEnd());
      map.set(JAVA_LONG_UNALIGNED, MAP_ENVIRONMENT, field(fields, STAT_ENVIRONMENT));
      map.set(
          JAVA_LONG_UNALIGNED, MAP_ENVIRONMENT + Long.BYTES, field(fields, STAT_ENVIRONMENT + 1));
      map.set(JAVA_INT_UNALIGNED, MAP_FILE, -1);
      return map.toArray(JAVA_BYTE);
    } catch (IOException | IndexOutOfBoundsException | NumberFormatException e) {
      return null;
    }
  }

  /** A field as proc(5) counts them, of those that begin with the third. */
  private static long field(String[] fields, int number) {
    return Long.parseUnsignedLong(fields[number - 3]);
  }

  private static boolean write(Arena a, int memory, byte[] bytes, long address) {
    return Shim.writeAll(memory, a.allocateFrom(JAVA_BYTE, bytes), address);
  }

  // --- small things

  private static void check(long r) throws Refused {
    if (r < 0) {
      throw new Refused((int) -r);
    }
  }

  private static String text(byte[] path) {
    return new String(path, StandardCharsets.UTF_8);
  }
}
