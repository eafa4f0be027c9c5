// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.EPOLLET;
import static dev.outboard.abi.Poll.EPOLLONESHOT;

import dev.outboard.abi.Fcntl;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Answers epoll_wait for sets with a file whose readiness its placeholder cannot show: ERR, or HUP
 * of a socket that was never connected. Only while there is such a file is this class asked.
 *
 * <p>The program's own set is borrowed and looked into by an epoll_wait that does not wait. That
 * has the effect which the program's call would have had, on edges, one-shot members and turns. The
 * kernel's list of the set's members ({@code /proc/self/fdinfo}: events, data and inode of each)
 * tells which event is whose, and the bits of events of device files are replaced by what the
 * device says. A level-triggered member that is ready in the device's eyes only (ERR and HUP are
 * reported whether asked for or not) is added.
 *
 * <p>If members share their data, an event is taken for that of the member which shows just these
 * bits; the program cannot tell such members apart either.
 *
 * <p>What is ready goes before signals, masks and the timeout ({@code ep_poll()}), so an answer is
 * exact; if nothing is ready, the program's own call is left to wait. An event that cannot be
 * written to the program's memory is lost if it was an edge.
 *
 * <p>Called on notifier threads, each with scratch memory of its own.
 */
final class EpollSets {
  /** {@code struct epoll_event} is packed on x86-64: events at 0, data at 4. */
  static final int EVENT_BYTES = 12;

  static final int EVENT_DATA = 4;

  /** Events of one answer; a set that has more ready tells of them in its next one. */
  private static final int MAX_EVENTS = 1024;

  /** Above that epoll_wait refuses its third argument: {@code EP_MAX_EVENTS}. */
  private static final int MAX_ARGUMENT = Integer.MAX_VALUE / EVENT_BYTES;

  private static final int CHUNK_BYTES = 16384;
  private static final byte[] MEMBER = {'t', 'f', 'd', ':'};

  private final Descriptors descriptors;
  private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);

  /** The members of one set, and room for its events; one a notifier thread. */
  static final class Work {
    final MemorySegment events = Arena.ofAuto().allocate(EVENT_BYTES * MAX_EVENTS, 8);
    final MemorySegment chunk = Arena.ofAuto().allocate(CHUNK_BYTES, 8);
    byte[] text = new byte[CHUNK_BYTES];
    int length;

    @Nullable Placeholder[] file = new @Nullable Placeholder[64];
    int[] asked = new int[64];
    long[] data = new long[64];
    boolean[] told = new boolean[64];
    int[] number = new int[64];
    int count;

    void add(@Nullable Placeholder p, int fd, int events, long itsData) {
      if (count == file.length) {
        file = Arrays.copyOf(file, 2 * count);
        number = Arrays.copyOf(number, 2 * count);
        asked = Arrays.copyOf(asked, 2 * count);
        data = Arrays.copyOf(data, 2 * count);
        told = Arrays.copyOf(told, 2 * count);
      }
      file[count] = p;
      asked[count] = events;
      data[count] = itsData;
      number[count] = fd;
      told[count++] = false;
    }

    int count() {
      return count;
    }

    /** The file of a member if it is the device's. */
    @Nullable Placeholder file(int index) {
      return file[index];
    }

    /** The number by which it was added. */
    int number(int index) {
      return number[index];
    }

    int asked(int index) {
      return asked[index];
    }

    long data(int index) {
      return data[index];
    }

    /** Whether an earlier member was added by the same number. */
    boolean hasBefore(int index, int fd) {
      for (int i = 0; i < index; i++) {
        if (number[i] == fd) {
          return true;
        }
      }
      return false;
    }

    void forgetFiles() {
      Arrays.fill(file, 0, count, null);
      count = 0;
    }
  }

  EpollSets(Descriptors descriptors) {
    this.descriptors = descriptors;
  }

  /**
   * Answers an epoll_wait, epoll_pwait or epoll_pwait2 whose times and masks are valid.
   *
   * @return false if it is to be continued: no member is concerned, nothing is ready and the call
   *     may wait, or the kernel would refuse it
   */
  boolean answer(Notification n) {
    int most = n.intArg(2);
    if (most <= 0 || most > MAX_ARGUMENT) {
      return false;
    }
    int set = Descriptors.borrow(n, n.intArg(0));
    if (set < 0) {
      return false;
    }
    Work w = work.get();
    int ready;
    try {
      if (!concerns(w, set) || !n.valid()) {
        return false;
      }
      ready = take(w, set, Math.min(most, MAX_EVENTS));
      if (ready < 0) {
        return false;
      }
    } finally {
      w.forgetFiles();
      Linux.close(set);
    }
    if (ready == 0 && mayWait(n)) {
      return false;
    }
    long bytes = (long) ready * EVENT_BYTES;
    long r = ready == 0 ? 0 : n.memory().write(n.args()[1], w.events, 0, bytes);
    n.answer(r < 0 ? r : ready);
    return true;
  }

  /**
   * Reads the members of a set, of which this process has a descriptor, into {@code w}.
   *
   * @return whether one of them is a file whose placeholder does not show its readiness
   */
  boolean concerns(Work w, int set) {
    return readMembers(w, set) && anyInexact(w);
  }

  /**
   * Takes events out of a set whose members are in {@code w}, as an epoll_wait that does not wait
   * would if the placeholders were the device's files. They are in {@code w.events} then.
   *
   * @param most events to take, {@value #MAX_EVENTS} at most
   * @return how many, or {@code -errno}
   */
  static int take(Work w, int set, int most) {
    long ready = Linux.epollWait(set, w.events.address(), most, 0);
    return ready < 0 ? (int) ready : correct(w, (int) ready, most);
  }

  private static boolean mayWait(Notification n) {
    if (!n.row().name().equals("epoll_pwait2")) {
      return n.intArg(3) != 0;
    }
    MemorySegment time = n.statScratch();
    long address = n.args()[3];
    return address == 0
        || n.memory().read(address, time, 0, 16) < 0
        || (time.get(ValueLayout.JAVA_LONG, 0) | time.get(ValueLayout.JAVA_LONG, 8)) != 0;
  }

  private static boolean anyInexact(Work w) {
    for (int i = 0; i < w.count; i++) {
      Placeholder p = w.file[i];
      if (p != null && p.inexact()) {
        return true;
      }
    }
    return false;
  }

  /** Makes the events in {@code w} say what the device says; how many there are then. */
  private static int correct(Work w, int ready, int most) {
    int kept = 0;
    for (int i = 0; i < ready; i++) {
      int events = w.events.get(ValueLayout.JAVA_INT_UNALIGNED, (long) i * EVENT_BYTES);
      long data =
          w.events.get(ValueLayout.JAVA_LONG_UNALIGNED, (long) i * EVENT_BYTES + EVENT_DATA);
      int member = memberOf(w, events, data);
      Placeholder p = member < 0 ? null : w.file[member];
      if (p != null) {
        w.told[member] = true;
        int truth = p.inexact() ? truth(p, w.asked[member]) : events;
        // The kernel has counted an edge or a one-shot member as told, so it must be told.
        events = truth != 0 || isLevel(w.asked[member]) ? truth : events;
      }
      if (events != 0) {
        put(w, kept++, events, data);
      }
    }
    for (int i = 0; i < w.count && kept < most && ready < most; i++) {
      Placeholder p = w.file[i];
      if (p != null && !w.told[i] && isLevel(w.asked[i]) && p.inexact()) {
        int events = truth(p, w.asked[i]);
        if (events != 0) {
          put(w, kept++, events, w.data[i]);
        }
      }
    }
    return kept;
  }

  private static boolean isLevel(int asked) {
    return (asked & (EPOLLET | EPOLLONESHOT)) == 0;
  }

  private static int truth(Placeholder p, int asked) {
    return Pollers.normal(p.mask()) & asked;
  }

  /**
   * Whose event it is: the member's that shows it; else, of those with these data, a file of the
   * host's, of which nothing is known; else another; else -1.
   */
  private static int memberOf(Work w, int events, long data) {
    int other = -1;
    for (int i = 0; i < w.count; i++) {
      if (w.data[i] != data || w.told[i]) {
        continue;
      }
      Placeholder p = w.file[i];
      if (p != null && (p.shown() & w.asked[i]) == events) {
        return i;
      }
      if (other < 0 || (p == null && w.file[other] != null)) {
        other = i;
      }
    }
    return other;
  }

  private static void put(Work w, int index, int events, long data) {
    w.events.set(ValueLayout.JAVA_INT_UNALIGNED, (long) index * EVENT_BYTES, events);
    w.events.set(ValueLayout.JAVA_LONG_UNALIGNED, (long) index * EVENT_BYTES + EVENT_DATA, data);
  }

  /** Lists the members of a set that this process has a descriptor of. */
  boolean readMembers(Work w, int set) {
    if (!readText(w, set)) {
      return false;
    }
    int at = 0;
    while (at < w.length) {
      int end = at;
      while (end < w.length && w.text[end] != '\n') {
        end++;
      }
      if (Arrays.equals(w.text, at, Math.min(end, at + MEMBER.length), MEMBER, 0, MEMBER.length)) {
        // ep_show_fdinfo(): tfd: %8d events: %8x data: %16llx  pos:%lli ino:%lx sdev:%x
        long events = field(w, at, end, "events:");
        long data = field(w, at, end, "data:");
        long inode = field(w, at, end, "ino:");
        long device = field(w, at, end, "sdev:");
        int fd = decimal(w, at + MEMBER.length, end);
        w.add(descriptors.socket(inode, userDevice(device)), fd, (int) events, data);
      }
      at = end + 1;
    }
    return true;
  }

  private static boolean readText(Work w, int set) {
    w.length = 0;
    try (Arena a = Arena.ofConfined()) {
      MemorySegment path = Linux.cString(a, "/proc/self/fdinfo/" + set);
      int flags = Fcntl.O_RDONLY | Fcntl.O_CLOEXEC;
      int fd = (int) Processes.openat(Fcntl.AT_FDCWD, path.address(), flags);
      if (fd < 0) {
        return false;
      }
      long r;
      do {
        r = Linux.read(fd, w.chunk.address(), CHUNK_BYTES);
        if (r > 0) {
          if (w.length + r > w.text.length) {
            w.text = Arrays.copyOf(w.text, 2 * w.text.length);
          }
          MemorySegment.copy(w.chunk, ValueLayout.JAVA_BYTE, 0, w.text, w.length, (int) r);
          w.length += (int) r;
        }
      } while (r > 0);
      Linux.close(fd);
      return r == 0;
    }
  }

  private static int decimal(Work w, int from, int to) {
    int at = from;
    while (at < to && w.text[at] == ' ') {
      at++;
    }
    int value = 0;
    for (int digit; at < to && (digit = Character.digit(w.text[at], 10)) >= 0; at++) {
      value = value * 10 + digit;
    }
    return value;
  }

  /** The hexadecimal number behind a name in one line. */
  private static long field(Work w, int from, int to, String name) {
    int at = from;
    while (at + name.length() <= to && !named(w.text, at, name)) {
      at++;
    }
    at += name.length();
    while (at < to && w.text[at] == ' ') {
      at++;
    }
    long value = 0;
    for (int digit; at < to && (digit = Character.digit(w.text[at], 16)) >= 0; at++) {
      value = value << 4 | digit;
    }
    return value;
  }

  private static boolean named(byte[] text, int at, String name) {
    if (at == 0 || text[at - 1] != ' ') {
      return false;
    }
    for (int i = 0; i < name.length(); i++) {
      if (text[at + i] != name.charAt(i)) {
        return false;
      }
    }
    return true;
  }

  /** From the kernel's own form of a device number to that of stat: new_encode_dev(). */
  private static long userDevice(long device) {
    long major = device >>> 20;
    long minor = device & 0xfffff;
    return (minor & 0xff) | major << 8 | (minor & ~0xffL) << 12;
  }
}
