// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Sched;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Calls that change processes, identities and descriptor tables. They are continued, and the hook
 * takes note of what they may change; but a network namespace is not to be had: what sockets there
 * are is the device's one network, whatever namespace their program is in.
 */
final class ProcessCalls {
  private static final int CLOSE_RANGE_UNSHARE = 2;
  private static final int CLOSE_RANGE_CLOEXEC = 4;

  /** By which glibc cancels threads: the first of those that it keeps for itself. */
  private static final int SIGCANCEL = 32;

  private final Hook.Services hook;
  private final HandlerEntries entries = new HandlerEntries();

  ProcessCalls(Hook.Services hook) {
    this.hook = hook;
  }

  void register(Handlers h) {
    h.register(this::close, "close");
    h.register(this::closeRange, "close_range");
    h.register(n -> hook.onHost(n), "dup");
    h.register(this::redirect, "dup2", "dup3");
    h.register(this::takeDescriptor, "pidfd_getfd");
    h.register(this::exec, "execve", "execveat");
    h.register(n -> cloned(n, 0), "fork");
    h.register(n -> cloned(n, Sched.CLONE_VM | Sched.CLONE_VFORK), "vfork");
    h.register(this::filter, "seccomp", "prctl");
    h.register(n -> cloned(n, n.args()[0]), "clone");
    h.register(this::clone3, "clone3");
    h.register(this::unshare, "unshare");
    h.register(this::enter, "setns");
    // The filter could say so by itself, but then nobody would know that it did.
    h.register(n -> n.answerErrno(n.row().errno()), "io_uring_setup", "io_setup");
    h.register(this::handleSignal, "rt_sigaction");
    h.register(
        this::identity,
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setresuid",
        "setresgid",
        "setfsuid",
        "setfsgid",
        "setgroups",
        "capset");
  }

  private void close(Notification n) {
    closing(n, n.intArg(0));
    hook.onHost(n);
  }

  private void closing(Notification n, int fd) {
    if (fd < 0 || !n.process().remembers()) {
      return;
    }
    Placeholder p = hook.descriptors().lookup(n, fd);
    if (p != null) {
      hook.placeholders().closing(p);
    }
    // Of the end of a regular file no send or receive can tell, nor what is sent from another;
    // calls
    // that trap carry it out first.
    hook.descriptors().closing(n, fd, fd, p == null || !p.memory());
  }

  private void redirect(Notification n) {
    // dup2(fd, fd) changes nothing, but to forget the number does no harm.
    closing(n, n.intArg(1));
    hook.onHost(n);
  }

  private void closeRange(Notification n) {
    int flags = n.intArg(2);
    int first = n.intArg(0);
    int last = n.intArg(1);
    if ((flags & CLOSE_RANGE_UNSHARE) != 0) {
      n.process().neverCache(true);
    }
    if ((flags & CLOSE_RANGE_CLOEXEC) == 0 && n.process().remembers()) {
      // The arguments are unsigned: what is negative here is above any number.
      int from = first < 0 ? Integer.MAX_VALUE : first;
      int to = last < 0 ? Integer.MAX_VALUE : last;
      if (from <= to) {
        for (Placeholder p : n.process().knownPlaceholders(from, to)) {
          hook.placeholders().closing(p);
        }
        hook.descriptors().closing(n, from, to, true);
      }
    }
    hook.onHost(n);
  }

  private void takeDescriptor(Notification n) {
    hook.mayReceiveDescriptors(n.process());
    hook.onHost(n);
  }

  private void exec(Notification n) {
    int program = hook.paths().executed(n);
    if (program == PathCalls.ANSWERED) {
      return;
    }
    hook.execing(n, program);
    hook.onHost(n);
  }

  private void clone3(Notification n) {
    MemorySegment flags = n.statScratch();
    // What cannot be read fails in the kernel, too.
    if (n.memory().read(n.args()[0], flags, 0, Long.BYTES) == 0) {
      cloned(n, flags.get(JAVA_LONG_UNALIGNED, 0));
    } else {
      hook.onHost(n);
    }
  }

  private void cloned(Notification n, long flags) {
    if ((flags & Sched.CLONE_NEWNET) != 0) {
      refuseNetwork(n);
      return;
    }
    boolean thread = (flags & Sched.CLONE_THREAD) != 0;
    boolean files = (flags & Sched.CLONE_FILES) != 0;
    if (thread && !files) {
      n.process().neverCache(true);
    }
    if (!thread && files) {
      n.process().neverCache(false);
      n.process().setMayHoldDevice();
      hook.processes().tablesAreShared();
    }
    if (!thread && (flags & Sched.CLONE_PARENT) != 0) {
      hook.processes().parentsAreUnsure();
    }
    Shim shim = hook.shim();
    if (!thread && shim != null) {
      if ((flags & Sched.CLONE_VM) != 0) {
        shim.sharing(n.thread(), (flags & Sched.CLONE_VFORK) != 0);
      } else {
        shim.forking(n.thread());
      }
    }
    hook.onHost(n);
  }

  private void filter(Notification n) {
    if (hook.shim() != null) {
      hook.shim().bar(n.process());
    }
    hook.onHost(n);
  }

  private void handleSignal(Notification n) {
    boolean served;
    if (n.intArg(0) == SIGCANCEL) {
      Shim shim = hook.shim();
      served = n.args()[1] != 0 && shim != null && shim.cancels(n);
    } else {
      served = entries.install(n);
    }
    if (!served) {
      hook.onHost(n);
    }
  }

  private void unshare(Notification n) {
    if ((n.args()[0] & Sched.CLONE_NEWNET) != 0) {
      refuseNetwork(n);
      return;
    }
    if ((n.args()[0] & Sched.CLONE_FILES) != 0) {
      n.process().neverCache(true);
    }
    identity(n);
  }

  private void enter(Notification n) {
    int type = n.intArg(1);
    int fd = Descriptors.borrow(n, n.intArg(0));
    boolean network =
        ((type & Sched.CLONE_NEWNET) != 0 || (type == 0 && fd >= 0 && isNetwork(fd)))
            && !isItsOwn(fd, n.tid());
    if (fd >= 0) {
      Linux.close(fd);
    }
    if (network && fd == -Errno.EBADF) {
      n.answerErrno(Errno.EBADF);
    } else if (network) {
      refuseNetwork(n);
    } else {
      identity(n);
    }
  }

  /** Whether a file of the host stands for a network namespace: {@code ioctl_nsfs(2)}. */
  private static boolean isNetwork(int fd) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      // Of files of other file systems the request could be another one.
      return Linux.fstat(fd, stat.address()) == 0
          && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV) == network(a, "self")[0]
          && Linux.ioctl(fd, Ioctl.NS_GET_NSTYPE, 0) == Sched.CLONE_NEWNET;
    }
  }

  /** Whether a file stands for the network namespace in which the thread is already. */
  private static boolean isItsOwn(int fd, int tid) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      long[] own = network(a, Integer.toString(tid));
      return fd >= 0
          && Linux.fstat(fd, stat.address()) == 0
          && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV) == own[0]
          && stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO) == own[1];
    }
  }

  /** File system and inode of a thread's network namespace; 0 where they cannot be known. */
  private static long[] network(Arena a, String task) {
    MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
    MemorySegment path = Linux.cString(a, "/proc/" + task + "/ns/net");
    return Processes.fstatat(Fcntl.AT_FDCWD, path.address(), stat.address(), 0) < 0
        ? new long[2]
        : new long[] {
          stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_DEV),
          stat.get(JAVA_LONG_UNALIGNED, Processes.STAT_INO)
        };
  }

  /** As a kernel answers that has none: {@code copy_net_ns()} without CONFIG_NET_NS. */
  private void refuseNetwork(Notification n) {
    hook.messages()
        .once(
            "network namespace",
            n.row().name()
                + ": a program has no network namespaces here (EINVAL): its sockets are the"
                + " device's, which has one network. Another outboard run is another network.");
    n.answerErrno(Errno.EINVAL);
  }

  private void identity(Notification n) {
    n.thread().credentialsDirty = true;
    hook.onHost(n);
  }
}
