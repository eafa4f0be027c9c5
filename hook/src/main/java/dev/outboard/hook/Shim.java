// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.LentSlot;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.PathSet;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Puts the shim into programs, so that calls on descriptors of the host need no trap.
 *
 * <p>A program that has made {@value #PATIENCE} trapped calls gets the shim at the next, and one
 * that is known from before ({@link KnownPrograms}) at its first, if it has one thread and no
 * signal handler then: code is written over what stands behind the trapped call, maps the shim, and
 * makes the call again. Any other gets it at its {@value #HELD_PATIENCE}th, or later, by a thread
 * that is held ({@link HeldThread}). From then on a place that traps again and again is patched, if
 * its code has one of the shapes that {@link PatchSite} allows: its bytes are written where there
 * is one thread, and otherwise a patched copy of its page takes the page's place. All else goes on
 * trapping: nothing depends on a patch. ADRs 0025 and 0029 argue each step.
 *
 * <p>Notifier threads call {@link #arrived} before they serve a call, and the others while they do;
 * the janitor calls {@link #ended}.
 */
final class Shim implements AutoCloseable, Statistics.Untrapped {
  /** Most programs that end soon have made fewer trapped calls. */
  static final int PATIENCE = 10;

  /** The same where a thread must be held, which costs some hundred microseconds. */
  static final int HELD_PATIENCE = 64;

  /** After so many tables that are a child's, too, a forked process gets none any more. */
  private static final int MOST_LOST_TABLES = 4;

  private static final long PAGE_BYTES = 4096;
  private static final long READ_WRITE = Memory.PROT_READ | Memory.PROT_WRITE;
  private static final long READ_EXECUTE = Memory.PROT_READ | Memory.PROT_EXEC;
  private static final long ANONYMOUS = Memory.MAP_PRIVATE | Memory.MAP_ANONYMOUS;
  private static final long SHARED_THERE = Memory.MAP_SHARED | Memory.MAP_FIXED_NOREPLACE;
  private static final int NO_FILE = -1;

  /** The signal by which glibc cancels a thread, as a bit of a set. */
  private static final long CANCEL = 1L << 31;

  private static final int KCMP_VM = 1;

  /** No result of a request. */
  private static final long NO_REQUEST = Long.MIN_VALUE;

  private final ShimBlob blob = ShimBlob.load();
  private final ShimTables tables = new ShimTables();
  private final TextPatches patches = new TextPatches();
  private final KnownPrograms programs = new KnownPrograms();
  private final Map<Long, ShimImage> images = new HashMap<>();
  private final ProcessTable processes;
  private final Messages messages;

  /** What was counted in processes that have ended or execute another program; guards itself. */
  private final ShimCounts ended = new ShimCounts();

  private @Nullable DeviceCalls calls;
  private @Nullable Descriptors descriptors;
  private @Nullable List<byte[]> names;
  private long memory;
  private long lastImage;

  /**
   * Processes have shared their memory without a vfork. One whose parent is gone may share its own
   * with others, then, and does not get the shim.
   */
  private volatile boolean memoryWasShared;

  /** The program's first process is known; under the lock of the table of processes. */
  private boolean begun;

  Shim(ProcessTable processes, Messages messages) {
    this.processes = processes;
    this.messages = messages;
  }

  /** Sets what could not exist before this object; before the first call. */
  void connect(DeviceCalls c, PathSet devicePaths, Descriptors all) {
    calls = c;
    descriptors = all;
    memory = all.memoryDevice();
    names = ShimSwitches.PATHS ? Paths.namesOf(devicePaths, ShimTable.NAMES_BYTES) : null;
  }

  /** The shim may not use a file of the device any more, in no process. Any thread. */
  void withdraw(int handle) {
    for (ProcessEntry p : processes.processes()) {
      p.withdraw(handle);
    }
  }

  /**
   * A call has trapped; its thread waits.
   *
   * @return whether it was answered: then nobody else may touch it
   */
  boolean arrived(Notification n) {
    ThreadEntry t = n.thread();
    ProcessEntry p = t.process();
    ShimState s = p.shim();
    t.inFork = false;
    if (t.inVfork) {
      t.inVfork = false;
      synchronized (s) {
        s.vforks = Math.max(0, s.vforks - 1); // An exec in another thread has set it to 0.
        p.freeze(s.vforks > 0 || s.phase == ShimState.Phase.NEVER);
      }
    }
    long back = n.instructionPointer();
    if (isGate(back)) {
      long r = n.nr() == SyscallNumbers.CLOSE ? request(n, p, s, n.intArg(0)) : NO_REQUEST;
      if (r != NO_REQUEST) {
        n.answerUnseen(r);
      }
      return r != NO_REQUEST; // Else it is a call that device.c makes for the program.
    }
    if (s.inherited) {
      settleInherited(n, p, s);
    }
    if (s.execing) {
      executed(n, p, s);
    }
    return switch (s.phase) {
      // Programs install handlers as they begin, which says nothing of what they do later.
      case NEW ->
          n.nr() != SyscallNumbers.RT_SIGACTION
              && isInjected(s.calls.incrementAndGet())
              && inject(n, p, s);
      case INJECTING -> {
        if (back != s.back || n.nr() != s.number) {
          yield false;
        }
        injected(n, p, s);
        yield s.phase == ShimState.Phase.ACTIVE && patches.consider(n, p, s, back);
      }
      // A forked child asks for a table at the first call that it makes by the shim, so there has
      // to be one: its parent may have made none of those that it makes.
      case ACTIVE, FORKED -> patches.consider(n, p, s, back);
      case NEVER -> false;
    };
  }

  /** Whether a call with that return address is one of the shim's own. */
  static boolean isGate(long back) {
    return back > ShimLayout.GATE && back <= ShimLayout.GATE_END;
  }

  /** Whether it is tried at that trapped call: where it cannot be yet, it may be later. */
  private static boolean isInjected(int calls) {
    return calls == PATIENCE || (calls >= HELD_PATIENCE && Integer.bitCount(calls) == 1);
  }

  /** The caller is about to make a process that has a copy of its memory. */
  void forking(ThreadEntry t) {
    t.inFork = true;
    ShimState s = t.process().shim();
    synchronized (s) {
      s.forks++;
    }
  }

  /**
   * The caller is about to execute another program.
   *
   * @param program a hash of its path
   */
  void execing(ThreadEntry t, int program) {
    ShimState s = t.process().shim();
    synchronized (s) {
      s.next = program;
      s.execers.add(t.tid());
      s.execing = true;
    }
  }

  /** The caller is about to make a process that shares its memory, but not its descriptors. */
  void sharing(ThreadEntry t, boolean vfork) {
    ProcessEntry p = t.process();
    ShimState s = p.shim();
    synchronized (s) {
      if (vfork) {
        t.inVfork = true;
        s.vforks++;
        p.freeze(true);
      } else {
        s.memoryIsShared = true;
        memoryWasShared = true;
        never(p, s);
      }
    }
  }

  /** The caller is about to install a seccomp filter, which may not allow what the shim does. */
  void bar(ProcessEntry p) {
    ShimState s = p.shim();
    synchronized (s) {
      s.barred = true;
      if (s.image != null) {
        s.image.closeToChildren();
      }
      never(p, s);
    }
  }

  /** A new process, or one that was met late, has what its parent has. */
  void inherit(ProcessEntry p, @Nullable ProcessEntry parent, boolean sure) {
    ShimState s = p.shim();
    if (parent == null || !sure) {
      // A vfork's parent is known, and alive unless it was killed. So this one is a fork's child or
      // an orphan, which are children of this process, too; but for the first one.
      s.sharesMemory = !begun;
      begun = true;
      s.phase = s.sharesMemory || !sure ? ShimState.Phase.NEVER : ShimState.Phase.FORKED;
      s.inherited = s.phase == ShimState.Phase.FORKED && !memoryWasShared;
      return;
    }
    ShimState theirs = parent.shim();
    synchronized (theirs) {
      s.barred = theirs.barred;
      s.sharesMemory = theirs.vforks > 0;
      if (s.sharesMemory || s.barred) {
        s.phase = ShimState.Phase.NEVER;
      } else {
        s.inherited = theirs.phase != ShimState.Phase.NEVER;
        s.phase = s.inherited ? ShimState.Phase.FORKED : ShimState.Phase.NEVER;
        // Or it could be gone by the time that the child is looked at.
        s.image = theirs.image == null ? null : theirs.image.retain();
      }
    }
  }

  /** The first call of a process that was forked: what its memory has is of then, not of now. */
  private void settleInherited(Notification n, ProcessEntry p, ShimState s) {
    synchronized (s) {
      if (!s.inherited) {
        return;
      }
      s.inherited = false;
      if (s.phase != ShimState.Phase.FORKED) {
        return;
      }
      boolean mapped = selfWord(n) >= 0;
      ShimImage theirs = s.image;
      s.image = mapped ? imageOf(n) : null;
      if (theirs != null) {
        release(theirs);
      }
      if (!mapped) {
        s.phase = p.isNeverCached() ? ShimState.Phase.NEVER : ShimState.Phase.NEW;
      }
    }
  }

  /** A process is gone. */
  void ended(ProcessEntry p) {
    ShimState s = p.shim();
    synchronized (s) {
      drop(p, s);
      s.phase = ShimState.Phase.NEVER;
    }
  }

  @Override
  public ShimCounts counts() {
    ShimCounts all = new ShimCounts();
    // First those that have ended: one that does meanwhile may be missed, and is not counted twice.
    synchronized (ended) {
      all.add(ended);
    }
    for (ProcessEntry p : processes.processes()) {
      ShimState s = p.shim();
      synchronized (s) {
        if (s.table != null) {
          all.add(s.table);
        }
        s.slots.forEach(all::add);
      }
    }
    return all;
  }

  /** How many processes have a table. */
  int tableCount() {
    return tables.count();
  }

  @Override
  public void close() {
    tables.close();
  }

  // --- what a process goes through

  /**
   * A call while an execve may be under way, or have been carried out. The caller may be a thread
   * of the old program that the kernel has not ended yet.
   */
  private void executed(Notification n, ProcessEntry p, ShimState s) {
    synchronized (s) {
      if (s.holding) {
        return; // SELF comes and goes; whether a thread can still be held shows soon.
      }
      Executed what = hasExecuted(n, p, s);
      if (what == Executed.YES) {
        s.execers.clear();
      } else {
        s.execers.remove(n.tid()); // Its own, if it was one, has failed, or does not matter.
      }
      s.execing = !s.execers.isEmpty();
      if (what == Executed.NO) {
        return;
      }
      s.sharesMemory = false;
      drop(p, s);
      p.dropEntries();
      n.thread().credentialsDirty = true;
      s.memoryIsShared = false;
      s.vforks = 0;
      s.cancels = false;
      s.program = what == Executed.YES ? s.next : KnownPrograms.NONE;
      s.guessed = ShimSwitches.SOON && programs.has(s.program);
      s.calls.set(s.guessed ? PATIENCE - 1 : 0);
      s.sites.clear();
      s.phase = s.barred || p.isNeverCached() ? ShimState.Phase.NEVER : ShimState.Phase.NEW;
    }
  }

  /** Whether the caller's program is another than before. */
  private enum Executed {
    /** It is the same, or that is not known yet. */
    NO,
    /** Only its own thread's execve may have succeeded; the shim can begin anew in either. */
    MAYBE,
    YES
  }

  private static Executed hasExecuted(Notification n, ProcessEntry p, ShimState s) {
    if (s.sharesMemory) {
      long r = Linux.syscall(SyscallNumbers.KCMP, p.pid(), p.parentPid(), KCMP_VM, 0, 0, 0);
      return r > 0 ? Executed.YES : Executed.NO; // Else it failed; or it is not known.
    }
    if (s.phase != ShimState.Phase.NEW && selfWord(n) >= 0) {
      return Executed.NO;
    }
    if (!n.valid()) {
      return Executed.NO; // It is being ended, and had no memory any more.
    }
    if (s.phase == ShimState.Phase.ACTIVE || s.phase == ShimState.Phase.FORKED) {
      return Executed.YES; // The old program has SELF.
    }
    // Nothing of the shim is in the memory; but of the threads only the first is left.
    for (int tid : s.execers) {
      if (Processes.tgkill(p.pid(), tid, 0) == -Errno.ESRCH) {
        return Executed.YES;
      }
    }
    return s.execers.contains(n.tid()) ? Executed.MAYBE : Executed.NO;
  }

  private void never(ProcessEntry p, ShimState s) {
    // The table stays: the process has it mapped, and finds nothing in it.
    s.phase = ShimState.Phase.NEVER;
    p.freeze(true);
  }

  private void drop(ProcessEntry p, ShimState s) {
    ShimTable table = s.table;
    if (table != null) {
      p.table(null);
      long passed;
      synchronized (ended) {
        passed = ended.add(table);
        s.slots.forEach(ended::add);
      }
      if (s.guessed && passed < PATIENCE) {
        programs.remove(s.program);
      }
      boolean copied = s.attaching && s.forks != s.attachForks;
      if (s.vforks == 0 && !s.memoryIsShared && !copied) {
        tables.give(table);
      } // Else another process may go on with the memory, and would look into the next one's table.
      s.table = null;
      s.attaching = false;
    }
    DeviceCalls device = calls;
    if (device != null) {
      s.slots.forEach(device::takeBack);
      s.slots.clear();
      s.lending = null;
      s.lent = false;
      s.unseen = false;
    }
    if (s.image != null) {
      release(s.image);
      s.image = null;
    }
  }

  private void release(ShimImage image) {
    synchronized (images) {
      if (image.release()) {
        images.remove(image.number());
      }
    }
  }

  // --- injection

  private boolean inject(Notification n, ProcessEntry p, ShimState s) {
    boolean held;
    synchronized (s) {
      if (s.phase != ShimState.Phase.NEW || s.execing || s.vforks > 0) {
        return false;
      }
      try (Arena a = Arena.ofConfined()) {
        TaskStatus status = n.statusScratch();
        int r = (int) status.read(a, n.tid());
        // With another thread, or a handler that a signal could start, other code than ours might
        // run through the place that is overwritten.
        held = status.threads != 1 || status.caught != 0;
        if (r < 0 || status.tracer != 0 || (held && s.calls.get() < HELD_PATIENCE)) {
          return false;
        }
        // Whatever it is that goes wrong, it is not tried again: the program runs as it did.
        s.phase = ShimState.Phase.NEVER;
        if ((status.caught & CANCEL) != 0) {
          return false;
        }
        if (!held) {
          return overwrite(n, p, s, a);
        }
        s.holding = true;
      }
    }
    try {
      return injectHeld(n, p, s);
    } finally {
      held(s);
    }
  }

  private boolean overwrite(Notification n, ProcessEntry p, ShimState s, Arena a) {
    int memory = openMemory(a, p);
    if (memory < 0) {
      return false;
    }
    try {
      return begin(n, p, s, a, memory);
    } finally {
      Linux.close(memory);
    }
  }

  private boolean begin(Notification n, ProcessEntry p, ShimState s, Arena a, int memory) {
    long back = n.instructionPointer();
    MemorySegment code = a.allocate(blob.injectionBytes());
    // Written as it is first: the end of a mapping, or one that cannot be written to, shows.
    if (!readAll(memory, code, back) || !writeAll(memory, code, back)) {
      return false;
    }
    ShimTable table = table();
    if (table == null) {
      return false;
    }
    ShimImage image = image();
    if (image == null) {
      tables.give(table);
      return false;
    }
    int imageFd = (int) n.addFd(image.fd(), Fcntl.O_CLOEXEC);
    image.given();
    if (imageFd < 0) {
      tables.give(table);
      release(image);
      return false;
    }
    int tablesFd = (int) n.addFd(tables.fd(), Fcntl.O_CLOEXEC);
    s.code = code.toArray(ValueLayout.JAVA_BYTE);
    s.back = back;
    s.number = n.nr();
    byte[] injection =
        blob.injection(back, n.nr(), tablesFd < 0 ? -1 : tablesFd, imageFd, table.index());
    MemorySegment.copy(injection, 0, code, ValueLayout.JAVA_BYTE, 0, injection.length);
    if (!writeAll(memory, code, back)) {
      failed(n, p, "cannot write");
    }
    s.image = image;
    s.table = table;
    s.phase = ShimState.Phase.INJECTING;
    n.answerUnseen(0);
    return true;
  }

  /** One of zeros, but for what is the hook's to say; null if there are too many. */
  private @Nullable ShimTable table() {
    ShimTable table = tables.take();
    if (table != null) {
      NearSlots near = calls == null ? null : calls.near();
      if (near != null) {
        table.near(near.sends(), near.options(), near.receives(), ShimSwitches.FAR_FILES);
        table.takes(true);
      } else {
        table.ahead(
            ShimSwitches.AHEAD,
            ShimSwitches.OPTIONS && calls != null && calls.takesOptionsInRings());
        table.peeks(ShimSwitches.PEEKS);
        table.takes(ShimSwitches.TAKES);
      }
      table.asks(ShimSwitches.QUESTIONS);
      table.memory(memory);
      if (names != null) {
        table.names(names);
      }
    }
    return table;
  }

  /** A new one; null without memory or descriptors. */
  private @Nullable ShimImage image() {
    synchronized (images) {
      try {
        ShimImage image = new ShimImage(blob, ++lastImage);
        images.put(lastImage, image);
        return image;
      } catch (IllegalStateException e) {
        return null;
      }
    }
  }

  private void injected(Notification n, ProcessEntry p, ShimState s) {
    synchronized (s) {
      try (Arena a = Arena.ofConfined()) {
        int memory = openMemory(a, p);
        MemorySegment code = a.allocateFrom(ValueLayout.JAVA_BYTE, s.code);
        if (memory < 0 || !writeAll(memory, code, s.back)) {
          failed(n, p, "no memory");
        }
        if (memory >= 0) {
          Linux.close(memory);
        }
      }
      s.code = new byte[0];
      ShimTable table = s.table;
      if (selfWord(n) == ShimLayout.ATTACHED && table != null) {
        p.table(table);
        s.phase = ShimState.Phase.ACTIVE;
        programs.add(s.program);
      } else {
        drop(p, s);
        s.phase = ShimState.Phase.NEVER;
      }
    }
  }

  /** An injection cannot be carried through; who was killed meanwhile has no memory any more. */
  private void failed(Notification n, ProcessEntry p, String why) {
    if (n.valid()) {
      messages.bug("injecting into process " + p.pid(), new IllegalStateException(why));
    }
  }

  // --- injection where other code may run meanwhile

  /** Has the caller map the shim, call by call; whether its notification is answered. */
  private boolean injectHeld(Notification n, ProcessEntry p, ShimState s) {
    ShimTable table = table();
    ShimImage image = table == null ? null : image();
    if (table == null || image == null) {
      if (table != null) {
        tables.give(table);
      }
      return false;
    }
    int forks;
    synchronized (s) {
      forks = s.forks;
      s.image = image;
      s.table = table;
      s.back = 0;
      s.phase = ShimState.Phase.INJECTING;
    }
    boolean answered = false;
    boolean done = false;
    boolean tableIsMapped = false;
    try (Arena a = Arena.ofConfined()) {
      // A child that is being copied now would have the table, if it were there before the copy and
      // marked as not to be copied after it.
      HeldThread t = isForking(p, n.thread()) ? null : HeldThread.seize(n, a);
      if (t != null) {
        answered = true;
        long imageFd = n.addFd(image.fd(), Fcntl.O_CLOEXEC);
        long tablesFd = imageFd < 0 ? -1 : n.addFd(tables.fd(), Fcntl.O_CLOEXEC);
        if (t.begin()) {
          List<Mapping> mapped = new ArrayList<>();
          if (tablesFd >= 0 && mapImage(t, (int) imageFd, mapped)) {
            tableIsMapped = true;
            done = mapTable(t, (int) tablesFd, table, mapped);
          }
          for (long fd : new long[] {tablesFd, imageFd}) {
            if (fd >= 0) {
              t.call(SyscallNumbers.CLOSE, fd);
            }
          }
          done = done && attached(n, p, s, table, forks);
          if (!done) {
            // These alone: what else is at those addresses is the program's.
            mapped.forEach(m -> t.call(SyscallNumbers.MUNMAP, m.address(), m.bytes()));
          }
          t.again();
        }
      }
    }
    image.given();
    if (!done) {
      abandon(s, table, image, tableIsMapped);
    }
    return answered;
  }

  /** What a held thread has mapped. */
  private record Mapping(long address, long bytes) {}

  private static boolean mapImage(HeldThread t, int fd, List<Mapping> mapped) {
    Mapping image = new Mapping(ShimLayout.BASE, ShimLayout.FILE_BYTES);
    Mapping self = new Mapping(ShimLayout.SELF, PAGE_BYTES);
    long anonymous = ANONYMOUS | Memory.MAP_FIXED_NOREPLACE;
    return map(t, image, READ_EXECUTE, SHARED_THERE, fd, 0, mapped)
        && map(t, self, READ_WRITE, anonymous, NO_FILE, 0, mapped)
        && t.call(SyscallNumbers.MADVISE, self.address(), PAGE_BYTES, Memory.MADV_WIPEONFORK) == 0;
  }

  private static boolean mapTable(HeldThread t, int fd, ShimTable table, List<Mapping> mapped) {
    Mapping m = new Mapping(ShimLayout.TABLE, ShimLayout.TABLE_BYTES);
    return map(t, m, READ_WRITE, SHARED_THERE, fd, table.index() * m.bytes(), mapped)
        && t.call(SyscallNumbers.MADVISE, m.address(), m.bytes(), Memory.MADV_DONTFORK) == 0;
  }

  /** Has the thread map something where nothing is; whether it is there now. */
  private static boolean map(
      HeldThread t, Mapping m, long rights, long flags, int fd, long offset, List<Mapping> mapped) {
    long at = t.call(SyscallNumbers.MMAP, m.address(), m.bytes(), rights, flags, fd, offset);
    if (at == m.address()) {
      mapped.add(m);
    }
    return at == m.address();
  }

  /** The table is mapped: it is the process's own from now on, unless it is another's, too. */
  private boolean attached(
      Notification n, ProcessEntry p, ShimState s, ShimTable table, int forks) {
    synchronized (s) {
      if (s.phase != ShimState.Phase.INJECTING
          || s.table != table
          || s.forks != forks
          || !writeSelfWord(n, ShimLayout.ATTACHED)) {
        return false;
      }
      activate(p, s, table);
      return true;
    }
  }

  /** The table is the process's alone; who calls has the state's monitor. */
  private static void activate(ProcessEntry p, ShimState s, ShimTable table) {
    p.table(table);
    p.freeze(s.vforks > 0);
    s.phase = ShimState.Phase.ACTIVE;
  }

  private void abandon(ShimState s, ShimTable table, ShimImage image, boolean mapped) {
    synchronized (s) {
      if (s.table != table) {
        return; // The process is gone, and with it all that it had.
      }
      s.table = null;
      s.image = null;
      if (s.phase == ShimState.Phase.INJECTING) {
        // It may be tried again.
        s.phase = ShimState.Phase.NEW;
      }
    }
    release(image);
    if (!mapped) {
      tables.give(table);
    } // Else a child may have it.
  }

  /** Whether another thread may be making a child, whose copy of the memory is from before now. */
  private boolean isForking(ProcessEntry p, ThreadEntry caller) {
    for (ThreadEntry t : processes.threadsOf(p)) {
      if (t != caller && t.inFork) {
        return true;
      }
    }
    return false;
  }

  // --- requests

  private long request(Notification n, ProcessEntry p, ShimState s, int what) {
    return switch (what) {
      case ShimLayout.ASK_ATTACH -> attach(n, p, s);
      case ShimLayout.ASK_ATTACHED -> attached(p, s, n.intArg(1) != 0);
      case ShimLayout.ASK_SLOT -> lend(n, p, s);
      case ShimLayout.ASK_KEEP -> keep(s, n.intArg(1) != 0);
      case ShimLayout.ASK_PUT_OFF -> putOff(n, n.intArg(1), n.intArg(2));
      default -> NO_REQUEST;
    };
  }

  private long lend(Notification n, ProcessEntry p, ShimState s) {
    DeviceCalls device = calls;
    ShimTable table;
    synchronized (s) {
      s.lendingForks = s.forks;
      takeBackUnkept(s);
      table = s.table;
      if (s.phase != ShimState.Phase.ACTIVE
          || s.vforks > 0
          || table == null
          || device == null
          || s.slots.size() >= ShimLayout.MAX_SLOTS) {
        return -Errno.EAGAIN;
      }
    }
    if (isForking(p, n.thread())) {
      return -Errno.EAGAIN;
    }
    LentSlot slot = device.lend(n);
    if (slot == null) {
      return -Errno.EPERM;
    }
    synchronized (s) {
      int fd =
          s.table == table
                  && s.phase == ShimState.Phase.ACTIVE
                  && s.slots.size() < ShimLayout.MAX_SLOTS // others may have asked meanwhile
              ? (int) n.addFd(slot.descriptor(), Fcntl.O_CLOEXEC)
              : -Errno.EAGAIN;
      if (fd < 0) {
        device.takeBack(slot);
        return -Errno.EAGAIN;
      }
      slot.given();
      s.slots.add(slot);
      s.lending = slot;
      s.lent = true;
      s.unseen = device.near() == null;
      return fd;
    }
  }

  /**
   * The process keeps the slot lent last, unless a child may have it, too.
   *
   * @param mapped whether it could map the slot; something of the program's may be there
   */
  private long keep(ShimState s, boolean mapped) {
    synchronized (s) {
      if (mapped && s.lending != null && s.forks == s.lendingForks) {
        s.lending = null;
        return 0;
      }
      takeBackUnkept(s);
      return mapped ? -Errno.EAGAIN : -Errno.ENOMEM;
    }
  }

  /** The process says so of its own sockets; it can deceive nobody but itself. */
  private long putOff(Notification n, int fd, int errno) {
    Descriptors all = descriptors;
    DeviceCalls device = calls;
    Placeholder p = all == null ? null : all.lookup(n, fd);
    if (p == null || device == null || !isOfAConnection(errno)) {
      return -Errno.EBADF;
    }
    device.putOff(p, errno);
    return 0;
  }

  /** What a connection fails with; ENOBUFS, for one, may be the hook's, which had no slot. */
  private static boolean isOfAConnection(int errno) {
    return (errno >= Errno.ENETDOWN && errno <= Errno.ECONNRESET)
        || (errno >= Errno.ETIMEDOUT && errno <= Errno.EHOSTUNREACH);
  }

  private void takeBackUnkept(ShimState s) {
    DeviceCalls device = calls;
    if (s.lending != null && device != null) {
      s.slots.remove(s.lending);
      device.takeBack(s.lending);
      s.lending = null;
    }
  }

  private long attach(Notification n, ProcessEntry p, ShimState s) {
    if (isForking(p, n.thread())) {
      return -Errno.EAGAIN; // As below, until the table is kept from children.
    }
    synchronized (s) {
      if (s.sharesMemory || s.vforks > 0) {
        return -Errno.EAGAIN; // A table would be seen by two processes.
      }
      if (s.phase == ShimState.Phase.FORKED && s.image == null) {
        s.image = imageOf(n);
      }
      ShimImage image = s.image;
      if (s.phase != ShimState.Phase.FORKED
          || s.table != null // It is asking already.
          || image == null
          || image.closedToChildren()
          || p.isNeverCached()) {
        return -Errno.EPERM;
      }
      ShimTable table = table();
      if (table == null) {
        return -Errno.EPERM;
      }
      int fd = (int) n.addFd(tables.fd(), Fcntl.O_CLOEXEC);
      if (fd < 0) {
        tables.give(table);
        return -Errno.EAGAIN;
      }
      s.table = table;
      s.attaching = true;
      s.attachForks = s.forks;
      return (long) table.index() << ShimLayout.ATTACH_FD_BITS | fd;
    }
  }

  /**
   * A process has mapped the table that it asked for, and kept it from children.
   *
   * @param mapped or could not
   */
  private long attached(ProcessEntry p, ShimState s, boolean mapped) {
    synchronized (s) {
      ShimTable table = s.table;
      if (table == null || !s.attaching) {
        return table == null ? -Errno.EPERM : 0; // Asked again after a signal.
      }
      s.attaching = false;
      if (s.forks != s.attachForks) {
        s.table = null; // Not given back: a child may have it.
        if (mapped && s.phase == ShimState.Phase.FORKED && ++s.lostTables < MOST_LOST_TABLES) {
          return -Errno.EAGAIN;
        }
      } else if (mapped && s.phase == ShimState.Phase.FORKED) {
        activate(p, s, table);
        return 0;
      }
      never(p, s);
      return -Errno.EPERM;
    }
  }

  /** The image that a process has mapped which was forked by one that is gone. */
  private @Nullable ShimImage imageOf(Notification n) {
    MemorySegment word = n.statScratch();
    if (n.memory().read(ShimLayout.IMAGE_NUMBER, word, 0, Long.BYTES) < 0) {
      return null;
    }
    synchronized (images) {
      ShimImage image = images.get(word.get(ValueLayout.JAVA_LONG, 0));
      return image == null ? null : image.retain();
    }
  }

  // --- a program that cancels threads

  /**
   * The caller is about to install the handler by which glibc cancels threads, which unwinds their
   * stacks from wherever they are. No function is known where the shim lies; so it is taken out of
   * their way, for good.
   *
   * @return whether the notification is answered: then it comes again
   */
  boolean cancels(Notification n) {
    ProcessEntry p = n.process();
    ShimState s = p.shim();
    ShimImage image;
    ShimTable table;
    synchronized (s) {
      if (s.phase == ShimState.Phase.NEW) {
        s.phase = ShimState.Phase.NEVER;
        return false;
      }
      if (s.phase == ShimState.Phase.NEVER && !s.holding) {
        return false;
      }
      never(p, s);
      n.willBlock();
      awaitHeld(s);
      if (s.cancels) {
        return false; // It comes again.
      }
      s.cancels = true;
      if (s.image == null) {
        s.image = imageOf(n);
      }
      image = s.image;
      table = s.table;
      if (image == null) {
        return false;
      }
      image.retain();
      s.holding = true;
    }
    try {
      boolean answered = TextPatches.undo(n, p, image);
      s.leaving = true;
      ShimExit.all(p, image, table, tid -> interrupt(p, tid), n.tid());
      return answered;
    } finally {
      s.leaving = false;
      release(image);
      held(s);
    }
  }

  private void interrupt(ProcessEntry p, int tid) {
    DeviceCalls device = calls;
    for (ThreadEntry t : processes.threadsOf(p)) {
      if (t.tid() == tid && device != null) {
        device.interrupt(t);
      }
    }
  }

  /** Waits until nobody is held, which takes a few milliseconds. Under the state's monitor. */
  private static void awaitHeld(ShimState s) {
    Uninterrupted.waitUntil(s, () -> !s.holding);
  }

  /** Nobody is held any more. */
  static void held(ShimState s) {
    synchronized (s) {
      s.holding = false;
      s.notifyAll();
    }
  }

  // --- a process's memory

  /** The first word of SELF, or -1 if that is not mapped. */
  private static int selfWord(Notification n) {
    MemorySegment word = n.statScratch();
    return n.memory().read(ShimLayout.SELF, word, 0, Integer.BYTES) < 0
        ? -1
        : word.get(ValueLayout.JAVA_INT, 0);
  }

  private static boolean writeSelfWord(Notification n, int what) {
    MemorySegment word = n.statScratch();
    word.set(ValueLayout.JAVA_INT, 0, what);
    return n.memory().write(ShimLayout.SELF, word, 0, Integer.BYTES) >= 0;
  }

  /** A descriptor of the process's memory that writes to read-only pages, too; or -errno. */
  static int openMemory(Arena a, ProcessEntry p) {
    return (int)
        Processes.openat(
            p.directory(), Linux.cString(a, "mem").address(), Fcntl.O_RDWR | Fcntl.O_CLOEXEC);
  }

  /** Fills {@code to} from the memory of such a descriptor; false if not all is there. */
  static boolean readAll(int memory, MemorySegment to, long address) {
    return Processes.pread(memory, to.address(), to.byteSize(), address) == to.byteSize();
  }

  /** Writes there, also to what the program itself may only read. */
  static boolean writeAll(int memory, MemorySegment from, long address) {
    return Linux.syscall(
            SyscallNumbers.PWRITE64, memory, from.address(), from.byteSize(), address, 0, 0)
        == from.byteSize();
  }
}
