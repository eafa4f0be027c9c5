// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Which epoll sets processes have, and which of them the shim may look into without the host's
 * kernel, as it knows their members.
 *
 * <p>A set can be changed by whoever has a descriptor of it: another process after a fork or by
 * SCM_RIGHTS, or the same by a second number. So the first {@code epoll_ctl} on each number of each
 * process comes here ({@link #seen}) and is compared with all sets that are known (kcmp(2), {@code
 * KCMP_FILE}); one that is known by two numbers is never looked into. Later calls on the number
 * need no trap ({@link ShimLayout#STATE_SET}), as {@code control_set} of {@code device.c} follows
 * them, and those that trap all the same make the members unknown ({@link #changing}).
 *
 * <p>The members are those of the kernel's own list ({@link EpollSets}). All must be sockets that
 * the shim may use, at the number by which they were added, or files of the host that are no sets,
 * and level-triggered: what an edge-triggered or one-shot member is told changes it, and the set is
 * the kernel's. That a number still is the file that was added, is said by the table's word of it,
 * which every close changes; at first, of a file of the host, by kcmp ({@code KCMP_EPOLL_TFD}).
 *
 * <p>Any thread may call any method.
 */
final class KnownSets {
  static final int KCMP_FILE = 0;
  static final int KCMP_EPOLL_TFD = 7;

  /** How events that are not those of level-triggered members differ: EPOLLET and the like. */
  private static final int LEVEL_EVENTS = 0xffff;

  /** So many waits in a set trap before its members are found out, and at most. */
  private static final int PATIENCE = 4;

  private static final int MOST_PATIENCE = 1024;

  /** So many looks make finding out worth what it takes. */
  private static final int WORTH = 64;

  private static final int MAX_KNOWN = 4096;

  /** A number of a process at which a set was seen. */
  private static final class Known {
    final ProcessEntry process;
    final int fd;
    final int word;

    /** Another number leads to it as well, or that is not certain. */
    boolean shared;

    int waits;
    int patience = PATIENCE;
    long looks;

    Known(ProcessEntry process, int fd, int word) {
      this.process = process;
      this.fd = fd;
      this.word = word;
    }

    /** Whether the number may be another file's by now. */
    boolean isGone() {
      return process.ended() || process.mark(fd) != word;
    }
  }

  private final Descriptors descriptors;
  private final EpollSets sets;
  private final OpenFiles files;

  /** Guarded by this. Bounded by {@link #MAX_KNOWN}: that many are compared with each new one. */
  private final List<Known> all = new ArrayList<>();

  /** Threads that were let through to change a set and have made no other call since. */
  private final Set<ThreadEntry> changers = ConcurrentHashMap.newKeySet();

  private final ThreadLocal<EpollSets.Work> work = ThreadLocal.withInitial(EpollSets.Work::new);

  KnownSets(Descriptors descriptors, EpollSets sets, OpenFiles files) {
    this.descriptors = descriptors;
    this.sets = sets;
    this.files = files;
  }

  /**
   * A thread is about to change a set, by a call that has trapped. What others know of its members
   * may not be so from now on.
   */
  void changing(Notification n) {
    ProcessEntry p = n.process();
    int fd = n.intArg(0);
    if (!Shim.isGate(n.instructionPointer())) {
      n.thread().changesSet = fd;
      changers.add(n.thread());
    }
    if (p.isSet(fd)) {
      p.forgetMembers(fd);
      return;
    }
    seen(n, fd);
  }

  /** The thread makes another call, or is gone: what it was let through to change is changed. */
  void arrived(ThreadEntry t) {
    if (t.changesSet != ThreadEntry.NO_SET) {
      t.changesSet = ThreadEntry.NO_SET;
      changers.remove(t);
    }
  }

  /** Whether a thread may be changing the set without the shim, after what was read of it. */
  private boolean mayChange(Known k) {
    for (ThreadEntry t : changers) {
      int fd = t.changesSet;
      if (t.process() == k.process) {
        return true;
      }
      long r = Linux.syscall(SyscallNumbers.KCMP, t.tid(), k.process.pid(), KCMP_FILE, fd, k.fd, 0);
      if (r <= 0 && r != -Errno.EBADF && r != -Errno.ESRCH) {
        return true;
      }
    }
    return false;
  }

  private synchronized void seen(Notification n, int fd) {
    ProcessEntry p = n.process();
    int mark = p.mark(fd);
    boolean shared = false;
    for (Iterator<Known> i = all.iterator(); i.hasNext(); ) {
      Known k = i.next();
      if (k.isGone()) {
        i.remove();
      } else if (k.process == p && k.fd == fd) {
        p.forgetMembers(fd); // Another thread was first.
        return;
      } else {
        long r =
            Linux.syscall(SyscallNumbers.KCMP, n.tid(), k.process.pid(), KCMP_FILE, fd, k.fd, 0);
        // A number that nobody has is nobody's set. What cannot be compared may be the same.
        if (r <= 0 && r != -Errno.EBADF) {
          shared = true;
          k.shared = true;
          k.process.forgetMembers(k.fd);
        }
      }
    }
    int word = all.size() < MAX_KNOWN ? p.learnSet(fd, mark) : 0;
    if (word != 0) {
      Known k = new Known(p, fd, word);
      k.shared = shared;
      all.add(k);
    }
  }

  /**
   * A thread is about to wait in a set, by a call that has trapped: one that does so again and
   * again does not have to if the members are known.
   */
  void waiting(Notification n) {
    ProcessEntry p = n.process();
    int fd = n.intArg(0);
    if (p.isSet(fd) && p.shim().unseen && !p.tablesPerThread()) {
      synchronized (this) {
        for (Known k : all) {
          if (k.process == p && k.fd == fd && !k.isGone()) {
            consider(n, p, k);
            return;
          }
        }
      }
    }
  }

  private void consider(Notification n, ProcessEntry p, Known k) {
    if (k.shared || p.knowsMembers(k.fd) || ++k.waits < k.patience) {
      return;
    }
    k.waits = 0;
    long looks = p.looksIntoSets();
    k.patience = looks - k.looks >= WORTH ? PATIENCE : Math.min(MOST_PATIENCE, 2 * k.patience);
    k.looks = looks;
    ShimTable.Members members = p.membersOf(k.fd);
    if (members == null || !members.lock()) {
      return;
    }
    EpollSets.Work w = work.get();
    try {
      long state = members.state();
      if (mayChange(k)) {
        return;
      }
      int set = Descriptors.borrow(n, k.fd);
      if (set < 0) {
        return;
      }
      try {
        if (sets.readMembers(w, set) && n.valid() && fill(n, k, w, members)) {
          members.known(state);
        }
      } finally {
        w.forgetFiles();
        Linux.close(set);
      }
    } finally {
      members.unlock();
    }
  }

  private boolean fill(Notification n, Known k, EpollSets.Work w, ShimTable.Members members) {
    ProcessEntry p = n.process();
    int count = w.count();
    if (count > ShimLayout.MAX_MEMBERS) {
      return false;
    }
    try (Arena a = Arena.ofConfined()) {
      MemorySegment slot = a.allocate(12, 4);
      for (int i = 0; i < count; i++) {
        int fd = w.number(i);
        if ((w.asked(i) & ~LEVEL_EVENTS) != 0 || fd >= ShimLayout.MAX_FD || w.hasBefore(i, fd)) {
          return false;
        }
        Placeholder file = w.file(i);
        long handle = 0;
        if (file != null) {
          // The shim may not have been there yet when it was added.
          if (descriptors.lookup(n, fd) != file || !file.watched()) {
            return false;
          }
          p.watched(fd, file);
        }
        int mark = p.cover(fd);
        if (file != null) {
          OpenFile open = files.get(file.handle());
          handle = p.handle(fd);
          if (open == null
              || (mark & 0xff) != ShimLayout.STATE_DEVICE
              || ((int) handle & ShimLayout.HANDLE_NUMBER) != file.handle()
              || (int) (handle >>> 32) != open.birth()
              || ((int) handle & ShimLayout.HANDLE_WATCHED) == 0) {
            return false;
          }
        } else {
          slot.set(ValueLayout.JAVA_INT, 0, k.fd);
          slot.set(ValueLayout.JAVA_INT, 4, fd);
          slot.set(ValueLayout.JAVA_INT, 8, 0);
          long same =
              Linux.syscall(
                  SyscallNumbers.KCMP, p.pid(), p.pid(), KCMP_EPOLL_TFD, fd, slot.address(), 0);
          if (same != 0 || mayBeSet(a, p, fd)) {
            return false;
          }
        }
        members.put(i, fd, mark, handle, w.asked(i), w.data(i));
      }
    }
    members.count(count);
    return true;
  }

  /** Whether a file of the host may be an epoll set: what it shows can be what nobody cleared. */
  private static boolean mayBeSet(Arena a, ProcessEntry p, int fd) {
    MemorySegment target = a.allocate(64);
    long r =
        Linux.syscall(
            SyscallNumbers.READLINKAT,
            p.directory(),
            Linux.cString(a, "fd/" + fd).address(),
            target.address(),
            target.byteSize(),
            0,
            0);
    if (r <= 0) {
      return true;
    }
    byte[] name = target.asSlice(0, r).toArray(ValueLayout.JAVA_BYTE);
    return new String(name, StandardCharsets.ISO_8859_1).contains("eventpoll");
  }
}
