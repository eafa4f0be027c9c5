// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Poll;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * All placeholders of a session: which inode on the host stands for which handle on the device, and
 * when one is gone.
 *
 * <p><b>The last close.</b> End A of every placeholder is in one epoll set, edge-triggered, for
 * hangups only. A thread of its own sleeps on the set and closes the handle of each placeholder
 * whose last reference went away, however that came about. That is soon, but not at once; so a
 * thread that is about to make a device call asks first:
 *
 * <ul>
 *   <li>{@link #reapClosing}, before every device call: costs one read unless a close was let
 *       through a moment ago. With it, close and then bind of the same port works.
 *   <li>{@link #reapGone}, before a call whose outcome may hang on closes that no notification told
 *       of (exit of a child, exec, dup2): looks at the whole set.
 * </ul>
 *
 * <p>The end of a file that could only be read is in no hurry ({@link OpenFile#quiet}): such ends
 * are collected for {@link #LATE_NANOS}, and so is the news of them. {@link #settleLate} carries
 * them out, before a call that could tell.
 *
 * <p>Events are taken from the set and acted on under one lock, so that a caller of {@code
 * reapGone} never returns while another thread is still busy with an event that it has taken.
 *
 * <p>Bounded by {@link #capacity}, which the caller derives from the hook's own limit of
 * descriptors. Any thread may call any method.
 */
final class Placeholders implements AutoCloseable {
  /** Closes open files on the device. */
  interface HandleCloser {
    /**
     * Closes the handle there. Returns once that is done, or sure to be done before whatever is
     * called next; but without waiting for long: a close that lingers goes on in the background.
     */
    void close(int handle);

    /** As {@link #close} of each. */
    default void closeAll(int[] handles) {
      for (int handle : handles) {
        close(handle);
      }
    }
  }

  // struct epoll_event is packed on x86-64: events at 0, data at 4.
  private static final int EVENT_BYTES = 12;
  private static final int EVENT_DATA = 4;
  private static final int EVENTS_AT_ONCE = 64;

  // struct inotify_event, whose name is empty here: wd at 0, mask at 4, the name's length at 12.
  private static final int CLOSE_EVENT_BYTES = 16;
  private static final int CLOSES_BYTES = 64 * CLOSE_EVENT_BYTES;

  private static final MemorySegment ONE = Arena.global().allocate(Long.BYTES, 8);

  static {
    ONE.set(ValueLayout.JAVA_LONG, 0, 1);
  }

  private static final int HANDLE_CHUNKS = 1024;
  private static final int HANDLES_A_CHUNK = 1024;

  /** So many closes in flight are kept before those that have happened are looked for. */
  private static final int CLOSES_KEPT = 512;

  /** For how long ends that may wait are collected. */
  private static final long LATE_NANOS = 5_000_000L;

  /** So many at most. */
  private static final int MAX_LATE = PseudoCall.MAX_CLOSES;

  /** A close that was let through ends in this time, unless the thread was stopped or killed. */
  private static final long CLOSE_NANOS = 200_000_000L;

  private final HandleCloser closer;
  private final int capacity;
  private final ConcurrentHashMap<Long, Placeholder> byInode = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<Long, Placeholder> memoryByInode = new ConcurrentHashMap<>();
  // Memory files by the number of the watch over their closes.
  private final ConcurrentHashMap<Integer, Placeholder> byWatch = new ConcurrentHashMap<>();
  // By handle, in chunks that are made when first needed; a look-up allocates nothing.
  private final AtomicReferenceArray<@Nullable AtomicReferenceArray<@Nullable Placeholder>>
      byHandle = new AtomicReferenceArray<>(HANDLE_CHUNKS);

  private final Arena arena = Arena.ofShared();
  private final int epoll;
  // An event for the watcher: the first end that waits, or its own end.
  private final int wake;
  private final int inotify;
  private final Object drainLock = new Object();
  private final MemorySegment events = arena.allocate(EVENT_BYTES * EVENTS_AT_ONCE, 8);
  private final MemorySegment closes = arena.allocate(CLOSES_BYTES, 8);
  private final MemorySegment pollfds = arena.allocate(24, 8);
  private final MemorySegment woken = arena.allocate(Long.BYTES, 8);
  private final Thread watcher;

  // Held while they are closed, so that whoever settles them returns only when all are.
  private final Object lateLock = new Object();
  // Handles; guarded by drainLock.
  private final int[] late = new int[MAX_LATE];
  private volatile int lateCount;

  private final Object closingLock = new Object();
  private final List<Placeholder> closing = new ArrayList<>();
  // Written under closingLock, read without: the common case is that no close is in flight.
  private volatile int closingCount;

  private final AtomicInteger inexact = new AtomicInteger();
  private final AtomicLong created = new AtomicLong();
  private final AtomicLong reaped = new AtomicLong();
  private volatile boolean closed;

  /**
   * @param closer called on the watcher thread and on threads that reap, never under a
   *     placeholder's lock
   * @param capacity how many placeholders there may be at a time
   */
  Placeholders(HandleCloser closer, int capacity) {
    this.closer = closer;
    this.capacity = capacity;
    this.epoll = (int) Linux.epollCreate(Poll.EPOLL_CLOEXEC);
    this.wake = (int) Linux.eventfd(0, File.EFD_CLOEXEC | File.EFD_NONBLOCK);
    this.inotify =
        (int) Linux.syscall(SyscallNumbers.INOTIFY_INIT1, Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC);
    if (epoll < 0 || wake < 0 || inotify < 0) {
      throw new IllegalStateException("no descriptors left for the hook itself");
    }
    this.watcher = Thread.ofPlatform().name("outboard-hangup").daemon().start(this::watch);
  }

  /**
   * Makes the placeholder of a new open file of the device. The caller installs {@link
   * Placeholder#endB} in the program and then calls {@link Placeholder#releaseEndB}; doing the
   * second without the first gives the file up.
   *
   * @return null when the bound is reached or the hook lacks descriptors or memory: ENFILE. The
   *     handle is the caller's to close then.
   */
  @Nullable Placeholder create(int handle, boolean nonBlocking, boolean connected) {
    return live() >= capacity
        ? null
        : add(Placeholder.open(handle, nonBlocking, connected, inexact));
  }

  /** The same for a regular file of the device, whose placeholder is a memory file. */
  @Nullable Placeholder createMemory(int handle, byte[] name, boolean endsUnseen) {
    if (live() >= capacity) {
      settleLate(); // News of some may be waiting.
    }
    return live() >= capacity
        ? null
        : add(Placeholder.openMemory(handle, name, endsUnseen, inexact));
  }

  private @Nullable Placeholder add(@Nullable Placeholder p) {
    if (p == null) {
      return null;
    }
    (p.memory() ? memoryByInode : byInode).put(p.inode(), p);
    if (!place(p) || register(p) < 0) {
      forget(p);
      p.close();
      return null;
    }
    created.incrementAndGet();
    return p;
  }

  /** Gives up a placeholder that the program never had; the handle is the caller's again. */
  void discard(Placeholder p) {
    synchronized (drainLock) {
      if (!p.gone()) {
        forget(p);
        p.close();
        reaped.incrementAndGet();
      }
    }
  }

  /** The placeholder whose end B has this inode, or null. */
  @Nullable Placeholder byInode(long inode) {
    return byInode.get(inode);
  }

  /** The memory file with this inode, or null. */
  @Nullable Placeholder memoryByInode(long inode) {
    return memoryByInode.get(inode);
  }

  /** The placeholder of an open file of the device, or null. */
  @Nullable Placeholder byHandle(int handle) {
    if (handle < 0 || handle >= HANDLE_CHUNKS * HANDLES_A_CHUNK) {
      return null;
    }
    AtomicReferenceArray<@Nullable Placeholder> chunk = byHandle.get(handle / HANDLES_A_CHUNK);
    return chunk == null ? null : chunk.get(handle % HANDLES_A_CHUNK);
  }

  /** How many there are. */
  int live() {
    return (int) (created.get() - reaped.get());
  }

  /** Whether some file's readiness is such that its placeholder cannot show it. */
  boolean anyInexact() {
    return inexact.get() > 0;
  }

  long created() {
    return created.get();
  }

  /** How many ended, each with one close on the device. */
  long reaped() {
    return reaped.get();
  }

  /** Calls {@code action} for each placeholder; those that come or go meanwhile may be missed. */
  void forEach(java.util.function.Consumer<Placeholder> action) {
    byInode.values().forEach(action);
    memoryByInode.values().forEach(action);
  }

  /**
   * Notes that a close of a descriptor of this placeholder is about to be let through to the host's
   * kernel. Called before the notification is answered.
   */
  void closing(Placeholder p) {
    synchronized (closingLock) {
      p.closeDeadline = System.nanoTime() + CLOSE_NANOS;
      if (!p.inClosingList) {
        if (closing.size() >= CLOSES_KEPT) {
          dropClosed();
        }
        p.inClosingList = true;
        closing.add(p);
      }
      closingCount = closing.size();
    }
  }

  /** Acts on those closes in flight that have happened by now. */
  void reapClosing() {
    if (closingCount == 0) {
      return;
    }
    Placeholder[] candidates;
    synchronized (closingLock) {
      candidates = closing.toArray(new Placeholder[0]);
    }
    synchronized (drainLock) {
      takeCloses();
      for (Placeholder p : candidates) {
        reap(p);
      }
    }
    synchronized (closingLock) {
      dropClosed();
      closingCount = closing.size();
    }
  }

  /** Under {@link #closingLock}. */
  private void dropClosed() {
    long now = System.nanoTime();
    closing.removeIf(p -> {
      // What outlives its deadline has other references; the watcher takes care of it.
      if (p.gone() || p.closeDeadline - now < 0) {
        p.inClosingList = false;
        return true;
      }
      return false;
    });
  }

  /**
   * Acts on the last closes of memory files that have happened by now. The one open file that is
   * watched is the program's: the kernel reports the end of an open file, however it came about,
   * and not of the hook's own, which was never opened by a path. Under {@link #drainLock}.
   */
  private void takeCloses() {
    if (memoryByInode.isEmpty()) {
      return;
    }
    long n;
    while ((n = Linux.read(inotify, closes.address(), CLOSES_BYTES)) > 0) {
      for (long at = 0; at + CLOSE_EVENT_BYTES <= n; ) {
        int watch = closes.get(ValueLayout.JAVA_INT, at);
        int mask = closes.get(ValueLayout.JAVA_INT, at + 4);
        at += CLOSE_EVENT_BYTES + closes.get(ValueLayout.JAVA_INT, at + 12);
        Placeholder p = byWatch.get(watch);
        if (p != null && (mask & File.IN_CLOSE) != 0) {
          p.closed = true;
          reap(p);
        }
      }
    }
  }

  /** Carries out what may wait, up to all last closes that have happened by now. */
  void settleLate() {
    if (lateCount == 0 && memoryByInode.isEmpty()) {
      return;
    }
    synchronized (lateLock) {
      int[] handles;
      synchronized (drainLock) {
        if (closed) {
          return;
        }
        takeCloses();
        handles = Arrays.copyOf(late, lateCount);
        lateCount = 0;
      }
      closer.closeAll(handles);
    }
  }

  /** Acts on all last closes that have happened by now, whatever caused them. */
  void reapGone() {
    synchronized (drainLock) {
      if (closed) {
        return;
      }
      long n;
      do {
        n = Linux.epollWait(epoll, events.address(), EVENTS_AT_ONCE, 0);
        for (int i = 0; i < n; i++) {
          Placeholder p =
              byInode.get(
                  events.get(ValueLayout.JAVA_LONG_UNALIGNED, i * EVENT_BYTES + EVENT_DATA));
          if (p != null) {
            reap(p);
          }
        }
      } while (n == EVENTS_AT_ONCE || n == -Errno.EINTR);
      takeCloses();
    }
  }

  /**
   * Ends the watcher and closes all ends A; handles on the device are left to the session's end.
   */
  @Override
  public void close() {
    synchronized (drainLock) {
      if (closed) {
        return;
      }
      closed = true;
    }
    nudge();
    Uninterrupted.join(watcher);
    synchronized (drainLock) {
      forEach(p -> {
        forget(p);
        p.close();
        reaped.incrementAndGet();
      });
    }
    Linux.close(inotify);
    Linux.close(epoll);
    Linux.close(wake);
    arena.close();
  }

  private void watch() {
    pollfds.set(ValueLayout.JAVA_INT, 0, epoll);
    pollfds.set(ValueLayout.JAVA_SHORT, 4, (short) Poll.POLLIN);
    pollfds.set(ValueLayout.JAVA_INT, 8, wake);
    pollfds.set(ValueLayout.JAVA_SHORT, 12, (short) Poll.POLLIN);
    pollfds.set(ValueLayout.JAVA_INT, 16, inotify);
    pollfds.set(ValueLayout.JAVA_SHORT, 20, (short) Poll.POLLIN);
    long end = 0;
    for (boolean collecting = false; ; ) {
      long left = collecting ? Math.max(0, end - System.nanoTime()) : -1;
      pollfds.set(ValueLayout.JAVA_INT, 16, collecting ? -1 : inotify);
      // Looks, but takes nothing: events are taken under the lock only.
      Linux.poll(pollfds.address(), 3, left < 0 ? -1 : (int) ((left + 999_999) / 1_000_000));
      if (closed) {
        return;
      }
      Linux.read(wake, woken.address(), Long.BYTES);
      if (collecting && end - System.nanoTime() <= 0) {
        settleLate();
        collecting = false;
      }
      reapGone();
      if (!collecting && lateCount > 0) {
        collecting = true;
        end = System.nanoTime() + LATE_NANOS;
      }
    }
  }

  /** Wakes the watcher. */
  private void nudge() {
    Linux.write(wake, ONE.address(), Long.BYTES);
  }

  /** Under {@link #drainLock}. */
  private void reap(Placeholder p) {
    if (!p.reap()) {
      return;
    }
    // In this order: once closed on the device, the handle may be given to a new file at once.
    forget(p);
    int n = lateCount;
    if (n < MAX_LATE && p.endsUnseen()) {
      late[n] = p.handle();
      lateCount = n + 1;
      if (n == 0 && !Thread.currentThread().equals(watcher)) {
        nudge();
      }
    } else {
      closer.close(p.handle());
    }
    reaped.incrementAndGet();
  }

  private void forget(Placeholder p) {
    (p.memory() ? memoryByInode : byInode).remove(p.inode(), p);
    if (p.watchDescriptor >= 0) {
      byWatch.remove(p.watchDescriptor);
      // Fails if the watch went with the inode.
      Linux.syscall(SyscallNumbers.INOTIFY_RM_WATCH, inotify, p.watchDescriptor, 0);
    }
    int handle = p.handle();
    AtomicReferenceArray<@Nullable Placeholder> chunk =
        handle < HANDLE_CHUNKS * HANDLES_A_CHUNK ? byHandle.get(handle / HANDLES_A_CHUNK) : null;
    if (chunk != null) {
      chunk.compareAndSet(handle % HANDLES_A_CHUNK, p, null);
    }
  }

  private boolean place(Placeholder p) {
    int handle = p.handle();
    if (handle >= HANDLE_CHUNKS * HANDLES_A_CHUNK) {
      return false;
    }
    int index = handle / HANDLES_A_CHUNK;
    AtomicReferenceArray<@Nullable Placeholder> chunk = byHandle.get(index);
    if (chunk == null) {
      AtomicReferenceArray<@Nullable Placeholder> made =
          new AtomicReferenceArray<>(HANDLES_A_CHUNK);
      byHandle.compareAndSet(index, null, made);
      chunk = java.util.Objects.requireNonNull(byHandle.get(index));
    }
    chunk.set(handle % HANDLES_A_CHUNK, p);
    return true;
  }

  private long register(Placeholder p) {
    try (Arena a = Arena.ofConfined()) {
      if (p.memory()) {
        MemorySegment path = Linux.cString(a, "/proc/self/fd/" + p.endA());
        long watch =
            Linux.syscall(SyscallNumbers.INOTIFY_ADD_WATCH, inotify, path.address(), File.IN_CLOSE);
        if (watch >= 0) {
          p.watchDescriptor = (int) watch;
          byWatch.put((int) watch, p);
        }
        return watch;
      }
      MemorySegment event = a.allocate(EVENT_BYTES, 8);
      event.set(ValueLayout.JAVA_INT, 0, Poll.EPOLLET);
      event.set(ValueLayout.JAVA_LONG_UNALIGNED, EVENT_DATA, p.inode());
      return Linux.epollCtl(epoll, Poll.EPOLL_CTL_ADD, p.endA(), event.address());
    }
  }
}
