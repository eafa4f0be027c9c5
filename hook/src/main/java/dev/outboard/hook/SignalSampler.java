// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.CallSlot;
import dev.outboard.channel.DeviceLink;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Uninterrupted;
import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Ends blocked device calls, and the hook's waits for descriptors of the host, when their thread
 * has a signal to act on.
 *
 * <p>A thread that waits in a received notification can be killed, but takes no other signal, and
 * the hook is told of none. So one thread looks at the pending signals of all threads that have
 * been blocked for 2 ms, every 5 ms ({@code /proc/TID/status}, some 6 µs each through a descriptor
 * that is kept open; with many blocked threads the period grows so that looking takes at most a
 * fifth of one CPU). When it finds one, the shadow thread's call is interrupted, and its end is
 * answered with -ERESTARTSYS: the host's kernel then makes of it EINTR or a restart, as the
 * handler's SA_RESTART says.
 *
 * <p>That number would reach the program if the thread had no work pending when it returns. It may
 * only be answered when the thread's TIF_SIGPENDING is <em>certainly</em> set. Nothing but the
 * thread itself clears that flag, and it is asleep until it is answered; so it is enough that the
 * flag was set once since (kernel/signal.c):
 *
 * <ul>
 *   <li>A signal is pending for this thread alone, not blocked: complete_signal() has woken it.
 *   <li>A signal is pending for the process, which has no other thread: likewise.
 *   <li>A signal is pending for a process of several threads: the kernel has woken one of them,
 *       which need not be this one, nor the first. Then the flag is <em>made</em> certain by {@link
 *       Seizer}: PTRACE_INTERRUPT sets it, whatever signals there are. If that is impossible (a
 *       debugger is attached) the signal waits until the call ends.
 *   <li>Another thread of the process is stopped (state T): do_signal_stop() has woken all. Not
 *       relied on if a debugger is attached, which can resume single threads.
 * </ul>
 *
 * <p>Any notifier thread may call; the state is under one lock.
 */
final class SignalSampler implements AutoCloseable {
  private static final long PERIOD_NANOS = 5_000_000;

  /** Looking may take this part of one CPU: a fifth. */
  private static final int SHARE = 5;

  private static final long PROBE_NANOS = 50_000_000;

  /** What an eventfd is written to with. */
  private static final MemorySegment ONE = Arena.global().allocateFrom(ValueLayout.JAVA_LONG, 1);

  private final DeviceLink link;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition some = lock.newCondition();
  private final List<ThreadEntry> blocked = new ArrayList<>();
  private final Seizer seizer = new Seizer(this);
  private final Thread thread;
  private volatile boolean stopping;
  private long samples;
  private long interrupts;

  SignalSampler(DeviceLink link) {
    this.link = link;
    this.thread = Thread.ofPlatform().name("outboard-signals").daemon().unstarted(this::run);
  }

  void start() {
    thread.start();
    seizer.start();
  }

  /** The thread's call in {@code slot} has been pending for some time: looks after it. */
  void blocked(ThreadEntry t, long id, CallSlot slot) {
    blocked(t, id, slot.sequence(), -1);
  }

  /**
   * The thread's call waits for a descriptor of the host: looks after it.
   *
   * @param event an eventfd, written to in order to end the wait; it stays open until {@link
   *     #ended}
   */
  void blockedOnHost(ThreadEntry t, long id, int event) {
    blocked(t, id, 0, event);
  }

  private void blocked(ThreadEntry t, long id, int sequence, int event) {
    lock.lock();
    try {
      t.blockedId = id;
      t.blockedSequence = sequence;
      t.blockedEvent = event;
      t.interrupted = false;
      t.certain = false;
      blocked.add(t);
      if (blocked.size() == 1) {
        some.signal();
      }
      // A process that died before it was listed here will not be reported again.
      if (t.dead()) {
        interrupt(t);
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * The call has ended.
   *
   * @return whether -ERESTARTSYS may be answered
   */
  boolean ended(ThreadEntry t) {
    lock.lock();
    try {
      blocked.remove(t);
      t.blockedId = 0;
      return t.certain;
    } finally {
      lock.unlock();
    }
  }

  /** A thread is gone: frees what is kept for it. */
  void threadEnded(ThreadEntry t) {
    lock.lock();
    try {
      if (t.statusFd >= 0) {
        Linux.close(t.statusFd);
        t.statusFd = -1;
      }
      if (t.blockedId != 0) {
        interrupt(t);
      }
    } finally {
      lock.unlock();
    }
  }

  /** How many looks there were. */
  long samples() {
    return samples;
  }

  /** How many calls were interrupted. */
  long interrupts() {
    return interrupts;
  }

  /** The seizer has made sure that the thread's flag is set, if it waits in that call still. */
  void seized(ThreadEntry t, long id, boolean success) {
    lock.lock();
    try {
      t.seizing = false;
      if (success && t.blockedId == id) {
        t.certain = true;
        t.process().stopProbe = t.tid();
        interrupt(t);
      }
    } finally {
      lock.unlock();
    }
  }

  /** Under the lock. */
  private void interrupt(ThreadEntry t) {
    if (t.interrupted) {
      return;
    }
    CallSlot slot = t.slot();
    if (t.blockedEvent >= 0) {
      t.interrupted = true;
      interrupts++;
      Linux.write(t.blockedEvent, ONE.address(), Long.BYTES);
    } else if (slot != null) {
      t.interrupted = true;
      interrupts++;
      link.interrupt(slot, t.blockedSequence);
    }
  }

  private void run() {
    try (Arena arena = Arena.ofConfined()) {
      TaskStatus status = new TaskStatus(arena);
      MemorySegment clock = arena.allocate(16, 8);
      List<ThreadEntry> now = new ArrayList<>();
      while (!stopping) {
        now.clear();
        lock.lock();
        try {
          while (blocked.isEmpty() && !stopping) {
            some.awaitUninterruptibly();
          }
          now.addAll(blocked);
        } finally {
          lock.unlock();
        }
        if (stopping) {
          return; // at once: close() waits
        }
        // CPU time: what passes while others have the CPU is no reason to look later still.
        long before = Linux.threadCpuNanos(clock);
        long started = System.nanoTime();
        for (int i = 0; i < now.size(); i++) {
          sample(now.get(i), status, started);
        }
        long took = Linux.threadCpuNanos(clock) - before;
        LockSupport.parkNanos(Math.max(PERIOD_NANOS, took * SHARE));
      }
    }
  }

  private void sample(ThreadEntry t, TaskStatus status, long now) {
    long id;
    lock.lock();
    try {
      id = t.blockedId;
      if (id == 0 || t.certain || t.interrupted) {
        return;
      }
      if (t.statusFd < 0) {
        long fd = open(t);
        if (fd >= 0) {
          t.statusFd = (int) fd;
        }
      }
      samples++;
      if (t.statusFd < 0 || status.read(t.statusFd) < 0 || status.state == 'Z') {
        interrupt(t);
        return;
      }
      long own = status.pending & ~status.blocked;
      long shared = status.sharedPending & ~status.blocked;
      if (own != 0 || (shared != 0 && status.threads == 1)) {
        t.certain = true;
        interrupt(t);
      } else if (shared != 0) {
        if (!t.seizing && status.tracer == 0) {
          t.seizing = true;
          seizer.seize(t, id);
        }
      } else if (status.threads > 1 && status.tracer == 0 && stopped(t, status, now)) {
        t.certain = true;
        interrupt(t);
      }
    } finally {
      lock.unlock();
    }
  }

  private static long open(ThreadEntry t) {
    try (Arena a = Arena.ofConfined()) {
      return TaskStatus.open(a, t.tid());
    }
  }

  /**
   * Whether a thread of this one's process is stopped. Under the lock.
   *
   * <p>One thread outside of notifications is as good as any: a stop concerns all.
   */
  private boolean stopped(ThreadEntry t, TaskStatus status, long now) {
    ProcessEntry p = t.process();
    if (p.stopProbe == 0 || isBlocked(p.stopProbe)) {
      if (now - p.probedAt < PROBE_NANOS) {
        return false;
      }
      p.probedAt = now;
      p.stopProbe = findProbe(p);
      if (p.stopProbe == 0) {
        return false;
      }
    }
    int probe = p.stopProbe;
    try (Arena a = Arena.ofConfined()) {
      if (status.read(a, probe) < 0 || status.tgid != p.pid()) {
        p.stopProbe = 0;
        return false;
      }
    }
    return status.state == 'T';
  }

  private boolean isBlocked(int tid) {
    for (int i = 0; i < blocked.size(); i++) {
      if (blocked.get(i).tid() == tid) {
        return true;
      }
    }
    return false;
  }

  private int findProbe(ProcessEntry p) {
    String @Nullable [] tids = new File("/proc/" + p.pid() + "/task").list();
    if (tids != null) {
      for (String name : tids) {
        int tid = Integer.parseInt(name);
        if (!isBlocked(tid)) {
          return tid;
        }
      }
    }
    return 0;
  }

  /** Ends the threads. No call may be blocked any more. */
  @Override
  public void close() {
    stopping = true;
    lock.lock();
    try {
      some.signal();
    } finally {
      lock.unlock();
    }
    LockSupport.unpark(thread);
    Uninterrupted.join(thread);
    seizer.close();
  }

  /**
   * Sets TIF_SIGPENDING of a thread beyond doubt, by {@code ptrace(2)}.
   *
   * <p>PTRACE_SEIZE stops nothing; PTRACE_INTERRUPT asks the thread to trap and sets the flag. When
   * its call has been answered the thread goes through get_signal(), traps there before it takes
   * any signal, and is detached; then it takes the signal if there is one, and otherwise restarts
   * its call. All of this from one thread, as ptrace demands.
   */
  private static final class Seizer {
    private static final long POLL_NANOS = 300_000;
    private static final int WNOHANG = Processes.WNOHANG;

    private record Request(ThreadEntry thread, long id) {}

    private final SignalSampler sampler;
    private final ArrayList<Request> requests = new ArrayList<>();
    private final Thread thread;
    private boolean stopping;

    Seizer(SignalSampler sampler) {
      this.sampler = sampler;
      this.thread = Thread.ofPlatform().name("outboard-seizer").daemon().unstarted(this::run);
    }

    void start() {
      thread.start();
    }

    synchronized void seize(ThreadEntry t, long id) {
      requests.add(new Request(t, id));
      notifyAll();
    }

    void close() {
      synchronized (this) {
        stopping = true;
        notifyAll();
      }
      Uninterrupted.join(thread);
    }

    private void run() {
      List<Integer> traced = new ArrayList<>();
      List<Request> taken = new ArrayList<>();
      for (; ; ) {
        synchronized (this) {
          while (requests.isEmpty() && traced.isEmpty() && !stopping) {
            try {
              wait();
            } catch (InterruptedException e) {
              // Nobody interrupts this thread; it ends by close() alone.
            }
          }
          if (stopping && traced.isEmpty()) {
            return;
          }
          taken.addAll(requests);
          requests.clear();
        }
        for (Request r : taken) {
          int tid = r.thread().tid();
          boolean success = Processes.ptrace(Processes.PTRACE_SEIZE, tid, 0, 0) == 0;
          if (success) {
            traced.add(tid);
            success = Processes.ptrace(Processes.PTRACE_INTERRUPT, tid, 0, 0) == 0;
          }
          sampler.seized(r.thread(), r.id(), success);
        }
        taken.clear();
        traced.removeIf(Seizer::released);
        if (!traced.isEmpty()) {
          LockSupport.parkNanos(POLL_NANOS);
        }
      }
    }

    /** Detaches a thread that has trapped; whether it is no longer traced, or gone. */
    private static boolean released(int tid) {
      try (Arena a = Arena.ofConfined()) {
        // Its call may have ended before it was seized: then it may have stopped for a signal.
        // ESRCH: it has not trapped yet, or is gone.
        if (Processes.detach(tid, a.allocate(Processes.SIGINFO_BYTES, 8)) == 0) {
          return true;
        }
        TaskStatus status = new TaskStatus(a);
        boolean gone = status.read(a, tid) < 0 || status.state == 'Z';
        if (gone) {
          // A dead thread stays until its tracer has seen its end.
          Processes.waitTask(tid, 0, WNOHANG);
        }
        // A tracer is a thread, and is named by its own number.
        return gone || status.tracer != Processes.gettid();
      }
    }
  }
}
