// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.channel.Frame;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * What the watched handles of a session are ready for, and the edges by which that changes.
 *
 * <p>One edge-triggered epoll in the device's kernel watches them all. Whoever takes an event out
 * of it, the session's watcher thread or a SYNC, <i>samples</i> the handle: under the handle's own
 * lock it takes a stamp from the session's clock and then polls. Stamps are handed out before the
 * poll and under the lock, so of two samples of a handle the one with the newer stamp was polled
 * later: a receiver that ignores all but the newest knows the newest truth.
 *
 * <p><b>No edge is lost.</b> The kernel queues an event when the file wakes its waiters and takes
 * it off when it is fetched. What happens before the fetch is in the sample that follows it; what
 * happens after it queues the event again. Each fetched event is counted as an edge of its handle.
 * The watcher sends the count in a Ready frame, a SYNC returns it; a SYNC also returns what the
 * watcher has fetched since the caller's last SYNC, as the frame may still be on its way, and the
 * count keeps the frame from being taken for another edge.
 *
 * <p><b>Edges that are no news wait a little.</b> More data for a handle that is ready for reading
 * already is an edge, and a frame to the host and a wake-up there for every segment of a stream
 * cost more than its bytes. After such edges alone the watcher rests for {@link #REST_NANOS},
 * unless somebody waits for a signal and not by a look; what comes meanwhile is merged, as it is in
 * an epoll set whose owner is busy. A SYNC, which comes with each look of the program, does not
 * rest.
 *
 * <p><b>No edge is made up.</b> The kernel queues an event when a file that is ready is added,
 * which is no edge for a program that learns of the state at the same moment. So fetching and
 * sampling are one step under the fetch lock, and {@link #watch} adds, fetches and samples in one
 * such step: what it fetches of its own handle is in its own sample. The watcher waits by polling
 * the epoll, which takes nothing out of it.
 *
 * <p><b>Handles that go.</b> A fetched event may name a handle that has been closed since, or whose
 * number is now another file's. The first is not found; the second is sampled, which is harmless:
 * the sample is true. A watch is dropped with its handle (the kernel drops its part when the file
 * is closed), so a new handle starts unwatched.
 *
 * <p>Any thread with a task may call any method, with scratch memory of its own.
 */
final class Readiness {
  /** How long the watcher rests after edges that were no news. */
  static final long REST_NANOS = Long.getLong("outboard.rest.nanos", 250_000);

  /** Bytes of scratch memory that the methods here need. */
  static final long SCRATCH_BYTES = 4096;

  private static final int MAX_EVENTS = 192;

  // Scratch: the events first, then a time and a pollfd.
  private static final int EVENTS = 0;
  private static final int POLLFD = 4096 - 64;

  /** All that poll can say. */
  private static final int ALL =
      Poll.POLLIN
          | Poll.POLLPRI
          | Poll.POLLOUT
          | Poll.POLLRDNORM
          | Poll.POLLRDBAND
          | Poll.POLLWRNORM
          | Poll.POLLWRBAND
          | Poll.POLLRDHUP;

  /** What is watched for: poll's POLLERR and POLLHUP come unasked. */
  private static final int WATCHED = Poll.POLLIN | Poll.POLLPRI | Poll.POLLOUT | Poll.POLLRDHUP;

  /** A watched handle. */
  static final class Watch {
    final int handle;
    private final Handles.Handle subject;

    // Guarded by this watch.
    private int mask;
    private long stamp;
    private int edges;

    // Guarded by the Readiness: the place in the list of changes, and when it came there.
    private long changed;
    private @Nullable Watch newer;
    private @Nullable Watch older;
    private boolean unsampled;
    private boolean prompt;

    Watch(Handles.Handle subject) {
      this.handle = subject.fd;
      this.subject = subject;
    }
  }

  private final Kernel kernel;
  private final int eventBytes;
  private final int eventData;
  private final Handles handles;
  private final Runnable onTrouble;
  private final AtomicLong clock = new AtomicLong();

  /** The fetch lock: taken before a watch's lock and before this object's. */
  private final Object fetching = new Object();

  private int epoll = -1;

  // Guarded by this: watches that calls of lent slots may have changed, each once.
  private final List<Watch> unsampled = new ArrayList<>();

  // Guarded by this: all watches, newest change first.
  private @Nullable Watch newest;
  private long changes;
  private int watched;

  /** Watches whose edges are awaited by nobody who looks: written under this. */
  private volatile int prompt;

  /**
   * @param onTrouble called when a handle is seen to have an error or a hang-up, or is closed; does
   *     not wait
   */
  Readiness(Kernel kernel, Handles handles, Runnable onTrouble) {
    this.onTrouble = onTrouble;
    this.kernel = kernel;
    this.eventBytes = kernel.abi().epollEventBytes();
    this.eventData = kernel.abi().epollEventData();
    this.handles = handles;
  }

  /**
   * Makes the epoll. Called once, by the session's first task.
   *
   * @return 0 or {@code -errno}
   */
  long open() {
    long fd = kernel.syscall(Canonical.EPOLL_CREATE1, Poll.EPOLL_CLOEXEC, 0, 0, 0, 0, 0);
    if (fd < 0) {
      return fd;
    }
    epoll = (int) fd;
    return 0;
  }

  /** Closes the epoll, after the last use of anything else here. */
  void close() {
    if (epoll >= 0) {
      kernel.syscall(Canonical.CLOSE, epoll, 0, 0, 0, 0, 0);
      epoll = -1;
    }
  }

  /** Whether edges of some handle must not be held back, since somebody makes signals of them. */
  boolean anyPrompt() {
    return prompt > 0;
  }

  /** How many handles are watched. */
  synchronized int watched() {
    return watched;
  }

  /**
   * Starts to watch a handle, if it is not watched yet, and samples it. The caller has entered it.
   *
   * @param promptly whether its edges are to be told at once from now on
   * @param out receives the sample
   * @param edges receives edges of other handles that came to light; the caller sends them
   * @return 0 or {@code -errno}
   */
  long watch(
      Handles.Handle handle,
      boolean promptly,
      MemorySegment scratch,
      Sample out,
      List<Frame.Sample> edges) {
    synchronized (fetching) {
      Watch watch = handle.watch;
      if (watch == null) {
        watch = new Watch(handle);
        add(watch);
        handle.watch = watch;
        long r = control(Poll.EPOLL_CTL_ADD, handle.fd, scratch);
        // EPERM: the file cannot be polled; poll(2) calls it always ready, and so does a sample.
        if (r < 0 && r != -Errno.EPERM) {
          handle.watch = null;
          remove(watch);
          return r;
        }
        fetchAndSample(scratch, out, watch, edges);
      }
      if (promptly) {
        beginPrompt(watch);
      }
      sample(watch, scratch, out);
      return 0;
    }
  }

  /** Stops to watch a handle. The caller has entered it. */
  void unwatch(Handles.Handle handle, MemorySegment scratch) {
    synchronized (fetching) {
      Watch watch = handle.watch;
      if (watch != null) {
        handle.watch = null;
        control(Poll.EPOLL_CTL_DEL, handle.fd, scratch);
        remove(watch);
      }
    }
  }

  /** Forgets a handle whose last user is about to close it in the kernel. */
  private void forget(Handles.Handle handle) {
    // The last user: no other can be in watch() or unwatch() with it.
    Watch watch = handle.watch;
    if (watch != null) {
      handle.watch = null;
      remove(watch);
    }
  }

  /**
   * Polls a handle and stamps the answer.
   *
   * @param out receives mask and stamp
   */
  void sample(Watch watch, MemorySegment scratch, Sample out) {
    synchronized (watch) {
      long stamp = clock.incrementAndGet();
      int mask = poll(watch.subject, scratch);
      watch.mask = mask;
      watch.stamp = stamp;
      out.mask = mask;
      out.stamp = stamp;
    }
  }

  /**
   * A call on a handle was made of which the hook does not know: the next sync samples it, and
   * tells. The caller has entered the handle.
   */
  void touched(Handles.Handle handle) {
    Watch watch = handle.watch;
    if (watch != null) {
      synchronized (this) {
        if (!watch.unsampled) {
          watch.unsampled = true;
          unsampled.add(watch);
        }
      }
    }
  }

  private void sampleTouched(MemorySegment scratch, Sample out) {
    List<Watch> all;
    synchronized (this) {
      if (unsampled.isEmpty()) {
        return;
      }
      all = List.copyOf(unsampled);
      unsampled.clear();
      for (Watch watch : all) {
        watch.unsampled = false;
      }
    }
    for (Watch watch : all) {
      Handles.Handle handle = handles.enter(watch.handle);
      if (handle != null) {
        if (handle.watch == watch) {
          sample(watch, scratch, out);
          touch(watch);
        }
        closeIfLast(handle);
      }
    }
  }

  /** The result of a sample; reused. */
  static final class Sample {
    int mask = -1;
    long stamp;

    void none() {
      mask = -1;
      stamp = 0;
    }
  }

  /** What a handle is ready for, as {@code poll(2)} with all bits asked for says it. */
  int poll(Handles.Handle handle, MemorySegment scratch) {
    int mask =
        Pollfds.now(kernel, scratch, POLLFD, handle.fd, ALL) | (handle.failed() ? Poll.POLLERR : 0);
    if ((mask & (Poll.POLLERR | Poll.POLLHUP)) != 0) {
      onTrouble.run();
    }
    return mask;
  }

  /**
   * Waits until there are edges. For the session's watcher thread.
   *
   * @return false if the wait was interrupted
   */
  boolean awaitEdges(MemorySegment scratch) {
    Pollfds.set(scratch, POLLFD, 0, epoll, Poll.POLLIN);
    return Pollfds.poll(kernel, scratch, POLLFD, 1, Pollfds.ENDLESS) > 0;
  }

  /**
   * Fetches the edges that wait in the kernel and samples what had them.
   *
   * @param edges receives the samples
   * @return whether one of them is news: a handle is ready for something that it was not ready for
   *     when it was sampled before
   */
  boolean edges(MemorySegment scratch, List<Frame.Sample> edges) {
    synchronized (fetching) {
      return fetchAndSample(scratch, new Sample(), null, edges);
    }
  }

  /**
   * Fetches the edges that wait in the kernel and writes a sample of every handle that has changed
   * since an earlier sync.
   *
   * @param since what an earlier call has left in {@code out.stamp}, 0 for all watched handles
   * @param data receives the samples, oldest change first
   * @param out its stamp receives what to pass as {@code since} the next time
   * @return how many samples
   */
  long sync(long since, MemorySegment data, MemorySegment scratch, Sample out) {
    synchronized (fetching) {
      fetchAndSample(scratch, out, null, null);
      sampleTouched(scratch, out);
    }
    long room = data.byteSize() / PseudoCall.SAMPLE_BYTES;
    int count = 0;
    synchronized (this) {
      Watch watch = newest;
      Watch first = null;
      while (watch != null && watch.changed > since) {
        first = watch;
        watch = watch.older;
      }
      long upTo = since;
      for (watch = first; watch != null && count < room; watch = watch.newer) {
        int mask;
        long stamp;
        synchronized (watch) {
          mask = PseudoCall.withEdges(watch.mask, watch.edges);
          stamp = watch.stamp;
        }
        long at = (long) count * PseudoCall.SAMPLE_BYTES;
        data.set(ValueLayout.JAVA_INT, at + PseudoCall.SAMPLE_HANDLE, watch.handle);
        data.set(ValueLayout.JAVA_INT, at + PseudoCall.SAMPLE_MASK, mask);
        data.set(ValueLayout.JAVA_LONG, at + PseudoCall.SAMPLE_STAMP, stamp);
        upTo = watch.changed;
        count++;
      }
      out.mask = -1;
      out.stamp = upTo;
    }
    return count;
  }

  /**
   * Fetches all events and samples their handles. The caller holds the fetch lock.
   *
   * @param quiet a watch whose events are not edges, or null
   * @param edges receives the samples; null if the caller is a sync, which reads them from the list
   * @return whether one of the edges is news, see {@link #edges}
   */
  private boolean fetchAndSample(
      MemorySegment scratch,
      Sample out,
      @Nullable Watch quiet,
      @Nullable List<Frame.Sample> edges) {
    boolean news = false;
    long n;
    do {
      n =
          kernel.syscall(
              Canonical.EPOLL_PWAIT, epoll, scratch.address() + EVENTS, MAX_EVENTS, 0, 0, 8);
      for (int i = 0; i < n; i++) {
        int fd =
            scratch.get(ValueLayout.JAVA_INT_UNALIGNED, EVENTS + (long) i * eventBytes + eventData);
        // In use while it is polled: its number must not become another file's meanwhile.
        Handles.Handle handle = handles.enter(fd);
        if (handle == null) {
          continue;
        }
        // Who is told of more than was looked at must find it.
        handle.settleLooks();
        Watch watch = handle.watch;
        if (watch != null && watch != quiet) {
          int count;
          synchronized (watch) {
            count = ++watch.edges;
            int before = watch.mask;
            sample(watch, scratch, out);
            news |= (out.mask & ~before) != 0;
          }
          touch(watch);
          if (edges != null) {
            edges.add(new Frame.Sample(fd, PseudoCall.withEdges(out.mask, count), out.stamp));
          }
        }
        closeIfLast(handle);
      }
      // Fewer than asked for: the list is empty, or an interruption came instead of events.
    } while (n == MAX_EVENTS);
    return news;
  }

  /** Ends a use of a handle, and the handle if that was the last one. */
  void closeIfLast(Handles.Handle handle) {
    if (handles.exit(handle)) {
      closeLast(handle);
    }
  }

  /** Ends a handle whose last use the caller has ended. */
  void closeLast(Handles.Handle handle) {
    forget(handle);
    kernel.syscall(Canonical.CLOSE, handle.fd, 0, 0, 0, 0, 0);
    onTrouble.run(); // For whoever is at the other end.
    handles.gone();
  }

  private long control(int operation, int fd, MemorySegment scratch) {
    scratch.set(ValueLayout.JAVA_INT, EVENTS, WATCHED | Poll.EPOLLET);
    scratch.set(ValueLayout.JAVA_LONG_UNALIGNED, EVENTS + eventData, fd);
    return kernel.syscall(
        Canonical.EPOLL_CTL, epoll, operation, fd, scratch.address() + EVENTS, 0, 0);
  }

  private synchronized void add(Watch watch) {
    watched++;
    link(watch);
  }

  private synchronized void beginPrompt(Watch watch) {
    prompt += watch.prompt ? 0 : 1;
    watch.prompt = true;
  }

  private synchronized void remove(Watch watch) {
    watched--;
    prompt -= watch.prompt ? 1 : 0;
    watch.prompt = false;
    unlink(watch);
    watch.changed = -1;
  }

  /** Makes a watch the newest change, if it has not been removed meanwhile. */
  private synchronized void touch(Watch watch) {
    if (watch.changed >= 0) {
      unlink(watch);
      link(watch);
    }
  }

  private void link(Watch watch) {
    watch.changed = ++changes;
    watch.older = newest;
    watch.newer = null;
    if (newest != null) {
      newest.newer = watch;
    }
    newest = watch;
  }

  private void unlink(Watch watch) {
    Watch newer = watch.newer;
    Watch older = watch.older;
    if (newer != null) {
      newer.older = older;
    } else {
      newest = older;
    }
    if (older != null) {
      older.newer = newer;
    }
    watch.newer = null;
    watch.older = null;
  }
}
