// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.File.EFD_CLOEXEC;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.HeapRelief;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Uninterrupted;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * The processes and threads of the program that have made a trapped call.
 *
 * <p>A notification names a thread by number. That the entry found under the number is that
 * thread's, and not an earlier one's, rests on three facts: the end of a process is reported by its
 * pidfd at once; the end of a thread in a living process is found by a sweep, four times a second;
 * and the kernel hands out numbers in a circle of at least 32,768, so that none comes back within
 * that time.
 *
 * <p>Any notifier thread may call {@link #thread}; one janitor thread sweeps.
 */
final class ProcessTable implements AutoCloseable {
  /** Called on the janitor thread, or on the one that meets the process. */
  interface Listener {
    void met(ProcessEntry p);

    /**
     * A new process is about to be known; it is met afterwards. Called under the table's lock.
     *
     * @param parent its parent, or null if that is not known
     * @param sure false if the parent may be another than the process that it was copied from
     */
    void inherits(ProcessEntry p, @Nullable ProcessEntry parent, boolean sure);

    void threadEnded(ThreadEntry t);

    void processEnded(ProcessEntry p);

    /** Called at every sweep. */
    void sweep();
  }

  /** {@code PID_MAX_LIMIT} of 64-bit kernels. */
  private static final int MAX_TID = 1 << 22;

  private static final int CHUNK = 1 << 12;
  private static final int SWEEP_MILLIS = 250;

  private static final int NOBODY = 0;

  private static final int EPOLL_EVENT_BYTES = 12;
  private static final int MAX_EVENTS = 64;

  private final AtomicReferenceArray<@Nullable AtomicReferenceArray<@Nullable ThreadEntry>> chunks =
      new AtomicReferenceArray<>(MAX_TID / CHUNK);

  /** How many threads each chunk has; guarded by this. */
  private final short[] used = new short[MAX_TID / CHUNK];

  private final Listener listener;
  private final int self = Processes.getpid();
  private final int epoll;

  /** An eventfd that wakes the janitor for its end. */
  private final int stop;

  // Guarded by this.
  private final Map<Integer, ProcessEntry> processes = new HashMap<>();
  private final Map<ProcessEntry, List<ThreadEntry>> threads = new HashMap<>();
  private final Arena arena = Arena.ofShared();
  private final TaskStatus status = new TaskStatus(arena);
  private final MemorySegment event = arena.allocate(EPOLL_EVENT_BYTES, 8);

  private volatile boolean anyDevice;
  private volatile boolean unsureParents;
  private volatile boolean sharedTables;
  private volatile boolean stopping;
  private @Nullable Thread janitor;

  ProcessTable(Listener listener) {
    this.listener = listener;
    long fd = Linux.syscall(SyscallNumbers.EPOLL_CREATE1, Poll.EPOLL_CLOEXEC);
    if (fd < 0) {
      throw new IllegalStateException("epoll_create1: " + Errno.name((int) -fd));
    }
    this.epoll = (int) fd;
    fd = Linux.eventfd(EFD_CLOEXEC);
    if (fd < 0) {
      throw new IllegalStateException("eventfd2: " + Errno.name((int) -fd));
    }
    this.stop = (int) fd;
    watch(stop, NOBODY);
  }

  /** Starts the janitor. */
  void start() {
    janitor = Thread.ofPlatform().name("outboard-janitor").daemon().start(this::sweepForever);
  }

  /**
   * The caller of a notification.
   *
   * @return null if it is a thread of the hook itself (the one that starts the program), or has
   *     died already
   */
  @Nullable ThreadEntry thread(Notification n) {
    int tid = n.tid();
    ThreadEntry t = find(tid);
    if (t != null && !t.held && t.inCall()) {
      succeeded(t);
      t = null;
    }
    return t != null ? t : meet(n, tid);
  }

  /** Another thread has the number of this one, which an execve has ended. */
  private void succeeded(ThreadEntry t) {
    synchronized (this) {
      remove(t);
    }
    listener.threadEnded(t);
  }

  /** From now on a process may hold device fds that nobody saw it get. */
  void deviceFdsExist() {
    anyDevice = true;
  }

  /** A child may have another parent than the process that it was copied from. */
  void parentsAreUnsure() {
    unsureParents = true;
  }

  /** Two processes share a descriptor table, and so may any that is met from now on. */
  void tablesAreShared() {
    sharedTables = true;
  }

  /** How many processes are known. */
  synchronized int processCount() {
    return processes.size();
  }

  /** How many threads are known. */
  synchronized int threadCount() {
    int n = 0;
    for (List<ThreadEntry> l : threads.values()) {
      n += l.size();
    }
    return n;
  }

  /** The process of that number, if it is known. */
  synchronized @Nullable ProcessEntry process(int pid) {
    return processes.get(pid);
  }

  /** Entries of a process's threads, as of now. */
  synchronized List<ThreadEntry> threadsOf(ProcessEntry p) {
    return List.copyOf(threads.getOrDefault(p, List.of()));
  }

  /** All known processes, as of now. */
  synchronized List<ProcessEntry> processes() {
    return List.copyOf(processes.values());
  }

  private @Nullable ThreadEntry find(int tid) {
    if (tid < 0 || tid >= MAX_TID) {
      return null;
    }
    AtomicReferenceArray<@Nullable ThreadEntry> chunk = chunks.get(tid / CHUNK);
    return chunk == null ? null : chunk.get(tid % CHUNK);
  }

  private @Nullable ThreadEntry meet(Notification n, int tid) {
    ProcessEntry process;
    boolean isNew = false;
    ThreadEntry t;
    synchronized (this) {
      if (readStatus(tid) < 0 || status.tgid <= 0 || status.tgid == self) {
        return null;
      }
      int tgid = status.tgid;
      int ppid = status.ppid;
      ProcessEntry known = processes.get(tgid);
      if (known == null) {
        known = open(tgid, ppid);
        if (known == null) {
          return null;
        }
        isNew = true;
      }
      process = known;
      // All that was read is the caller's only if it still waits now.
      if (!n.valid()) {
        if (isNew) {
          closeDescriptors(process);
        }
        return null;
      }
      t = new ThreadEntry(tid, process);
      put(tid, t);
      if (isNew) {
        processes.put(tgid, process);
        inherit(process);
      }
      threads.computeIfAbsent(process, p -> new ArrayList<>()).add(t);
    }
    if (isNew) {
      listener.met(process);
      watch(process.pidfd(), process.pid());
    }
    return t;
  }

  /**
   * Takes note of those children of a process that have not made a trapped call yet, so that they
   * have of it what it has now and not what it is about to have. A child of one that has ended is
   * not found; nor is any in a kernel without CONFIG_PROC_CHILDREN.
   */
  void meetChildren(ProcessEntry parent) {
    for (int pid : childrenOf(parent.pid())) {
      ProcessEntry met = null;
      synchronized (this) {
        if (!processes.containsKey(pid)) {
          met = open(pid, parent.pid());
          if (met != null) {
            processes.put(pid, met);
            inherit(met);
          }
        }
      }
      if (met != null) {
        listener.met(met);
        watch(met.pidfd(), met.pid());
      }
    }
  }

  private static List<Integer> childrenOf(int pid) {
    List<Integer> found = new ArrayList<>();
    String @Nullable [] tasks = new File("/proc/" + pid + "/task").list();
    for (String tid : tasks == null ? new String[0] : tasks) {
      try {
        String line = Files.readString(Path.of("/proc/" + pid + "/task/" + tid + "/children"));
        for (String child : line.strip().split(" ", -1)) {
          if (!child.isEmpty()) {
            found.add(Integer.parseInt(child));
          }
        }
      } catch (IOException e) {
        // The thread has ended, or the kernel does not tell.
      }
    }
    return found;
  }

  private long readStatus(int tid) {
    try (Arena a = Arena.ofConfined()) {
      return status.read(a, tid);
    }
  }

  /** What a new process has of its parent. Under the lock. */
  private void inherit(ProcessEntry p) {
    ProcessEntry parent = processes.get(p.parentPid());
    if (parent != null) {
      p.inherit(parent);
    }
    listener.inherits(p, parent, !unsureParents);
    // The program's first process has only what the hook gave it: nothing of the device.
    if ((parent == null || unsureParents) ? anyDevice : parent.mayHoldDevice()) {
      p.setMayHoldDevice();
    }
    if ((parent == null || unsureParents) ? sharedTables : parent.isNeverCached()) {
      p.neverCache(false);
      p.setMayHoldDevice();
    }
  }

  private @Nullable ProcessEntry open(int tgid, int ppid) {
    long pidfd = Processes.pidfdOpen(tgid);
    if (pidfd < 0) {
      return null;
    }
    long directory;
    try (Arena a = Arena.ofConfined()) {
      directory =
          Processes.openat(
              Fcntl.AT_FDCWD,
              Linux.cString(a, "/proc/" + tgid).address(),
              Fcntl.O_PATH | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
    }
    if (directory < 0) {
      Linux.close((int) pidfd);
      return null;
    }
    return new ProcessEntry(tgid, ppid, (int) pidfd, (int) directory);
  }

  /**
   * Changes a thread's entry, under the lock. A chunk without any is let go: numbers go up on a
   * machine that makes many processes, ours or not, and each chunk would stay.
   */
  private void put(int tid, @Nullable ThreadEntry t) {
    int index = tid / CHUNK;
    AtomicReferenceArray<@Nullable ThreadEntry> chunk = chunks.get(index);
    if (chunk == null) {
      chunk = new AtomicReferenceArray<>(CHUNK);
      chunks.set(index, chunk);
    }
    boolean had = chunk.getAndSet(tid % CHUNK, t) != null;
    used[index] += (short) ((t != null ? 1 : 0) - (had ? 1 : 0));
    if (used[index] == 0) {
      chunks.set(index, null);
    }
  }

  private synchronized void watch(int fd, int pid) {
    event.set(JAVA_INT_UNALIGNED, 0, Poll.POLLIN);
    event.set(JAVA_LONG_UNALIGNED, 4, pid);
    // Fails only without memory; then the sweep finds the end.
    Linux.syscall(SyscallNumbers.EPOLL_CTL, epoll, Poll.EPOLL_CTL_ADD, fd, event.address(), 0, 0);
  }

  private void sweepForever() {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment events = a.allocate((long) EPOLL_EVENT_BYTES * MAX_EVENTS, 8);
      long swept = System.nanoTime();
      HeapRelief heap = new HeapRelief();
      while (!stopping) {
        long n =
            Linux.syscall(
                SyscallNumbers.EPOLL_WAIT, epoll, events.address(), MAX_EVENTS, SWEEP_MILLIS, 0, 0);
        for (int i = 0; i < n; i++) {
          int pid = (int) events.get(JAVA_LONG_UNALIGNED, (long) i * EPOLL_EVENT_BYTES + 4);
          if (pid != NOBODY) {
            ended(pid);
          }
        }
        long now = System.nanoTime();
        if (n == 0 || now - swept > SWEEP_MILLIS * 1_000_000L) {
          swept = now;
          sweep();
          heap.look();
        }
      }
    }
  }

  private void sweep() {
    List<ThreadEntry> gone = new ArrayList<>();
    synchronized (this) {
      for (List<ThreadEntry> l : threads.values()) {
        for (ThreadEntry t : l) {
          if (Processes.tgkill(t.process().pid(), t.tid(), 0) == -Errno.ESRCH) {
            gone.add(t);
          }
        }
      }
      for (ThreadEntry t : gone) {
        remove(t);
      }
    }
    for (ThreadEntry t : gone) {
      listener.threadEnded(t);
    }
    listener.sweep();
  }

  /** Under the lock. */
  private void remove(ThreadEntry t) {
    if (find(t.tid()) == t) {
      put(t.tid(), null);
    }
    List<ThreadEntry> siblings = threads.get(t.process());
    if (siblings != null) {
      siblings.remove(t);
    }
    t.process().settled(t.tid());
  }

  private void ended(int pid) {
    ProcessEntry p;
    List<ThreadEntry> gone;
    synchronized (this) {
      p = processes.remove(pid);
      if (p == null) {
        return;
      }
      p.setEnded();
      gone = List.copyOf(threads.getOrDefault(p, List.of()));
      for (ThreadEntry t : gone) {
        remove(t);
      }
      threads.remove(p);
      Linux.syscall(
          SyscallNumbers.EPOLL_CTL, epoll, Poll.EPOLL_CTL_DEL, p.pidfd(), event.address(), 0, 0);
    }
    for (ThreadEntry t : gone) {
      listener.threadEnded(t);
    }
    listener.processEnded(p);
    closeDescriptors(p);
  }

  private static void closeDescriptors(ProcessEntry p) {
    Linux.close(p.pidfd());
    Linux.close(p.directory());
  }

  /** Ends the janitor and forgets everything. */
  @Override
  public void close() {
    stopping = true;
    Thread j = janitor;
    if (j != null) {
      synchronized (this) {
        event.set(JAVA_LONG_UNALIGNED, 0, 1);
        Linux.write(stop, event.address(), Long.BYTES);
      }
      Uninterrupted.join(j);
    }
    for (ProcessEntry p : processes()) {
      ended(p.pid());
    }
    Linux.close(epoll);
    Linux.close(stop);
    arena.close();
  }
}
