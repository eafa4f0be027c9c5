// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A process of the program's tree, known since its first trapped call, until its pidfd says that it
 * is gone.
 *
 * <p>Owns two descriptors: a pidfd and its directory in {@code /proc}; both name this process and
 * never a later one with its number. What is known of its descriptors is kept here for {@link
 * Descriptors}, which explains the rules; every method of that part holds this object's monitor.
 */
final class ProcessEntry {
  /** Descriptors with greater numbers are looked up each time. */
  private static final int MAX_KNOWN = 1 << 16;

  /** Stands for "a file of the host". */
  static final Host HOST = new Host();

  /** The type of {@link #HOST}. */
  static final class Host {
    private Host() {}
  }

  private final int pid;
  private final int parentPid;
  private final int pidfd;
  private final int directory;

  /** What each number refers to: null unknown, {@link #HOST}, or a {@link Placeholder}. */
  private @Nullable Object[] known = new @Nullable Object[64];

  /** Counts what may have made knowledge stale: what was looked up under another count is void. */
  private long version;

  /** Closes that may or may not have happened yet: {@code tid, first, last, turn, holds} each. */
  private int[] closing = new int[0];

  private static final int CLOSING_INTS = 5;

  /** Counts closes that begin. */
  private int closeTurn;

  /** Whether {@link #closing} has any. */
  private volatile boolean anyClosing;

  /** When {@link Descriptors} looked last whether they have happened. */
  volatile long closersLookedAt;

  /** Threads that may be waiting for descriptors, without the hook. */
  private final AtomicInteger waiters = new AtomicInteger();

  /** The only one of these, if it is known; else 0. */
  private int waiter;

  /**
   * Numbers at which a device fd was seen, and not closed since by a call that names them; exec
   * closes some of them unseen. For a process whose descriptors cannot be looked at any more.
   */
  private final BitSet deviceNumbers = new BitSet();

  private boolean neverCache;

  /** What the shim in this process knows; null where there is none. */
  private @Nullable ShimTable table;

  private final ShimState shim = new ShimState();

  /** Threads have tables of their own: a look-up must name the thread. */
  private volatile boolean tablesPerThread;

  /** A placeholder may be among the descriptors: one was given to it or to an ancestor. */
  private volatile boolean mayHoldDevice;

  /**
   * The working directory if it is the device's: an absolute path there; the host's kernel has the
   * directory that was the last one of its own. Null while it is the host's.
   */
  private volatile byte @Nullable [] deviceDirectory;

  /** The file of the device that it, or an ancestor, was made to execute last; null for none. */
  private volatile @Nullable Program program;

  /** What it does are calls of the hook's: it has begun with a new program, and is held. */
  volatile boolean held;

  /** Where {@link HandlerEntries} lie in its memory; 0 for nowhere, or nobody knows. */
  private volatile long entries;

  /** A bit for each signal, from 1 on, whose handler has or had an entry there. */
  private final AtomicLong entered = new AtomicLong();

  private volatile boolean ended;

  /** A thread outside of notifications, by which a stop shows; the sampler's. */
  int stopProbe;

  /** When one was looked for last; the sampler's. */
  long probedAt;

  /** The device has been told what it is called; of the thread that makes a call. */
  volatile boolean named;

  ProcessEntry(int pid, int parentPid, int pidfd, int directory) {
    this.pid = pid;
    this.parentPid = parentPid;
    this.pidfd = pidfd;
    this.directory = directory;
  }

  /** The process's number: the TGID. */
  int pid() {
    return pid;
  }

  /** Its parent's number when it was first met. */
  int parentPid() {
    return parentPid;
  }

  /** A pidfd, for {@code pidfd_getfd(2)} and {@code pidfd_send_signal(2)}; owned by this entry. */
  int pidfd() {
    return pidfd;
  }

  /** A file of the device, and the copy of it that is executed. */
  static final class Program {
    private final byte[] path;
    private final long device;
    private final long inode;

    /**
     * @param path absolute, as the device has it
     * @param device the copy's file system
     * @param inode the copy's number there, which no other file has as long as it is executed
     */
    Program(byte[] path, long device, long inode) {
      this.path = path;
      this.device = device;
      this.inode = inode;
    }
  }

  /** Notes that it executes a file of the device. */
  void program(Program p) {
    program = p;
  }

  /** The path of the file of the device that the process executes; null if it is the host's. */
  byte @Nullable [] deviceProgram() {
    Program p = program;
    if (p == null) {
      return null;
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      long r = Processes.fstatat(directory, Linux.cString(a, "exe").address(), stat.address(), 0);
      return r == 0
              && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV) == p.device
              && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO) == p.inode
          ? p.path
          : null;
    }
  }

  /** An O_PATH descriptor of {@code /proc/PID}; owned by this entry. */
  int directory() {
    return directory;
  }

  boolean mayHoldDevice() {
    return mayHoldDevice;
  }

  void setMayHoldDevice() {
    mayHoldDevice = true;
  }

  byte @Nullable [] deviceDirectory() {
    return deviceDirectory;
  }

  synchronized void deviceDirectory(byte @Nullable [] path) {
    deviceDirectory = path;
    if (table != null) {
      table.elsewhere(path != null);
    }
  }

  /** Address of its {@link HandlerEntries}; 0 for none. */
  long entries() {
    return entries;
  }

  synchronized void entries(long address) {
    entries = address;
    if (table != null) {
      table.entries(address);
    }
  }

  /** Whether the handler of a signal may have an entry. */
  boolean hasEntry(int signal) {
    return entries != 0 && (entered.get() >>> (signal - 1) & 1) != 0;
  }

  void addEntry(int signal) {
    entered.getAndUpdate(bits -> bits | 1L << (signal - 1));
  }

  /** A child has what its parent has. */
  void inheritEntries(ProcessEntry parent) {
    entries(parent.entries);
    entered.set(parent.entered.get());
  }

  /** It is about to execute another program, which has none. */
  void dropEntries() {
    entries(0);
    entered.set(0);
  }

  boolean tablesPerThread() {
    return tablesPerThread;
  }

  boolean ended() {
    return ended;
  }

  void setEnded() {
    ended = true;
  }

  ShimState shim() {
    return shim;
  }

  /** Gives the process a table, or takes it away: from now on it is told what is found out. */
  synchronized void table(@Nullable ShimTable t) {
    table = t;
    if (t != null) {
      t.freeze(neverCache);
      t.closer(closer());
      t.entries(entries);
      t.elsewhere(deviceDirectory != null);
      t.hold(holds());
      t.waits(waiters.get(), waiter, pid);
      // What was known before could be closed by the shim unseen.
      forget(0, Integer.MAX_VALUE);
    }
  }

  /** Keeps the table empty while {@code on}. */
  synchronized void freeze(boolean on) {
    if (table != null) {
      table.freeze(on || neverCache);
    }
  }

  /**
   * Whether anything is kept of its descriptors: where none can be the device's and the shim has no
   * table, there is nothing to know, and nothing that a close could make wrong.
   */
  boolean remembers() {
    return mayHoldDevice || hasTable();
  }

  private synchronized boolean hasTable() {
    return table != null;
  }

  /** What {@code fd} is known to be, or null. */
  synchronized @Nullable Object known(int fd) {
    Object what = fd < known.length ? known[fd] : null;
    return closedUnseen(fd, what) ? null : what;
  }

  /** The shim closes descriptors of the host without a word, and files that nobody misses. */
  private boolean closedUnseen(int fd, @Nullable Object what) {
    ShimTable t = table;
    return t != null
        && ((what == HOST && !t.isHost(fd))
            || (what instanceof Placeholder p && p.endsUnseen() && !t.isFile(fd, p.handle())));
  }

  /** Whether {@code fd} may be a device fd, as far as one can tell without a look. */
  synchronized boolean mayBeDevice(int fd) {
    return fd >= 0
        && deviceNumbers.get(fd)
        && !(fd < known.length && known[fd] != HOST && closedUnseen(fd, known[fd]));
  }

  /** A child has what its parent has. */
  void inherit(ProcessEntry parent) {
    BitSet theirs;
    synchronized (parent) {
      theirs = (BitSet) parent.deviceNumbers.clone();
    }
    synchronized (this) {
      deviceNumbers.or(theirs);
    }
    deviceDirectory(parent.deviceDirectory);
    program = parent.program;
  }

  /** The placeholders known at the numbers from {@code first} to {@code last}. */
  synchronized List<Placeholder> knownPlaceholders(int first, int last) {
    List<Placeholder> found = new ArrayList<>();
    for (int i = first; i < known.length && i <= last; i++) {
      if (known[i] instanceof Placeholder p) {
        found.add(p);
      }
    }
    return found;
  }

  /** To be read before a look-up, and given to {@link #learn}. */
  synchronized long version() {
    return version;
  }

  /** The same for the shim's table. */
  synchronized int mark(int fd) {
    return table == null ? 0 : table.mark(fd);
  }

  /** Keeps that a descriptor is the host's, unless something may have changed since. */
  synchronized void learnHost(int fd, long asOf, int mark) {
    if (learn(fd, HOST, asOf) && table != null) {
      table.learn(fd, mark);
    }
  }

  /** The same of a device fd, and whether the shim may use it. */
  synchronized void learnDevice(
      int fd, Placeholder what, @Nullable OpenFile file, long asOf, int mark) {
    if (!learn(fd, what, asOf) || table == null || file == null) {
      return;
    }
    if (file.sendable()) {
      table.learnFile(fd, mark, file.handle(), file.birth(), file.quiet());
    } else if (file.direct()) {
      table.learnDevice(fd, mark, file.handle(), file.birth(), file.stream());
      if (!file.direct()) {
        table.forget(fd, fd); // Withdrawn meanwhile, maybe before it was there.
      }
    }
  }

  /** The device reports the readiness of what {@code fd} may be known to be. */
  synchronized void watched(int fd, Placeholder what) {
    if (table != null && fd >= 0 && fd < known.length && known[fd] == what) {
      table.watched(fd, what.handle());
    }
  }

  /** A file of the device is the hook's alone from now on. */
  synchronized void withdraw(int handle) {
    if (table != null) {
      table.withdraw(handle);
    }
  }

  /**
   * Keeps the result of a look-up, unless something may have changed since {@code asOf}.
   *
   * @return whether it was kept
   */
  synchronized boolean learn(int fd, Object what, long asOf) {
    if (fd < MAX_KNOWN) {
      deviceNumbers.set(fd, what instanceof Placeholder);
    }
    if (table != null && what instanceof Placeholder && table.isHost(fd)) {
      table.forget(fd, fd); // It should not be there.
    }
    if (asOf != version || neverCache || fd >= MAX_KNOWN) {
      return false;
    }
    for (int i = 0; i < closing.length; i += CLOSING_INTS) {
      if (closing[i + 1] <= fd && fd <= closing[i + 2]) {
        return false;
      }
    }
    if (fd >= known.length) {
      known = Arrays.copyOf(known, Math.max(fd + 1, known.length * 2));
    }
    known[fd] = what;
    return true;
  }

  /**
   * Thread {@code tid} is about to close the numbers from {@code first} to {@code last}.
   *
   * @param holds whether what that does on the device could be seen by a call that does not trap
   */
  synchronized void closing(int tid, int first, int last, boolean holds) {
    if (first == last && first < MAX_KNOWN) {
      deviceNumbers.clear(first);
    }
    int n = closing.length;
    closing = Arrays.copyOf(closing, n + CLOSING_INTS);
    closing[n] = tid;
    closing[n + 1] = first;
    closing[n + 2] = last;
    closing[n + 3] = ++closeTurn;
    closing[n + 4] = holds ? 1 : 0;
    anyClosing = true;
    if (table != null) {
      table.closer(closer());
    }
    forget(first, last);
    if (table != null && holds) {
      table.hold(true);
    }
  }

  /** Who may be closing: nobody, one thread, or several; {@link ShimTable#closer}. */
  private int closer() {
    if (closing.length == 0) {
      return ShimLayout.ANY_LEARNS;
    }
    for (int i = CLOSING_INTS; i < closing.length; i += CLOSING_INTS) {
      if (closing[i] != closing[0]) {
        return ShimLayout.NONE_LEARNS;
      }
    }
    return closing[0];
  }

  private boolean holds() {
    for (int i = 0; i < closing.length; i += CLOSING_INTS) {
      if (closing[i + 4] != 0) {
        return true;
      }
    }
    return false;
  }

  /** Whatever thread {@code tid} was about to close is closed now, or never will be. */
  synchronized void settled(int tid) {
    settled(tid, closeTurn);
  }

  /**
   * The same of the closes that had begun at a turn.
   *
   * @param turn of {@link #closeTurn}, when it was not yet known that they have happened
   */
  synchronized void settled(int tid, int turn) {
    int kept = 0;
    for (int i = 0; i < closing.length; i += CLOSING_INTS) {
      if (closing[i] != tid || closing[i + 3] - turn > 0) {
        System.arraycopy(closing, i, closing, kept, CLOSING_INTS);
        kept += CLOSING_INTS;
      } else {
        // A look-up that began before the close and ends after it must not be kept.
        version++;
      }
    }
    closing = Arrays.copyOf(closing, kept);
    anyClosing = kept > 0;
    if (table != null) {
      table.closer(closer());
      if (!holds()) {
        table.hold(false);
      }
    }
  }

  boolean anyClosing() {
    return anyClosing;
  }

  /** Counts closes that begin; what is asked before a look goes to {@link #settled(int, int)}. */
  synchronized int closeTurn() {
    return closeTurn;
  }

  /** The threads whose closes may not have happened yet; a thread may stand there twice. */
  synchronized int[] closers() {
    int[] tids = new int[closing.length / CLOSING_INTS];
    for (int i = 0; i < tids.length; i++) {
      tids[i] = closing[i * CLOSING_INTS];
    }
    return tids;
  }

  /** A thread begins to wait for descriptors, or does so no more. */
  synchronized void waits(int tid, boolean begins) {
    int n = waiters.addAndGet(begins ? 1 : -1);
    waiter = begins && n == 1 ? tid : 0;
    if (table != null) {
      table.waits(n, waiter, pid);
    }
  }

  boolean anyWaits() {
    return waiters.get() > 0;
  }

  /** Whether {@code fd} is known to be an epoll set ({@link KnownSets}). */
  synchronized boolean isSet(int fd) {
    return table != null && table.isSet(fd);
  }

  /** As {@link ShimTable#learnSet}; 0 without a table. */
  synchronized int learnSet(int fd, int mark) {
    return table == null ? 0 : table.learnSet(fd, mark);
  }

  /** The shim does not know the members of the set {@code fd} any more. */
  synchronized void forgetMembers(int fd) {
    if (table != null) {
      table.forgetMembers(fd);
    }
  }

  /** Whether it does. */
  synchronized boolean knowsMembers(int fd) {
    return table != null && table.knowsMembers(fd);
  }

  /** Where they can be noted, if there is room. One caller at a time. */
  synchronized ShimTable.@Nullable Members membersOf(int fd) {
    return table == null ? null : table.members(fd);
  }

  /** As {@link ShimTable#cover}. */
  synchronized int cover(int fd) {
    return table == null ? 0 : table.cover(fd);
  }

  /** As {@link ShimTable#handle}. */
  synchronized long handle(int fd) {
    return table == null ? 0 : table.handle(fd);
  }

  /** How often the shim has looked into a set. */
  synchronized long looksIntoSets() {
    return table == null
        ? 0
        : table.deviceCalls(SyscallNumbers.EPOLL_WAIT)
            + table.deviceCalls(SyscallNumbers.EPOLL_PWAIT);
  }

  /** Forgets all, and learns nothing any more: the table is shared in ways not followed. */
  synchronized void neverCache(boolean perThread) {
    neverCache = true;
    tablesPerThread |= perThread;
    freeze(true);
    forget(0, Integer.MAX_VALUE);
  }

  synchronized boolean isNeverCached() {
    return neverCache;
  }

  private void forget(int first, int last) {
    version++;
    if (table != null) {
      table.forget(first, last);
    }
    int from = Math.min(first, known.length);
    int to = (int) Math.min((long) last + 1, known.length);
    if (from < to) {
      Arrays.fill(known, from, to, null);
    }
  }
}
