// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.LentSlot;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Puts the shim into programs, so that calls on descriptors of the host need no trap.
 *
 * <p>A program that has made {@value #PATIENCE} trapped calls gets the shim at the next, if it has
 * one thread and no signal handler then: code is written over what stands behind the trapped call,
 * maps the shim, and makes the call again. From then on a place that traps again and again is
 * patched, if its code has one of the shapes that {@link PatchSite} allows. All else goes on
 * trapping: nothing depends on a patch. ADR 0025 argues each step.
 *
 * <p>Notifier threads call {@link #arrived} before they serve a call, and the others while they do;
 * the janitor calls {@link #ended}.
 */
final class Shim implements AutoCloseable, Statistics.Untrapped {
  /** Most programs that end soon have made fewer trapped calls. */
  static final int PATIENCE = 16;

  /** At which hits a place is tried: what stands in the way may be gone later. */
  private static boolean isTried(int hits) {
    return hits == 2 || hits == 32 || hits == 512;
  }

  private static final int KCMP_VM = 1;

  /** No result of a request. */
  private static final long NO_REQUEST = Long.MIN_VALUE;

  private final ShimBlob blob = ShimBlob.load();
  private final ShimTables tables = new ShimTables();
  private final Map<Long, ShimImage> images = new HashMap<>();
  private final AtomicLongArray passed = new AtomicLongArray(ShimLayout.MAX_NUMBER);
  private final ProcessTable processes;
  private final Messages messages;
  private final int self = Processes.getpid();
  private final AtomicLongArray direct = new AtomicLongArray(ShimLayout.MAX_NUMBER);
  private final AtomicLongArray directBytes = new AtomicLongArray(ShimLayout.MAX_NUMBER);
  private @Nullable DeviceCalls calls;
  private long lastImage;

  Shim(ProcessTable processes, Messages messages) {
    this.processes = processes;
    this.messages = messages;
  }

  /** Sets what could not exist before this object; before the first call. */
  void connect(DeviceCalls c) {
    calls = c;
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
    if (t.inVfork) {
      t.inVfork = false;
      synchronized (s) {
        s.vforks = Math.max(0, s.vforks - 1); // An exec in another thread has set it to 0.
        p.freeze(s.vforks > 0 || s.phase == ShimState.Phase.NEVER);
      }
    }
    long back = n.instructionPointer();
    if (back > ShimLayout.GATE && back <= ShimLayout.GATE_END) {
      long r = n.nr() == SyscallNumbers.CLOSE ? request(n, p, s, n.intArg(0)) : NO_REQUEST;
      if (r != NO_REQUEST) {
        n.answerUnseen(r);
      }
      return r != NO_REQUEST; // Else it is a call that device.c makes for the program.
    }
    if (s.execing) {
      executed(n, p, s);
    }
    return switch (s.phase) {
      case NEW -> ++s.calls == PATIENCE && inject(n, p, s);
      case INJECTING -> {
        if (back == s.back && n.nr() == s.number) {
          injected(n, p, s);
        }
        yield false;
      }
      case ACTIVE -> {
        consider(n, p, s, back);
        yield false;
      }
      case FORKED, NEVER -> false;
    };
  }

  /** The caller is about to execute another program. */
  void execing(ProcessEntry p) {
    p.shim().execing = true;
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
      // an orphan; but for the first process, which is a child of this one.
      s.sharesMemory = p.parentPid() == self;
      s.phase = s.sharesMemory || !sure ? ShimState.Phase.NEVER : ShimState.Phase.FORKED;
      return;
    }
    ShimState theirs = parent.shim();
    synchronized (theirs) {
      s.barred = theirs.barred;
      s.sharesMemory = theirs.vforks > 0;
      if (s.sharesMemory || s.barred) {
        s.phase = ShimState.Phase.NEVER;
      } else {
        s.phase = theirs.phase == ShimState.Phase.ACTIVE ? ShimState.Phase.FORKED : theirs.phase;
        s.image = theirs.image == null ? null : theirs.image.retain();
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
  public long passed(int number) {
    return passed.get(number) + sum(t -> t.calls(number));
  }

  @Override
  public long direct(int number) {
    return direct.get(number) + sum(t -> t.deviceCalls(number));
  }

  @Override
  public long directBytes(int number) {
    return directBytes.get(number) + sum(t -> t.deviceBytes(number));
  }

  private long sum(ToLongFunction<ShimTable> count) {
    long n = 0;
    for (ProcessEntry p : processes.processes()) {
      ShimState s = p.shim();
      synchronized (s) {
        n += s.table == null ? 0 : count.applyAsLong(s.table);
      }
    }
    return n;
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

  /** The first call after an execve that was let through. */
  private void executed(Notification n, ProcessEntry p, ShimState s) {
    synchronized (s) {
      if (s.sharesMemory) {
        long r = Linux.syscall(SyscallNumbers.KCMP, p.pid(), p.parentPid(), KCMP_VM, 0, 0, 0);
        if (r <= 0) {
          return; // It failed, so far; or it is not known.
        }
        s.sharesMemory = false;
      } else if (s.phase != ShimState.Phase.NEW && selfWord(n) >= 0) {
        s.execing = false;
        return; // It failed: everything is as it was.
      }
      s.execing = false;
      drop(p, s);
      s.memoryIsShared = false;
      s.vforks = 0;
      s.calls = 0;
      s.sites.clear();
      s.phase = s.barred || p.isNeverCached() ? ShimState.Phase.NEVER : ShimState.Phase.NEW;
    }
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
      for (int i = 0; i < ShimLayout.MAX_NUMBER; i++) {
        passed.addAndGet(i, table.calls(i));
        direct.addAndGet(i, table.deviceCalls(i));
        directBytes.addAndGet(i, table.deviceBytes(i));
      }
      if (s.vforks == 0 && !s.memoryIsShared) {
        tables.give(table);
      } // Else another process may go on with the memory, and would look into the next one's table.
      s.table = null;
    }
    DeviceCalls device = calls;
    if (device != null) {
      s.slots.forEach(device::takeBack);
      s.slots.clear();
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
    synchronized (s) {
      // Whatever it is that goes wrong, it is not tried again: the program runs as it did.
      s.phase = ShimState.Phase.NEVER;
      try (Arena a = Arena.ofConfined()) {
        TaskStatus status = new TaskStatus(a);
        // With another thread, or a handler that a signal could start, other code than ours might
        // run through the place that is overwritten.
        if (status.read(a, n.tid()) < 0 || status.threads != 1 || status.caught != 0) {
          return false;
        }
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
    }
  }

  private boolean begin(Notification n, ProcessEntry p, ShimState s, Arena a, int memory) {
    long back = n.instructionPointer();
    MemorySegment code = a.allocate(blob.injectionBytes());
    // Written as it is first: the end of a mapping, or one that cannot be written to, shows.
    if (!readAll(memory, code, back) || !writeAll(memory, code, back)) {
      return false;
    }
    ShimTable table = tables.take();
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
      messages.bug("injecting into process " + p.pid(), new IllegalStateException("cannot write"));
    }
    s.image = image;
    s.table = table;
    s.phase = ShimState.Phase.INJECTING;
    n.answerUnseen(0);
    return true;
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
          messages.bug("injecting into process " + p.pid(), new IllegalStateException("no memory"));
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
      } else {
        drop(p, s);
        s.phase = ShimState.Phase.NEVER;
      }
    }
  }

  // --- requests

  private long request(Notification n, ProcessEntry p, ShimState s, int what) {
    return switch (what) {
      case ShimLayout.ASK_ATTACH -> attach(n, p, s);
      case ShimLayout.ASK_SLOT -> lend(n, s);
      default -> NO_REQUEST;
    };
  }

  private long lend(Notification n, ShimState s) {
    DeviceCalls device = calls;
    ShimTable table;
    synchronized (s) {
      table = s.table;
      if (s.phase != ShimState.Phase.ACTIVE
          || s.vforks > 0
          || table == null
          || device == null
          || s.slots.size() >= ShimLayout.MAX_SLOTS) {
        return -Errno.EAGAIN;
      }
    }
    LentSlot slot = device.lend(n);
    if (slot == null) {
      return -Errno.EPERM;
    }
    synchronized (s) {
      int fd =
          s.table == table && s.phase == ShimState.Phase.ACTIVE
              ? (int) n.addFd(slot.descriptor(), Fcntl.O_CLOEXEC)
              : -Errno.EAGAIN;
      if (fd < 0) {
        device.takeBack(slot);
        return -Errno.EAGAIN;
      }
      slot.given();
      s.slots.add(slot);
      return fd;
    }
  }

  private long attach(Notification n, ProcessEntry p, ShimState s) {
    synchronized (s) {
      if (s.sharesMemory || s.vforks > 0) {
        return -Errno.EAGAIN; // A table would be seen by two processes.
      }
      if (s.phase == ShimState.Phase.FORKED && s.image == null) {
        s.image = imageOf(n);
      }
      ShimImage image = s.image;
      if (s.phase != ShimState.Phase.FORKED
          || image == null
          || image.closedToChildren()
          || p.isNeverCached()) {
        return -Errno.EPERM;
      }
      ShimTable table = tables.take();
      if (table == null) {
        return -Errno.EPERM;
      }
      int fd = (int) n.addFd(tables.fd(), Fcntl.O_CLOEXEC);
      if (fd < 0) {
        tables.give(table);
        return -Errno.EAGAIN;
      }
      s.table = table;
      p.table(table);
      s.phase = ShimState.Phase.ACTIVE;
      return (long) table.index() << ShimLayout.ATTACH_FD_BITS | fd;
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

  // --- patching

  private void consider(Notification n, ProcessEntry p, ShimState s, long back) {
    boolean closes = n.nr() == SyscallNumbers.CLOSE;
    if (!closes && !n.row().passes()) {
      return;
    }
    synchronized (s) {
      if (!isTried(s.sites.hit(back)) || s.phase != ShimState.Phase.ACTIVE) {
        return;
      }
      if (n.nr() == SyscallNumbers.RECVMSG && !p.mayHoldDevice()) {
        return; // Its first one has to be seen: device fds may come with it.
      }
      byte[] code = code(n, back);
      ShimImage image = s.image;
      if (image == null || PatchSite.patch(code, n.nr(), back, 0).isEmpty()) {
        s.sites.done(back);
        return;
      }
      try (Arena a = Arena.ofConfined()) {
        TaskStatus status = new TaskStatus(a);
        if (status.read(a, n.tid()) < 0 || status.threads != 1) {
          return; // Another thread may be in the middle of it. There is a later try.
        }
        s.sites.done(back);
        PatchSite.Kind kind = closes ? PatchSite.Kind.CLOSE : PatchSite.Kind.PASS;
        int pointer = image.pointer(kind, n.nr(), back);
        int memory = pointer < 0 ? -1 : openMemory(a, p);
        if (memory >= 0) {
          for (PatchSite.Write w : PatchSite.patch(code, n.nr(), back, pointer)) {
            if (!writeAll(memory, a.allocateFrom(ValueLayout.JAVA_BYTE, w.bytes()), w.address())) {
              break; // The later ones lead to the earlier.
            }
          }
          Linux.close(memory);
        }
      }
    }
  }

  /** What {@link PatchSite#patch} looks at; zeros if it cannot be read. */
  private static byte[] code(Notification n, long back) {
    byte[] code = new byte[PatchSite.BEFORE_BYTES + PatchSite.AFTER_BYTES];
    MemorySegment scratch = n.statScratch();
    if (n.memory().read(back - PatchSite.BEFORE_BYTES, scratch, 0, code.length) == 0) {
      MemorySegment.copy(scratch, ValueLayout.JAVA_BYTE, 0, code, 0, code.length);
    }
    return code;
  }

  // --- a process's memory

  /** The first word of SELF, or -1 if that is not mapped. */
  private static int selfWord(Notification n) {
    MemorySegment word = n.statScratch();
    return n.memory().read(ShimLayout.SELF, word, 0, Integer.BYTES) < 0
        ? -1
        : word.get(ValueLayout.JAVA_INT, 0);
  }

  /** A descriptor of the process's memory that writes to read-only pages, too; or -errno. */
  private static int openMemory(Arena a, ProcessEntry p) {
    return (int)
        Processes.openat(
            p.directory(), Linux.cString(a, "mem").address(), Fcntl.O_RDWR | Fcntl.O_CLOEXEC);
  }

  private static boolean readAll(int memory, MemorySegment to, long address) {
    return Processes.pread(memory, to.address(), to.byteSize(), address) == to.byteSize();
  }

  private static boolean writeAll(int memory, MemorySegment from, long address) {
    return Linux.syscall(
            SyscallNumbers.PWRITE64, memory, from.address(), from.byteSize(), address, 0, 0)
        == from.byteSize();
  }
}
