// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.POLLERR;
import static dev.outboard.abi.Poll.POLLHUP;
import static dev.outboard.abi.Poll.POLLIN;
import static dev.outboard.abi.Poll.POLLOUT;
import static dev.outboard.abi.Poll.POLLPRI;
import static dev.outboard.abi.Poll.POLLRDBAND;
import static dev.outboard.abi.Poll.POLLRDNORM;
import static dev.outboard.abi.Poll.POLLWRBAND;
import static dev.outboard.abi.Poll.POLLWRNORM;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.channel.CallSlot;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * Serves poll, ppoll, select, pselect6 and the epoll family.
 *
 * <p>Waiting is the host kernel's: the call is continued, and the program's thread sleeps on
 * placeholders and host files alike, with its own timeout, its own signal mask, its own EINTR and
 * restart, its own exclusive and edge-triggered wake-ups. What is done here is that, before the
 * kernel looks, the placeholders show the truth:
 *
 * <ol>
 *   <li>each device file that the call names, or that is added to an epoll set, is watched by the
 *       device from now on;
 *   <li>one SYNC brings the samples of all files that changed and that no frame has brought yet, so
 *       that a look with a timeout of 0 right after a peer's send sees it;
 *   <li>tokens for what was consumed since are cleared ({@link Readiness#settle}).
 * </ol>
 *
 * <p><b>Epoll sets need no tracking.</b> An epoll set holds files; the files of the device in it
 * have been watched since they were added, by whomever and through whatever descriptor, and every
 * look at any set brings all watched files up to date. So sets may be nested, duplicated, inherited
 * over fork and sent to other processes. (They could not be recognised anyway: all share one
 * inode.)
 *
 * <p><b>Subtle cases.</b>
 *
 * <ul>
 *   <li><i>EPOLLONESHOT</i>: re-arming by EPOLL_CTL_MOD looks at levels, so stale tokens are
 *       cleared first.
 *   <li><i>EPOLLEXCLUSIVE</i>, and servers of several processes that select on one listening
 *       socket: natively each arrival wakes someone, even while an earlier one is not yet accepted.
 *       So every edge of the device becomes a byte of its own ({@link Placeholder}).
 *   <li><i>A connect in progress</i>: the mask that comes with connect's result hides OUT before
 *       the program can look, and the connection's edge shows it.
 *   <li><i>Two processes, one file</i>: whoever reads leaves a stale token; whoever looks next
 *       clears it through the descriptor of the one who read.
 *   <li><i>vfork</i>: the child's descriptors are its own from the start; nothing is special.
 * </ul>
 *
 * <p><b>Answered here.</b> When a poll or select names device files only and one of them is ready
 * now, no waiting is involved, and the answer is made from the device's own masks: ERR, HUP and PRI
 * are exact. (A ready file goes before signals and masks: {@code fs/select.c}.) So is it when none
 * is, but a placeholder may look so, and the call does not wait. An epoll_wait that finds something
 * at once is answered here while some file is in a state that its placeholder cannot show ({@link
 * EpollSets}). In waits that have begun natively such a state is shown as far as it can be;
 * programs that wait for ERR alone, with {@code events} 0, are woken by HUP only.
 *
 * <p>Calls that cannot name a device file, since there is none, are continued at once. Memory that
 * faults and arguments that are wrong are left to the host's kernel, which knows the errno.
 */
final class Pollers {
  private static final int POLLFD_BYTES = 8;
  private static final int POLLFD_EVENTS = 4;
  private static final int POLLFD_REVENTS = 6;

  /** The kernel's own limit is RLIMIT_NOFILE, at most {@code sysctl fs.nr_open}. */
  private static final int MAX_FDS = 1 << 20;

  /** What fits into any program's fd_set. */
  private static final int FD_SET_BITS = 1024;

  private static final int SIGSET_BYTES = 8;
  private static final long NANOS = 1_000_000_000;

  /** {@code POLLIN_SET}, {@code POLLOUT_SET} and {@code POLLEX_SET} of fs/select.c. */
  private static final int[] SELECTED = {
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    POLLPRI
  };

  private final Descriptors descriptors;
  private final DeviceCalls calls;
  private final Placeholders placeholders;
  private final Readiness readiness;
  private final PacketRings rings;
  private final XdpSockets xdp;
  private final EpollSets sets;
  private final KnownSets knownSets;

  private final LongAdder answered = new LongAdder();
  private final LongAdder continued = new LongAdder();

  /** What one call needs besides its notification; one a notifier thread. */
  private static final class Work {
    MemorySegment memory = Arena.ofAuto().allocate(4096, 8);
    @Nullable Placeholder[] files = new @Nullable Placeholder[64];
    int count;
    boolean host;

    MemorySegment memory(long bytes) {
      if (memory.byteSize() < bytes) {
        memory = Arena.ofAuto().allocate(Math.max(bytes, 2 * memory.byteSize()), 8);
      }
      return memory;
    }

    void begin() {
      Arrays.fill(files, 0, count, null);
      count = 0;
      host = false;
    }

    void add(Placeholder p) {
      if (count == files.length) {
        files = Arrays.copyOf(files, 2 * count);
      }
      files[count++] = p;
    }
  }

  private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);

  Pollers(
      Descriptors descriptors,
      DeviceCalls calls,
      Placeholders placeholders,
      Readiness readiness,
      PacketRings rings,
      XdpSockets xdp,
      OpenFiles files) {
    this.rings = rings;
    this.xdp = xdp;
    this.descriptors = descriptors;
    this.calls = calls;
    this.placeholders = placeholders;
    this.readiness = readiness;
    this.sets = new EpollSets(descriptors);
    this.knownSets = new KnownSets(descriptors, sets, files);
  }

  void register(Handlers handlers) {
    handlers.register(this::poll, "poll", "ppoll");
    handlers.register(this::select, "select", "pselect6");
    handlers.register(this::epollCtl, "epoll_ctl");
    handlers.register(this::epollWait, "epoll_wait", "epoll_pwait", "epoll_pwait2");
  }

  /** Calls answered from the device's masks, for statistics. */
  long answered() {
    return answered.sum();
  }

  /** Calls that named device files, or may have, and were continued, for statistics. */
  long continued() {
    return continued.sum();
  }

  private void poll(Notification n) {
    long count = n.args()[1] & 0xffff_ffffL;
    if (placeholders.live() == 0 || count == 0 || count > MAX_FDS) {
      n.answerContinue();
      return;
    }
    Work w = work.get();
    long bytes = count * POLLFD_BYTES;
    MemorySegment fds = w.memory(bytes);
    if (n.memory().read(n.args()[0], fds, 0, bytes) < 0) {
      n.answerContinue();
      return;
    }
    w.begin();
    for (long at = 0; at < bytes; at += POLLFD_BYTES) {
      int fd = fds.get(ValueLayout.JAVA_INT, at);
      if (fd >= 0) {
        name(n, w, fd);
      }
    }
    if (w.count == 0) {
      n.answerContinue();
      return;
    }
    waits(n);
    refresh(n, w);
    if (!w.host && plainArguments(n)) {
      long ready = pollMasks(fds, bytes, w);
      // The kernel writes revents alone; the entries around them belong to this call meanwhile.
      if ((ready > 0 || isAnswer(n))
          && n.valid()
          && n.memory().write(n.args()[0], fds, 0, bytes) == 0) {
        answered.increment();
        n.answer(ready);
        return;
      }
    }
    continued.increment();
    n.answerContinue();
  }

  /** Fills revents in from the masks; how many are not 0. */
  private static long pollMasks(MemorySegment fds, long bytes, Work w) {
    long ready = 0;
    int next = 0;
    for (long at = 0; at < bytes; at += POLLFD_BYTES) {
      int revents = 0;
      if (fds.get(ValueLayout.JAVA_INT, at) >= 0) {
        Placeholder p = w.files[next++];
        int events = fds.get(ValueLayout.JAVA_SHORT, at + POLLFD_EVENTS);
        revents = p == null ? 0 : normal(p.mask()) & (events | POLLERR | POLLHUP);
      }
      fds.set(ValueLayout.JAVA_SHORT, at + POLLFD_REVENTS, (short) revents);
      ready += revents != 0 ? 1 : 0;
    }
    return ready;
  }

  private void select(Notification n) {
    long[] args = n.args();
    int bits = (int) args[0];
    if (placeholders.live() == 0 || bits <= 0) {
      n.answerContinue();
      return;
    }
    Work w = work.get();
    // The kernel cuts the number to the size of the caller's table; a caller may rely on that.
    bits = Math.min(bits, MAX_FDS);
    if (!readSets(n, w, bits)) {
      bits = Math.min(bits, FD_SET_BITS);
      if (!readSets(n, w, bits)) {
        n.answerContinue();
        return;
      }
    }
    long setBytes = setBytes(bits);
    MemorySegment sets = w.memory;
    w.begin();
    for (long at = 0; at < setBytes; at += 8) {
      long word = anySet(sets, setBytes, at, bits);
      while (word != 0) {
        int bit = Long.numberOfTrailingZeros(word);
        word &= word - 1;
        name(n, w, (int) at * 8 + bit);
      }
    }
    if (w.count == 0) {
      n.answerContinue();
      return;
    }
    waits(n);
    refresh(n, w);
    if (!w.host && plainArguments(n)) {
      long ready = selectMasks(sets, setBytes, bits, w);
      if ((ready > 0 || isAnswer(n)) && n.valid() && writeSets(n, sets, setBytes)) {
        answered.increment();
        n.answer(ready);
        return;
      }
    }
    continued.increment();
    n.answerContinue();
  }

  /** Leaves in each set the descriptors that are ready; how many there are in all sets. */
  private static long selectMasks(MemorySegment sets, long setBytes, int bits, Work w) {
    long ready = 0;
    int next = 0;
    for (long at = 0; at < setBytes; at += 8) {
      long word = anySet(sets, setBytes, at, bits);
      long in = sets.get(ValueLayout.JAVA_LONG, at);
      long out = sets.get(ValueLayout.JAVA_LONG, setBytes + at);
      long except = sets.get(ValueLayout.JAVA_LONG, 2 * setBytes + at);
      long keepIn = 0;
      long keepOut = 0;
      long keepExcept = 0;
      while (word != 0) {
        long bit = Long.lowestOneBit(word);
        word &= word - 1;
        Placeholder p = w.files[next++];
        int mask = p == null ? 0 : normal(p.mask());
        keepIn |= (mask & SELECTED[0]) != 0 ? in & bit : 0;
        keepOut |= (mask & SELECTED[1]) != 0 ? out & bit : 0;
        keepExcept |= (mask & SELECTED[2]) != 0 ? except & bit : 0;
      }
      sets.set(ValueLayout.JAVA_LONG, at, keepIn);
      sets.set(ValueLayout.JAVA_LONG, setBytes + at, keepOut);
      sets.set(ValueLayout.JAVA_LONG, 2 * setBytes + at, keepExcept);
      ready += Long.bitCount(keepIn) + Long.bitCount(keepOut) + Long.bitCount(keepExcept);
    }
    return ready;
  }

  private static long setBytes(int bits) {
    return (bits + 63L) / 64 * 8;
  }

  /** Reads the three sets one behind the other; one that the caller does not give is empty. */
  private static boolean readSets(Notification n, Work w, int bits) {
    long setBytes = setBytes(bits);
    MemorySegment sets = w.memory(3 * setBytes);
    for (int i = 0; i < 3; i++) {
      long address = n.args()[1 + i];
      if (address == 0) {
        sets.asSlice(i * setBytes, setBytes).fill((byte) 0);
      } else if (n.memory().read(address, sets, i * setBytes, setBytes) < 0) {
        return false;
      }
    }
    return true;
  }

  private static boolean writeSets(Notification n, MemorySegment sets, long setBytes) {
    for (int i = 0; i < 3; i++) {
      long address = n.args()[1 + i];
      if (address != 0 && n.memory().write(address, sets, i * setBytes, setBytes) < 0) {
        return false;
      }
    }
    return true;
  }

  /** Bits below {@code bits} that are in any set, of the word at {@code at}. */
  private static long anySet(MemorySegment sets, long setBytes, long at, int bits) {
    long word =
        sets.get(ValueLayout.JAVA_LONG, at)
            | sets.get(ValueLayout.JAVA_LONG, setBytes + at)
            | sets.get(ValueLayout.JAVA_LONG, 2 * setBytes + at);
    long rest = bits - at * 8;
    return rest < 64 ? word & ((1L << rest) - 1) : word;
  }

  private void epollCtl(Notification n) {
    knownSets.changing(n);
    if (placeholders.live() > 0) {
      Work w = work.get();
      w.begin();
      name(n, w, n.intArg(2));
      Placeholder p = w.files[0];
      if (w.count == 1 && p != null && p.alwaysReady()) {
        // As of any file whose readiness never changes.
        n.answerErrno(Errno.EPERM);
        return;
      }
      if (w.count == 1 && p != null && n.intArg(1) != Poll.EPOLL_CTL_DEL) {
        // A file that is watched already needs no sample: what was read is known from the calls'
        // results, and what came since is on its way, here or in the next wait's SYNC.
        if (n.process().shim().unseen && n.process().anyWaits()) {
          // But the hook has not seen what the shim read. Whoever waits in the set would be told of
          // what is there no more.
          refresh(n, w);
        } else if (!p.watched() && calls.begin(n) == 0) {
          try {
            calls.watch(n, p);
          } finally {
            calls.end(n);
          }
        }
        readiness.settle();
        if (p.watched()) {
          n.process().watched(n.intArg(2), p);
        }
        continued.increment();
      }
    }
    n.answerContinue();
  }

  private void epollWait(Notification n) {
    if (readiness.watchedCount() == 0 || placeholders.live() == 0) {
      n.answerContinue();
      return;
    }
    waits(n);
    if (ShimSwitches.WAITS) {
      knownSets.waiting(n);
    }
    // A process that neither had a device file nor descends from one that had waits for others'
    // files at most through a set that it was sent; frames wake it.
    if (n.process().mayHoldDevice()) {
      Work w = work.get();
      w.begin();
      refresh(n, w);
      if (placeholders.anyInexact() && plainArguments(n) && sets.answer(n)) {
        answered.increment();
        return;
      }
    } else {
      readiness.settle();
    }
    continued.increment();
    n.answerContinue();
  }

  /**
   * The thread may wait. To be said before the look: a call of another thread that finds nobody
   * waiting is one before it.
   */
  private static void waits(Notification n) {
    if (n.thread().waiting.compareAndSet(false, true)) {
      n.process().waits(n.tid(), true);
    }
  }

  /** The thread makes another call, or is gone: it does not wait any more, nor change a set. */
  void arrived(ThreadEntry t) {
    knownSets.arrived(t);
    if (t.waiting.get() && t.waiting.compareAndSet(true, false)) {
      t.process().waits(t.tid(), false);
    }
  }

  /** Notes what {@code fd} refers to. */
  private void name(Notification n, Work w, int fd) {
    Placeholder p = descriptors.lookup(n, fd);
    if (p == null) {
      w.host = true;
    } else {
      p.heldBy(n.process().pidfd(), fd);
      w.add(p);
    }
  }

  /** Makes all placeholders show the truth. */
  private void refresh(Notification n, Work w) {
    placeholders.reapGone();
    if (calls.begin(n) == 0) {
      try {
        for (int i = 0; i < w.count; i++) {
          Placeholder p = w.files[i];
          if (p != null && !p.watched()) {
            calls.watch(n, p);
          }
        }
        sync(n);
      } finally {
        calls.end(n);
      }
    }
    if (rings.any()) {
      for (int i = 0; i < w.count; i++) {
        Placeholder p = w.files[i];
        if (p != null) {
          rings.look(n, p);
        }
      }
      if (w.count == 0) {
        rings.look(n); // an epoll set's members are not known
      }
    }
    if (xdp.any()) {
      for (int i = 0; i < w.count; i++) {
        Placeholder p = w.files[i];
        if (p != null) {
          xdp.look(n, p);
        }
      }
      if (w.count == 0) {
        xdp.look(n);
      }
    }
    readiness.settle();
  }

  private void sync(Notification n) {
    CallSlot slot = n.slot();
    Call c = slot.call();
    long capacity = c.data.byteSize() / PseudoCall.SAMPLE_BYTES;
    long r;
    do {
      c.start(PseudoCall.SYNC);
      c.args[0] = readiness.syncedTo();
      r = calls.execute(n, slot);
      if (r >= 0) {
        readiness.synced(c.data, Math.min(r, capacity), slot.readyStamp());
      }
    } while (r == DeviceCalls.AGAIN || r >= capacity);
  }

  /**
   * Whether timeout and signal mask are such that the kernel would not refuse the call, so that it
   * may be answered here.
   */
  private static boolean plainArguments(Notification n) {
    long[] args = n.args();
    return switch (n.row().name()) {
      case "ppoll" -> timeIsValid(n, args[2], NANOS) && maskIsValid(n, args[3], args[4]);
      case "select" -> timeIsValid(n, args[4], Long.MAX_VALUE);
      case "epoll_pwait" -> maskIsValid(n, args[4], args[5]);
      case "epoll_pwait2" -> timeIsValid(n, args[3], NANOS) && maskIsValid(n, args[4], args[5]);
      case "pselect6" -> timeIsValid(n, args[4], NANOS) && packedMaskIsValid(n, args[5]);
      default -> true;
    };
  }

  /**
   * Whether that nothing is ready is the answer, too: the call does not wait, and a placeholder may
   * look as if something were. Only HUP can be taken back natively that end B goes on to show, by
   * {@code connect} to AF_UNSPEC.
   */
  private boolean isAnswer(Notification n) {
    return placeholders.anyInexact() && takesNoTime(n);
  }

  private static boolean takesNoTime(Notification n) {
    long[] args = n.args();
    return switch (n.row().name()) {
      case "poll" -> (int) args[2] == 0;
      case "ppoll" -> isNoTime(n, args[2]);
      case "select", "pselect6" -> isNoTime(n, args[4]);
      default -> false;
    };
  }

  /** Seconds and their fraction, as the caller has them at an address; null if it has none. */
  private static @Nullable MemorySegment time(Notification n, long address) {
    MemorySegment time = n.statScratch();
    return address != 0 && n.memory().read(address, time, 0, 16) == 0 ? time : null;
  }

  private static boolean isNoTime(Notification n, long address) {
    MemorySegment time = time(n, address);
    return time != null
        && time.get(ValueLayout.JAVA_LONG, 0) == 0
        && time.get(ValueLayout.JAVA_LONG, 8) == 0;
  }

  /** select takes any number of microseconds that is not negative (kern_select). */
  private static boolean timeIsValid(Notification n, long address, long limit) {
    if (address == 0) {
      return true;
    }
    MemorySegment time = time(n, address);
    return time != null
        && time.get(ValueLayout.JAVA_LONG, 0) >= 0
        && time.get(ValueLayout.JAVA_LONG, 8) >= 0
        && time.get(ValueLayout.JAVA_LONG, 8) < limit;
  }

  private static boolean maskIsValid(Notification n, long address, long size) {
    return address == 0
        || (size == SIGSET_BYTES
            && n.memory().read(address, n.statScratch(), 0, SIGSET_BYTES) == 0);
  }

  /** pselect6's last argument points to the mask's address and size. */
  private static boolean packedMaskIsValid(Notification n, long address) {
    if (address == 0) {
      return true;
    }
    MemorySegment pair = n.statScratch();
    return n.memory().read(address, pair, 0, 16) == 0
        && maskIsValid(n, pair.get(ValueLayout.JAVA_LONG, 0), pair.get(ValueLayout.JAVA_LONG, 8));
  }

  /** Sockets say IN and RDNORM, OUT and WRNORM together. */
  static int normal(int mask) {
    return mask
        | ((mask & POLLIN) != 0 ? POLLRDNORM : 0)
        | ((mask & POLLOUT) != 0 ? POLLWRNORM : 0);
  }
}
