// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SeccompListener;
import dev.outboard.posix.Spawn;
import dev.outboard.posix.Uninterrupted;
import dev.outboard.syscalls.SeccompProgram;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.IntPredicate;

/**
 * Starts the program under the filter, and waits for the processes that become this one's children.
 *
 * <p>A filter comes to be with the thread that installs it and whatever that thread starts, so a
 * thread of its own does both and ends. From the filter on its own trapped calls wait for the
 * notifier. It must not hold anything then that the notifier could need, such as the lock of a
 * class that is being loaded: all that it does after the filter is one downcall that was linked and
 * prepared, and made once, before.
 */
final class Launcher {
  /** What is done once the listener exists. */
  interface Serving {
    /** Starts to serve calls. Returns at once. */
    void serve(SeccompListener listener);

    /** Waits until there is nobody to serve. */
    void awaitEnd();
  }

  private static final int FILTER_BYTES = 8;
  private static final int RT_SIGACTION = 13;
  private static final int SIGNALS_BYTES = 8;
  private static final int SIG_IGN = 1;

  // Signals that the JVM needs for itself, and SIGCHLD, which when ignored would hide children:
  // ILL, TRAP, BUS, FPE, KILL, SEGV, USR2, CHLD, STOP.
  private static final long NEVER_IGNORED =
      bit(4) | bit(5) | bit(7) | bit(8) | bit(9) | bit(11) | bit(12) | bit(17) | bit(19);

  private final HookOptions options;
  private final IntPredicate ownChild;
  private final Runnable withoutPrivileges;
  private final SeccompProgram.Options filter;
  private final int self = Processes.getpid();
  private final Object reapLock = new Object();

  private volatile boolean started;
  private volatile long first;
  private int status;

  /**
   * @param withoutPrivileges called if executed files are to give no identity: no_new_privs; before
   *     the program starts
   * @param filter what the filter depends on
   */
  Launcher(
      HookOptions options,
      IntPredicate ownChild,
      Runnable withoutPrivileges,
      SeccompProgram.Options filter) {
    this.filter = filter;
    this.withoutPrivileges = withoutPrivileges;
    this.options = options;
    this.ownChild = ownChild;
  }

  /** Runs the program; returns when {@link Serving#awaitEnd} does. */
  int run(Serving serving) throws HookException {
    Processes.prctl(Processes.PR_SET_CHILD_SUBREAPER, 1);
    ignoreSignals(options.ignoredSignals() & ~NEVER_IGNORED);
    Start start = new Start();
    Thread t = Thread.ofPlatform().name("outboard-launcher").start(start);
    long listenerFd = start.awaitListener();
    if (listenerFd < 0) {
      Uninterrupted.join(t);
      throw new HookException(HookException.FAILED, refusal((int) -listenerFd));
    }
    if (start.withoutPrivileges) {
      withoutPrivileges.run();
    }
    try (SeccompListener listener = SeccompListener.of((int) listenerFd)) {
      // Before Linux 6.6 there is no such thing; then a wake-up costs more.
      listener.setSyncWakeUp();
      serving.serve(listener);
      Uninterrupted.join(t);
      started = true;
      long pid = start.result;
      if (pid < 0) {
        serving.awaitEnd();
        throw notStarted((int) -pid);
      }
      first = pid;
      CountDownLatch ended = new CountDownLatch(1);
      Thread.ofPlatform()
          .name("outboard-wait")
          .daemon()
          .start(() -> {
            status = waitFor((int) pid);
            ended.countDown();
          });
      serving.awaitEnd();
      Uninterrupted.await(ended);
      return status;
    }
  }

  /** A process is about to execute a program: the first one gets the limits it is to have. */
  void execing(Notification n) {
    if (started || n.process().parentPid() != self) {
      return;
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment limit = a.allocate(16, 8);
      int pid = n.process().pid();
      if (Processes.prlimit(pid, Processes.RLIMIT_NOFILE, 0, limit.address()) < 0) {
        return;
      }
      long now = limit.get(ValueLayout.JAVA_LONG, 0);
      long wanted = parentsLimit(a);
      if (wanted >= 0 && wanted < now) {
        limit.set(ValueLayout.JAVA_LONG, 0, wanted);
        Processes.prlimit(pid, Processes.RLIMIT_NOFILE, limit.address(), 0);
      }
    }
  }

  private static long parentsLimit(Arena a) {
    MemorySegment limit = a.allocate(16, 8);
    int parent = (int) Linux.syscall(SyscallNumbers.GETPPID, 0);
    long r = Processes.prlimit(parent, Processes.RLIMIT_NOFILE, 0, limit.address());
    return r < 0 ? -1 : limit.get(ValueLayout.JAVA_LONG, 0);
  }

  /** Waits for orphans of the tree that have ended; this process is their parent now. */
  void reapOrphans() {
    synchronized (reapLock) {
      try (Arena a = Arena.ofConfined()) {
        MemorySegment info = a.allocate(Processes.SIGINFO_BYTES, 8);
        for (; ; ) {
          info.fill((byte) 0);
          long r =
              Processes.waitid(
                  Processes.P_ALL,
                  0,
                  info.address(),
                  Processes.WEXITED | Processes.WNOHANG | Processes.WNOWAIT);
          int pid = info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_PID);
          int code = info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_CODE);
          boolean ended = code >= Processes.CLD_EXITED && code <= Processes.CLD_DUMPED;
          // A child of the hook's own that has ended hides others until its owner has seen it.
          if (r < 0 || pid == 0 || !ended || !started || pid == first || ownChild.test(pid)) {
            return;
          }
          r = Processes.waitid(Processes.P_PID, pid, 0, Processes.WEXITED | Processes.WNOHANG);
          if (r < 0) {
            return;
          }
        }
      }
    }
  }

  private int waitFor(int pid) {
    ProgramEvents events = options.events();
    events.started(pid);
    try (Arena a = Arena.ofConfined()) {
      MemorySegment info = a.allocate(Processes.SIGINFO_BYTES, 8);
      for (; ; ) {
        info.fill((byte) 0);
        long r =
            Processes.waitid(
                Processes.P_PID,
                pid,
                info.address(),
                Processes.WEXITED | Processes.WSTOPPED | Processes.WCONTINUED);
        if (r == -Errno.EINTR) {
          continue;
        }
        if (r < 0) {
          throw new IllegalStateException("waitid: " + Errno.name((int) -r));
        }
        int value = info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_STATUS);
        switch (info.get(ValueLayout.JAVA_INT, Processes.SIGINFO_CODE)) {
          case Processes.CLD_EXITED -> {
            events.ended(value & 0xff);
            return value & 0xff;
          }
          case Processes.CLD_KILLED, Processes.CLD_DUMPED -> {
            events.ended(128 + value);
            return 128 + value;
          }
          case Processes.CLD_STOPPED -> events.stopped();
          case Processes.CLD_CONTINUED -> events.continued();
          default -> {
            // CLD_TRAPPED: the hook's own doing, see SignalSampler.
          }
        }
      }
    }
  }

  /** The thread that installs the filter and starts the program. */
  private final class Start implements Runnable {
    private static final long NOT_YET = Long.MIN_VALUE;

    private final CountDownLatch installed = new CountDownLatch(1);
    private long listener = NOT_YET;
    private boolean withoutPrivileges; // before `installed` is counted down
    volatile long result;

    @Override
    public void run() {
      try (Arena arena = Arena.ofConfined();
          Spawn.Prepared prepared =
              new Spawn(options.command())
                  .searchPath()
                  .ignoring(options.ignoredSignals())
                  .prepare(arena)) {
        MemorySegment code = SeccompProgram.build(arena, filter);
        MemorySegment program = arena.allocate(16, 8);
        program.set(ValueLayout.JAVA_SHORT, 0, (short) (code.byteSize() / FILTER_BYTES));
        program.set(ValueLayout.ADDRESS, 8, code);
        // Links every handle that is used once the filter is there.
        new Spawn(List.of("/proc/self/no such program")).searchPath().start();
        boolean root = Linux.syscall(SyscallNumbers.GETUID, 0) == 0;
        withoutPrivileges = !root;
        long r = root ? 0 : Processes.prctl(Processes.PR_SET_NO_NEW_PRIVS, 1);
        listener = r < 0 ? r : SeccompListener.install(program);
        if (listener == -Errno.EACCES) {
          // Root without CAP_SYS_ADMIN, as in a container.
          withoutPrivileges = true;
          r = Processes.prctl(Processes.PR_SET_NO_NEW_PRIVS, 1);
          listener = r < 0 ? r : SeccompListener.install(program);
        }
        installed.countDown();
        if (listener >= 0) {
          result = prepared.start();
        }
      } finally {
        installed.countDown();
      }
    }

    long awaitListener() {
      Uninterrupted.await(installed);
      return listener == NOT_YET ? -Errno.EIO : listener;
    }
  }

  private static void ignoreSignals(long mask) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment action = a.allocate(32, 8);
      action.set(ValueLayout.JAVA_LONG, 0, SIG_IGN);
      for (int signal = 1; signal <= 64; signal++) {
        if ((mask & bit(signal)) != 0) {
          Linux.syscall(RT_SIGACTION, signal, action.address(), 0, SIGNALS_BYTES, 0, 0);
        }
      }
    }
  }

  private static long bit(int signal) {
    return 1L << (signal - 1);
  }

  private static String refusal(int errno) {
    return switch (errno) {
      case Errno.EINVAL ->
          "This kernel cannot hook programs: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is missing;"
              + " Linux 5.19 or later is needed, with CONFIG_SECCOMP_FILTER.";
      case Errno.EBUSY ->
          "This process is itself under a seccomp filter with a listener, and Linux allows one:"
              + " outboard cannot run within outboard, nor under another such supervisor.";
      case Errno.ENOSYS -> "This kernel has no seccomp: CONFIG_SECCOMP_FILTER is needed.";
      default -> "The seccomp filter cannot be installed: " + Errno.name(errno) + ".";
    };
  }

  private HookException notStarted(int errno) {
    String program = options.command().getFirst();
    return switch (errno) {
      case Errno.ENOENT, Errno.ENOTDIR ->
          new HookException(HookException.NOT_FOUND, program + ": not found");
      case Errno.EACCES, Errno.EISDIR ->
          new HookException(HookException.NOT_EXECUTABLE, program + ": not executable");
      case Errno.ENOEXEC ->
          new HookException(HookException.NOT_EXECUTABLE, program + ": not an executable format");
      default ->
          new HookException(HookException.NOT_EXECUTABLE, program + ": " + Errno.name(errno));
    };
  }
}
