// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One process's table: which of its descriptors are known to be the host's, and which to be sockets
 * of the device that the shim may use, in memory that it shares with the shim in that process.
 *
 * <p>A word for each descriptor. Bits 0–7 are 1 if it is the host's, 2 if it is such a socket, 3 if
 * it is a file that may be sent to one, 4 if it is an epoll set, 5 if it is such a file that the
 * shim may close, and 0 if nothing is known. For a socket or file its handle and birth stand
 * elsewhere in the table; the device compares them, so that handles read too early or too late lead
 * to no other file. Bits 8–15 count closes that are going on in the shim, the others all that may
 * have made knowledge stale. The shim's {@code close} counts itself in and clears the low byte,
 * closes, and counts itself out; so a number that is free is never known, and {@link #learn} fails
 * for a look-up that a close overtook.
 *
 * <p>The program could write anything here. It would harm no other than itself: what a process
 * makes its own kernel do with its own descriptors it could do without the hook as well.
 *
 * <p>{@link ProcessEntry} calls all but what counts under its monitor.
 */
final class ShimTable {
  /** Names of {@link #names} are shorter: each length is a bit of a long. */
  static final int MAX_NAME = 64;

  /** Bytes of all names with their lengths: device.c reads none that might end behind the page. */
  static final int NAMES_BYTES = ShimLayout.NAMES_BYTES - 2 * MAX_NAME;

  private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle();
  private static final VarHandle LONG = ValueLayout.JAVA_LONG.varHandle();
  private static final int KNOWLEDGE = 0xff;
  private static final int CLOSING = 0xff00;
  private static final int CLOSE = 0x100;
  private static final int CHANGE = 0x1_0000;

  // What may be in a ring: device.c has the same.
  private static final int SENDS_AHEAD = 1;
  private static final int OPTIONS_AHEAD = 2;

  // What slots of the hook take, likewise.
  private static final int NEAR = 1;
  private static final int NEAR_SENDS = 2;
  private static final int NEAR_OPTIONS = 4;
  private static final int NEAR_RECEIVES = 8;
  private static final int NEAR_FILES = 16;

  private final MemorySegment memory;
  private final int index;
  private int closer;
  private boolean frozen;
  private boolean named;
  private boolean elsewhere;

  /**
   * @param memory {@link ShimLayout#TABLE_BYTES} of zeros, shared with the process
   * @param index which table of all it is
   */
  ShimTable(MemorySegment memory, int index) {
    this.memory = memory;
    this.index = index;
  }

  int index() {
    return index;
  }

  /** To be read before a look-up, and given to {@link #learn}. */
  int mark(int fd) {
    return covers(fd) ? (int) INT.getVolatile(memory, (long) fd * Integer.BYTES) : 0;
  }

  /** Notes that {@code fd} is the host's, unless something has happened to it since the mark. */
  void learn(int fd, int mark) {
    learn(fd, mark, ShimLayout.STATE_HOST);
  }

  /**
   * The same of a socket of the device.
   *
   * @param stream whether it is one of a stream
   */
  void learnDevice(int fd, int mark, int handle, int birth, boolean stream) {
    if (covers(fd)) {
      int number = handle | (stream ? ShimLayout.HANDLE_STREAM : 0);
      long what = (long) birth << 32 | Integer.toUnsignedLong(number);
      LONG.setVolatile(memory, ShimLayout.HANDLES_OFFSET + (long) fd * Long.BYTES, what);
      learn(fd, mark, ShimLayout.STATE_DEVICE);
    }
  }

  /**
   * The same of a regular file of the device.
   *
   * @param quiet whether the shim may close it
   */
  void learnFile(int fd, int mark, int handle, int birth, boolean quiet) {
    if (covers(fd)) {
      long what = (long) birth << 32 | Integer.toUnsignedLong(handle);
      LONG.setVolatile(memory, ShimLayout.HANDLES_OFFSET + (long) fd * Long.BYTES, what);
      learn(fd, mark, quiet ? ShimLayout.STATE_QUIET_FILE : ShimLayout.STATE_FILE);
    }
  }

  private void learn(int fd, int mark, int state) {
    if (covers(fd) && !frozen && (mark & (KNOWLEDGE | CLOSING)) == 0) {
      raiseEnd(fd + 1);
      INT.compareAndSet(memory, (long) fd * Integer.BYTES, mark, mark | state);
    }
  }

  /**
   * The same of an epoll set, of which it may be known already that it is the host's.
   *
   * @return the number's word then; 0 if it was not noted
   */
  int learnSet(int fd, int mark) {
    int old = mark & KNOWLEDGE;
    if (!covers(fd)
        || frozen
        || (mark & CLOSING) != 0
        || (old != 0 && old != ShimLayout.STATE_HOST)) {
      return 0;
    }
    cover(fd);
    int word = (mark & ~KNOWLEDGE) | ShimLayout.STATE_SET;
    return INT.compareAndSet(memory, (long) fd * Integer.BYTES, mark, word) ? word : 0;
  }

  /** Whether {@code fd} is known to be the regular file of the device that has this handle. */
  boolean isFile(int fd, int handle) {
    return isFile(mark(fd) & KNOWLEDGE) && isOf(fd, handle);
  }

  private static boolean isFile(int state) {
    return state == ShimLayout.STATE_FILE || state == ShimLayout.STATE_QUIET_FILE;
  }

  private boolean isOf(int fd, int handle) {
    return ((int) handle(fd) & ShimLayout.HANDLE_NUMBER) == handle;
  }

  /** Whether {@code fd} is known to be an epoll set. */
  boolean isSet(int fd) {
    return (mark(fd) & KNOWLEDGE) == ShimLayout.STATE_SET;
  }

  /** From now on what happens to {@code fd} shows in its word, which is returned. */
  int cover(int fd) {
    if (covers(fd)) {
      raiseEnd(fd + 1);
    }
    return mark(fd);
  }

  /** What stands beside a number: its handle with its bits, and above them the birth. */
  long handle(int fd) {
    return covers(fd)
        ? (long) LONG.getVolatile(memory, ShimLayout.HANDLES_OFFSET + (long) fd * Long.BYTES)
        : 0;
  }

  /** The members of the set {@code fd} are not known any more. */
  void forgetMembers(int fd) {
    for (int i = 0; i < ShimLayout.MAX_SETS; i++) {
      Members m = new Members(memory, i);
      if (m.fd() == fd) {
        m.forget();
      }
    }
  }

  /** Whether they are. */
  boolean knowsMembers(int fd) {
    for (int i = 0; i < ShimLayout.MAX_SETS; i++) {
      Members m = new Members(memory, i);
      if (m.fd() == fd && m.word() == mark(fd)) {
        return (m.state() & Members.KNOWN) != 0;
      }
    }
    return false;
  }

  /**
   * Where the members of the set {@code fd} can be noted; null if there is no room. One caller at a
   * time.
   */
  @Nullable Members members(int fd) {
    Members free = null;
    for (int i = 0; i < ShimLayout.MAX_SETS; i++) {
      Members m = new Members(memory, i);
      if (m.fd() == fd && m.word() == mark(fd)) {
        return m;
      }
      if (!isSet(m.fd()) || m.word() != mark(m.fd())) {
        free = m;
      }
    }
    if (free == null || !free.lock()) {
      return null;
    }
    free.become(fd, mark(fd));
    free.unlock();
    return free;
  }

  /**
   * What a set is known to have as members; {@code device.c} has the same, and follows changes. Of
   * a process's own table: what it writes there harms no other.
   */
  static final class Members {
    /** Of {@link #state}. */
    static final long KNOWN = 1;

    private static final int STATE = 0;
    private static final int LOCK = 8;
    private static final int FD = 12;
    private static final int WORD = 16;
    private static final int COUNT = 20;

    private static final int MEMBER_HANDLE = 0;
    private static final int MEMBER_DATA = 8;
    private static final int MEMBER_FD = 16;
    private static final int MEMBER_EVENTS = 20;
    private static final int MEMBER_WORD = 24;

    private final MemorySegment memory;
    private final long at;

    Members(MemorySegment memory, int index) {
      this.memory = memory;
      this.at = ShimLayout.SETS_OFFSET + (long) index * ShimLayout.SET_BYTES;
    }

    private int fd() {
      return (int) INT.getVolatile(memory, at + FD);
    }

    private int word() {
      return (int) INT.getVolatile(memory, at + WORD);
    }

    /** Whether nobody else had it; the caller is to unlock it. */
    boolean lock() {
      return INT.compareAndSet(memory, at + LOCK, 0, 1);
    }

    void unlock() {
      INT.setVolatile(memory, at + LOCK, 0);
    }

    /** To be read before the members are found out, and given to {@link #known}. */
    long state() {
      return (long) LONG.getVolatile(memory, at + STATE);
    }

    /** What was put is right, unless something has changed since {@code state} was read. */
    void known(long state) {
      LONG.compareAndSet(memory, at + STATE, state, state | KNOWN);
    }

    /** What is there is not known to be right. */
    void forget() {
      long old;
      do {
        old = state();
      } while (!LONG.compareAndSet(memory, at + STATE, old, (old + 2) & ~KNOWN));
    }

    private void become(int fd, int word) {
      forget();
      INT.setVolatile(memory, at + FD, fd);
      INT.setVolatile(memory, at + WORD, word);
    }

    /** Puts one member down; under the lock. */
    void put(int index, int fd, int word, long handle, int events, long data) {
      long m = at + ShimLayout.SET_HEADER + (long) index * ShimLayout.MEMBER_BYTES;
      memory.set(ValueLayout.JAVA_LONG, m + MEMBER_HANDLE, handle);
      memory.set(ValueLayout.JAVA_LONG, m + MEMBER_DATA, data);
      memory.set(ValueLayout.JAVA_INT, m + MEMBER_FD, fd);
      memory.set(ValueLayout.JAVA_INT, m + MEMBER_EVENTS, events);
      memory.set(ValueLayout.JAVA_INT, m + MEMBER_WORD, word);
    }

    /** Says how many there are; under the lock. */
    void count(int count) {
      INT.setVolatile(memory, at + COUNT, count);
    }
  }

  /** The device reports the readiness of a socket that is known already. */
  void watched(int fd, int handle) {
    if (covers(fd)) {
      long at = ShimLayout.HANDLES_OFFSET + (long) fd * Long.BYTES;
      long old = (long) LONG.getVolatile(memory, at);
      if (((int) old & ShimLayout.HANDLE_NUMBER) == handle) {
        // If it is another file's by now, that has told its own.
        LONG.compareAndSet(
            memory, at, old, old | Integer.toUnsignedLong(ShimLayout.HANDLE_WATCHED));
      }
    }
  }

  /**
   * Says how many threads may be waiting in an epoll set.
   *
   * @param only the one that does, if that is certain; else 0
   * @param pid the process, as it is known here
   */
  void waits(int threads, int only, int pid) {
    INT.setVolatile(memory, (long) ShimLayout.HOOK_PID_OFFSET, pid);
    INT.setVolatile(memory, (long) ShimLayout.WAITER_OFFSET, only);
    INT.setVolatile(memory, (long) ShimLayout.WAITS_OFFSET, threads);
  }

  /** Whether {@code fd} is known to be the host's. */
  boolean isHost(int fd) {
    return (mark(fd) & KNOWLEDGE) == ShimLayout.STATE_HOST;
  }

  /**
   * While it is so, calls on sockets of the device trap: a descriptor is being closed, and what
   * that does on the device must have been done before.
   */
  void hold(boolean on) {
    INT.setVolatile(memory, (long) ShimLayout.CONTROL_OFFSET, on ? 1 : 0);
  }

  private void raiseEnd(int to) {
    int end;
    do {
      end = (int) INT.getVolatile(memory, (long) ShimLayout.END_OFFSET);
    } while (end < to && !INT.compareAndSet(memory, (long) ShimLayout.END_OFFSET, end, to));
  }

  /** No number from there on is known, nor is the shim finding out about one. */
  private int end() {
    int end = (int) INT.getVolatile(memory, (long) ShimLayout.END_OFFSET);
    return Math.clamp(end, 0, ShimLayout.MAX_FD);
  }

  /**
   * Says which threads may be about to close a number by a trap. Only who does not close anything
   * unknown to others may put down what a number is; {@code device.c} has the argument. To be said
   * before the numbers are forgotten, and when all is over.
   *
   * @param tid 0 for none, the one if it is only one, or {@link ShimLayout#NONE_LEARNS}
   */
  void closer(int tid) {
    closer = tid;
    showLearner();
  }

  private void showLearner() {
    INT.setVolatile(
        memory,
        (long) ShimLayout.LEARNER_OFFSET,
        frozen || !ShimSwitches.LEARNS ? ShimLayout.NONE_LEARNS : closer);
  }

  /** Where entries to signal handlers are in the process's memory; 0 for nowhere. */
  void entries(long address) {
    LONG.setVolatile(memory, (long) ShimLayout.ENTRIES_OFFSET, address);
  }

  /** Forgets all numbers that are known to have that handle. */
  void withdraw(int handle) {
    int end = end();
    for (int fd = 0; fd < end; fd++) {
      int state = mark(fd) & KNOWLEDGE;
      if (state == ShimLayout.STATE_DEVICE && isOf(fd, handle)) {
        forget(fd, fd);
      }
    }
  }

  /** Forgets the numbers from {@code first} to {@code last}; look-ups that go on are void. */
  void forget(int first, int last) {
    int end = end();
    for (int fd = first; fd < end && fd <= last; fd++) {
      long at = (long) fd * Integer.BYTES;
      int old;
      do {
        old = (int) INT.getVolatile(memory, at);
      } while (!INT.compareAndSet(memory, at, old, (old & ~KNOWLEDGE) + CHANGE));
    }
  }

  /** A close that the shim has begun ends without it. */
  void countOut(int fd) {
    if (covers(fd)) {
      INT.getAndAdd(memory, (long) fd * Integer.BYTES, -CLOSE);
    }
  }

  /** Forgets everything and, while it is so, learns nothing: every call traps. */
  void freeze(boolean on) {
    frozen = on;
    showLearner();
    showPaths();
    if (on) {
      forget(0, Integer.MAX_VALUE);
    }
  }

  /** How often the shim let call {@code number} go to the host's kernel; by any thread. */
  long calls(int number) {
    return count(ShimLayout.COUNTERS_OFFSET, number);
  }

  /** Whether it can have had the device make any. */
  boolean hasDeviceCalls() {
    return (int) INT.getVolatile(memory, (long) ShimLayout.SLOT_COUNT_OFFSET) > 0;
  }

  /** How often the shim had the device make call {@code number}. */
  long deviceCalls(int number) {
    return count(ShimLayout.DEVICE_COUNTERS_OFFSET, number);
  }

  /** How many bytes such calls moved. */
  long deviceBytes(int number) {
    return count(ShimLayout.DEVICE_BYTES_OFFSET, number);
  }

  /** How often call {@code number} found its reply while it looked for it, before it slept. */
  long spinsWon(int number) {
    return spins(number, 0);
  }

  /** How often it looked in vain. */
  long spinsLost(int number) {
    return spins(number, Long.BYTES);
  }

  private long spins(int number, int which) {
    long n = 0;
    for (int slot = 0; slot < ShimLayout.MAX_SLOTS && number < ShimLayout.SPIN_NUMBERS; slot++) {
      long at = ((long) slot * ShimLayout.SPIN_NUMBERS + number) * 2 * Long.BYTES;
      n += memory.get(ValueLayout.JAVA_LONG, ShimLayout.SPINS_OFFSET + at + which);
    }
    return n;
  }

  /** How many of them are of files of the device, and never crossed. */
  long stayedBytes() {
    return memory.get(ValueLayout.JAVA_LONG, ShimLayout.STAYED_OFFSET);
  }

  /** Whether the process may send without waiting, and set options between what it sends. */
  void ahead(boolean sends, boolean options) {
    INT.setVolatile(
        memory,
        (long) ShimLayout.AHEAD_OFFSET,
        (sends ? SENDS_AHEAD : 0) | (options ? OPTIONS_AHEAD : 0));
  }

  /**
   * The hook serves the process's call slots: all traps but what is said here, and names and
   * options that are asked for.
   */
  void near(boolean sends, boolean options, boolean receives, boolean ofFiles) {
    INT.setVolatile(
        memory,
        (long) ShimLayout.NEAR_OFFSET,
        NEAR
            | (sends ? NEAR_SENDS : 0)
            | (options ? NEAR_OPTIONS : 0)
            | (receives ? NEAR_RECEIVES : 0)
            | (ofFiles ? NEAR_FILES : 0));
  }

  /** Whether what the process asks about sockets goes to the device without a trap. */
  void asks(boolean on) {
    INT.setVolatile(memory, (long) ShimLayout.ASKS_OFFSET, on ? 1 : 0);
  }

  /**
   * Says of which names none is in a path that the shim may take for the host's: it looks at paths
   * from now on, while nothing stands in the way.
   *
   * @param names shorter than {@link #MAX_NAME} each, in all not longer than {@link #NAMES_BYTES}
   */
  void names(List<byte[]> names) {
    long lengths = 0;
    long at = (long) ShimLayout.NAMES_OFFSET + Long.BYTES;
    for (byte[] name : names) {
      lengths |= 1L << name.length;
      memory.set(ValueLayout.JAVA_BYTE, at, (byte) name.length);
      MemorySegment.copy(name, 0, memory, ValueLayout.JAVA_BYTE, at + 1, name.length);
      at += 1 + name.length;
    }
    LONG.setVolatile(memory, (long) ShimLayout.NAMES_OFFSET, lengths);
    named = true;
    showPaths();
  }

  /** The device number of the file system in which placeholders of regular files are. */
  void memory(long device) {
    LONG.setVolatile(memory, (long) ShimLayout.MEMORY_OFFSET, device);
  }

  /** Whether the process's working directory is one of the device. */
  void elsewhere(boolean on) {
    elsewhere = on;
    showPaths();
  }

  private void showPaths() {
    boolean on = named && !elsewhere && !frozen;
    INT.setVolatile(memory, (long) ShimLayout.PATHS_OFFSET, on ? 1 : 0);
  }

  /** Whether the device may look at what the process receives next. */
  void peeks(boolean on) {
    INT.setVolatile(memory, (long) ShimLayout.PEEKS_OFFSET, on ? 1 : 0);
  }

  /** Whether the process takes what it receives, and it is in the socket until then. */
  void takes(boolean on) {
    INT.setVolatile(memory, (long) ShimLayout.TAKES_OFFSET, on ? 1 : 0);
  }

  /** How often call {@code number} did not wait for the device, which had to do it all the same. */
  long atOnce(int number) {
    return number < ShimLayout.AT_ONCE_NUMBERS ? count(ShimLayout.AT_ONCE_OFFSET, number) : 0;
  }

  private long count(int counters, int number) {
    return memory.get(ValueLayout.JAVA_LONG, counters + (long) number * Long.BYTES);
  }

  private static boolean covers(int fd) {
    return fd >= 0 && fd < ShimLayout.MAX_FD;
  }
}
