// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.channel.SlotLayout;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.SocketOptions;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * A kernel of the tests' that answers as it is told and fails the test when it is given what it
 * must not be: a pointer outside of the slots' data and the device's own blocks, more bytes than
 * lie there, a file that nobody has named, a call that may wait.
 *
 * <p>One thread.
 */
final class SpiedKernel implements Kernel {
  /** What a file is. */
  enum Kind {
    /** TCP to somewhere else; a send waits for room. */
    ELSEWHERE,
    /** The same, but nothing waits. */
    ELSEWHERE_NONBLOCK,
    /** The same by IPv6. */
    ELSEWHERE_IPV6,
    /** TCP over loopback. */
    LOOPBACK,
    /** TCP to an address of this device's own. */
    OWN_ADDRESS,
    /** TCP to a mapped address of IPv4's loopback. */
    LOOPBACK_MAPPED,
    UDP,
    FILE
  }

  /** Who makes the calls. */
  enum Caller {
    /** The harness, or a close. */
    NOBODY,
    /** A call of a lent slot, and drains below it. */
    CALL,
    /** Somebody drains the rings. */
    DRAIN,
    /** The slot's thread looks what its process may receive next. */
    LOOK,
    /** The thread that sends what found no room. */
    SENDER
  }

  static final int FILES = 64;

  private static final int DECISIONS = 16;
  private static final long BLOCKS = 12;
  private static final int ADDRESS_BYTES = 28;
  private static final int MSG =
      Socket.MSG_PEEK | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | Socket.MSG_MORE;

  /** Restart codes one after the other, which the device repeats a call for. */
  private static final int MAX_RESTARTS = 3;

  private final MemorySegment memory = Arena.ofAuto().allocate(BLOCKS * BLOCK_BYTES, 4096);
  private final Blocks blocks = new Blocks(memory);
  private final MemorySegment[] slots;

  private final @Nullable Kind[] files = new Kind[FILES];
  private final @Nullable Owed[] owed = new Owed[FILES];

  /** Of a stream: bytes received ever, and bytes that are there to receive. */
  private final long[] received = new long[FILES];

  private final int[] queued = new int[FILES];

  /** How many files have had a number. */
  private final int[] lives = new int[FILES];

  private final byte[] decisions = new byte[DECISIONS];
  private int decided;
  private int restarts;
  private int lastPolled;
  private int lastFound;
  private @Nullable Runnable mutation;
  private int mutationAfter;
  private boolean refused;
  private int tasks;

  Caller caller = Caller.NOBODY;

  /** Whether the current call, or what is in the rings, names a file rightly. */
  IntPredicate names = fd -> false;

  /** Files of which that is known: bits. */
  long named;

  /** Judges what only the order of things shows. */
  Watcher watcher = new Watcher() {};

  /** Calls since this was last set to 0. */
  int calls;

  /** Of {@link #calls} the sends of what found no room before. */
  int pushes;

  /** Bytes moved by the call of a lent slot itself, since this was last set to 0. */
  long moved;

  /** Bytes that went out of rings, ever. */
  long ahead;

  /** The room that a process has said there is for an answer. */
  long asked;

  /** Whether a mutation has happened since this was last cleared. */
  boolean mutated;

  /** Sees sends out of rings, and what is received of streams; each before it is answered. */
  interface Watcher {
    /**
     * A send out of a ring.
     *
     * @param slot whose
     * @param at of the bytes, from the slot's start
     */
    default void sends(int slot, long at, int fd, long length, long flags) {}

    /** A send of what found no room before. */
    default void pushes(int fd, MemorySegment bytes, long flags) {}

    /**
     * A receive of a stream that takes bytes out of its queue.
     *
     * @param at how many were received before, ever
     */
    default void receives(int fd, long at, long bytes) {}

    /** Somebody is about to look at a stream for an entry of a slot. */
    default void looks(int slot, int entry, int fd) {}

    /** That found so many bytes, the first of which is at this position. */
    default void looked(int slot, int entry, int fd, long at, int bytes) {}

    /** Bytes that an entry had are about to be thrown out of the queue. */
    default void discards(int slot, int entry, int fd, long at, long bytes) {}

    /** So many were. */
    default void discarded(int slot, int entry, int bytes) {}
  }

  /** What a ring's send has left, that is to be sent before all else of its file. */
  private static final class Owed {
    final byte[] bytes;
    int at;

    Owed(byte[] bytes) {
      this.bytes = bytes;
    }
  }

  SpiedKernel(MemorySegment... slots) {
    this.slots = slots;
  }

  /** Forgets everything. */
  void begin(byte[] input, int from) {
    for (int i = 0; i < DECISIONS; i++) {
      decisions[i] = from + i < input.length ? input[from + i] : 0;
    }
    for (int i = 0; i < FILES; i++) {
      files[i] = null;
      owed[i] = null;
      lives[i] = 0;
    }
    decided = 0;
    restarts = 0;
    mutation = null;
    caller = Caller.NOBODY;
    named = 0;
    calls = 0;
    moved = 0;
    ahead = 0;
    mutated = false;
    tasks = 0;
  }

  void open(int fd, Kind kind) {
    check(files[fd] == null, "a number twice");
    files[fd] = kind;
    owed[fd] = null;
    received[fd] = 0;
    queued[fd] = 0;
    lives[fd]++;
  }

  boolean isOpen(int fd) {
    return files[fd] != null;
  }

  /** What is at the other end of a file, if it is open. */
  @Nullable Kind kind(int fd) {
    return files[fd];
  }

  /** How many files have had this number, the present one included. */
  int life(int fd) {
    return lives[fd];
  }

  /** Bytes that were received of a stream, ever. */
  long received(int fd) {
    return received[fd];
  }

  /** A byte of a stream. */
  byte byteAt(int fd, long position) {
    return (byte) (lives[fd] * 101 + fd * 37 + position * 7 + (position >> 8) * 13);
  }

  /** More comes for a stream, from the network. */
  void arrive(int fd, int bytes) {
    if (isStream(files[fd])) {
      queued[fd] += bytes;
    }
  }

  /** Somebody else's call that was out receives what there is. */
  void receiveElsewhere(int fd, int most) {
    int bytes = Math.min(most, queued[fd]);
    if (isStream(files[fd]) && bytes > 0) {
      takeOut(fd, bytes);
    }
  }

  static boolean isStream(@Nullable Kind kind) {
    return kind != null && kind != Kind.FILE && kind != Kind.UDP;
  }

  private void takeOut(int fd, long bytes) {
    watcher.receives(fd, received[fd], bytes);
    received[fd] += bytes;
    queued[fd] -= (int) bytes;
  }

  /** No task is left, and no file. */
  void checkOver() {
    check(tasks == 0, "a task is left");
    for (int i = 0; i < FILES; i++) {
      check(files[i] == null, "a file is left", i);
    }
  }

  /** Has something happen in the middle of what is called next, once. */
  void arm(int after, Runnable change) {
    mutationAfter = after;
    mutation = change;
  }

  void disarm() {
    mutation = null;
  }

  /** Whether the last poll was of this file alone, and found that it has room and nothing else. */
  boolean foundRoom(int fd) {
    return lastPolled == fd && lastFound == Poll.POLLOUT;
  }

  static void check(boolean holds, String what, long... numbers) {
    if (!holds) {
      throw new AssertionError(what + " " + Arrays.toString(numbers));
    }
  }

  private int decide() {
    return Byte.toUnsignedInt(decisions[decided++ % DECISIONS]);
  }

  /** Whether an interruption that was meant for another call comes now. */
  private boolean restarts(int decision) {
    restarts = decision >= 0xf8 && restarts < MAX_RESTARTS ? restarts + 1 : 0;
    return restarts > 0;
  }

  private Kind use(long fd) {
    check(fd >= 0 && fd < FILES, "file", fd);
    Kind kind = files[(int) fd];
    if ((named >>> fd & 1) == 0) {
      check(names.test((int) fd), "nobody has named file", fd);
      named |= 1L << fd;
    }
    if (kind == null) {
      throw new AssertionError("a file that is not open: " + fd);
    }
    return kind;
  }

  /** In a block of the device's. */
  private long own(long address, long bytes) {
    long at = address - memory.address();
    check(
        at >= 0
            && bytes >= 0
            && at + bytes <= memory.byteSize()
            && (bytes == 0 || at / BLOCK_BYTES == (at + bytes - 1) / BLOCK_BYTES),
        "bytes of the device's blocks, at",
        bytes,
        at);
    return at;
  }

  private boolean isOwn(long address) {
    return address >= memory.address() && address < memory.address() + memory.byteSize();
  }

  /** In the part of a slot's data that calls use; of the slot whose call it is. */
  private MemorySegment ofCall(long address, long bytes) {
    check(caller == Caller.CALL, "a call's data, but there is no call");
    for (MemorySegment slot : slots) {
      long at = address - slot.address();
      if (at >= SlotLayout.DATA && at < SlotLayout.RING) {
        check(bytes >= 0 && bytes <= SlotLayout.RING - at, "bytes at", bytes, at);
        return slot.asSlice(at, bytes);
      }
    }
    throw new AssertionError("an address outside of all slots' data");
  }

  @Override
  public long syscall(int number, long a0, long a1, long a2, long a3, long a4, long a5) {
    Runnable change = mutation;
    if (change != null && mutationAfter-- == 0) {
      mutation = null;
      // What was looked at before was named then.
      for (int fd = 0; fd < FILES; fd++) {
        named |= files[fd] != null && names.test(fd) ? 1L << fd : 0;
      }
      change.run();
      mutated = true;
    }
    calls++;
    return switch (number) {
      case Canonical.CLOSE -> close(a0);
      case Canonical.PPOLL -> poll(a0, a1, a2, a3 | a4 | a5);
      case Canonical.SENDTO -> {
        check(a4 == 0 && a5 == 0, "an address to send to");
        yield send(a0, a1, a2, a3);
      }
      case Canonical.RECVFROM -> {
        check(a4 == 0 && a5 == 0, "an address to receive from");
        yield receive(a0, a1, a2, a3);
      }
      case Canonical.SENDFILE -> sendFile(a0, a1, a2, a3);
      case Canonical.FCNTL -> {
        check(a1 == Fcntl.F_GETFL, "fcntl", a1);
        yield use(a0) == Kind.ELSEWHERE_NONBLOCK ? Fcntl.O_NONBLOCK : 0;
      }
      case Canonical.GETSOCKOPT -> option(a0, a1, a2, a3, a4);
      case Canonical.SETSOCKOPT -> {
        use(a0);
        check(
            a1 == Socket.IPPROTO_TCP && (a2 == Socket.TCP_NODELAY || a2 == Socket.TCP_CORK),
            "option",
            a1,
            a2);
        if (isOwn(a3)) {
          own(a3, a4); // out of a ring
        } else {
          ofCall(a3, a4);
        }
        check(a4 == Integer.BYTES, "an option of", a4);
        yield 0;
      }
      case Canonical.GETSOCKNAME -> name(a0, a1, a2, 2);
      case Canonical.GETPEERNAME -> name(a0, a1, a2, 1);
      case Canonical.IOCTL -> {
        use(a0);
        check(a1 == Ioctl.FIONREAD, "ioctl", a1);
        answer(a2, Integer.BYTES).set(ValueLayout.JAVA_INT, 0, queued[(int) a0]);
        yield 0;
      }
      case Canonical.STATX -> {
        use(a0);
        check(
            memory.get(ValueLayout.JAVA_BYTE, own(a1, 1)) == 0 && a2 == Fcntl.AT_EMPTY_PATH,
            "a status by a name");
        check(a3 == Stat.STATX_BASIC, "a status of", a3);
        answer(a4, Stat.STATX_BYTES);
        yield 0;
      }
      case Canonical.SHUTDOWN -> {
        use(a0);
        yield 0;
      }
      default -> throw new AssertionError("call " + number);
    };
  }

  private long close(long fd) {
    check(fd >= 0 && fd < FILES && files[(int) fd] != null, "closes", fd);
    files[(int) fd] = null;
    return 0;
  }

  private long poll(long address, long count, long time, long others) {
    check(others == 0, "a poll with a mask");
    check(
        count > 0 && count <= (caller == Caller.CALL ? LentCalls.MAX_POLLED : 512),
        "a poll of",
        count);
    long at = own(address, count * 8);
    long timeAt = own(time, 16);
    check(memory.get(ValueLayout.JAVA_LONG, timeAt) == 0, "a poll of seconds");
    long nanos = memory.get(ValueLayout.JAVA_LONG, timeAt + 8);
    check(
        nanos == 0
            || (nanos > 0 && nanos <= LentCalls.WAIT_NANOS && caller == Caller.CALL)
            || (nanos > 0 && nanos <= 20_000_000 && caller == Caller.SENDER),
        "ns of a poll",
        nanos);
    int decision = decide();
    int ready = 0;
    boolean restart = restarts(decision);
    for (int i = 0; i < count; i++, at += 8) {
      int fd = memory.get(ValueLayout.JAVA_INT, at);
      if (caller == Caller.LOOK) {
        // What is known of a number that is gone by now, or another file's.
        check(fd >= 0 && fd < FILES && lives[fd] > 0, "a look at", fd);
        if (files[fd] == null) {
          memory.set(ValueLayout.JAVA_SHORT, at + 6, (short) Poll.POLLNVAL);
          ready++;
          continue;
        }
      } else {
        use(fd);
      }
      int events = memory.get(ValueLayout.JAVA_SHORT, at + 4);
      int found = decision < 0xd0 ? events & (Poll.POLLIN | Poll.POLLOUT) : 0;
      found |= decision >= 0xe0 && decision < 0xf0 ? Poll.POLLHUP : 0;
      found |= decision >= 0xe8 && decision < 0xf8 ? Poll.POLLERR : 0;
      memory.set(ValueLayout.JAVA_SHORT, at + 6, (short) (restart ? 0 : found));
      ready += found == 0 ? 0 : 1;
      lastPolled = fd;
      lastFound = restart ? 0 : found;
    }
    return restart ? -Errno.EINTR : ready;
  }

  private long send(long fd, long address, long bytes, long flags) {
    Kind kind = use(fd);
    check((flags & ~MSG) == 0, "flags", flags);
    check(
        (flags & Socket.MSG_DONTWAIT) != 0 && (flags & Socket.MSG_NOSIGNAL) != 0,
        "a send that waits, or a signal");
    int from = -1;
    for (int i = 0; i < slots.length; i++) {
      long at = address - slots[i].address();
      if (at >= SlotLayout.RING && at < SlotLayout.BYTES) {
        from = i;
      }
    }
    Owed left = owed[(int) fd];
    if (isOwn(address)) {
      long at = own(address, bytes);
      check(bytes > 0 && bytes <= SlotLayout.AHEAD_BYTES, "a rest of", bytes);
      watcher.pushes((int) fd, memory.asSlice(at, bytes), flags);
      pushes++;
      for (int i = 0; left != null && i < bytes && left.at + i < left.bytes.length; i++) {
        check(
            memory.get(ValueLayout.JAVA_BYTE, at + i) == left.bytes[left.at + i],
            "other bytes than found no room");
      }
    } else {
      check(left == null, "a send before what found no room");
      if (from >= 0) {
        long at = address - slots[from].address();
        check(
            bytes > 0
                && bytes <= SlotLayout.AHEAD_BYTES
                && bytes <= SlotLayout.RING + SlotLayout.RING_BYTES - at,
            "bytes of a ring, at",
            bytes,
            at);
        watcher.sends(from, at, (int) fd, bytes, flags);
      } else {
        ofCall(address, bytes);
        check(bytes <= Call.PIECE_BYTES, "a send of", bytes);
      }
    }
    long result = sent(kind, bytes, isOwn(address));
    account((int) fd, address, bytes, result, from);
    return result;
  }

  /** Keeps what is still to be sent before all else, and counts. */
  private void account(int fd, long address, long bytes, long result, int from) {
    if (isOwn(address)) {
      Owed left = owed[fd];
      if (left != null && result != -Errno.EINTR && result != -Errno.EAGAIN) {
        left.at += (int) Math.max(0, result);
        if (result < 0 || left.at >= left.bytes.length) {
          owed[fd] = null;
        }
      }
    } else if (from >= 0) {
      ahead += Math.max(0, result);
      if (result == -Errno.EAGAIN || (result >= 0 && result < bytes)) {
        long done = Math.max(0, result);
        MemorySegment slot = slots[from];
        owed[fd] =
            new Owed(
                slot.asSlice(address - slot.address() + done, bytes - done)
                    .toArray(ValueLayout.JAVA_BYTE));
      }
    } else {
      moved += Math.max(0, result);
    }
  }

  /** What a file takes. */
  private long sent(Kind kind, long bytes, boolean again) {
    if (kind == Kind.FILE) {
      return -Errno.ENOTSOCK;
    }
    int decision = decide();
    if (restarts(decision)) {
      return -Errno.EINTR;
    }
    if (caller == Caller.SENDER) {
      // There is room for all in the end.
      boolean full = decision == 0xdf && !refused;
      refused |= full;
      return full ? -Errno.EAGAIN : bytes;
    }
    if (decision < 0xc0) {
      return bytes;
    }
    if (decision < 0xd0) {
      // Of what is sent again the half at least: how often is not the device's to bound.
      long some = bytes * (again ? 8 + decision % 8 : decision % 16) / 16;
      return kind == Kind.UDP ? bytes : Math.min(bytes, Math.max(1, some));
    }
    if (decision < 0xe0) {
      return -Errno.EAGAIN;
    }
    return decision < 0xe8 ? -Errno.EPIPE : decision < 0xf0 ? -Errno.ECONNRESET : -Errno.ENOMEM;
  }

  /** The sender's thread begins. */
  void allowRefusal() {
    refused = false;
  }

  private long receive(long fd, long address, long bytes, long flags) {
    for (int i = 0; i < slots.length; i++) {
      long at = address - slots[i].address() - SlotLayout.PEEKED;
      if (at >= 0 && at < (long) SlotLayout.PEEKED_ENTRIES * SlotLayout.PEEKED_BYTES) {
        check(at % SlotLayout.PEEKED_BYTES == SlotLayout.PEEKED_DATA, "not an entry's bytes", at);
        int entry = (int) (at / SlotLayout.PEEKED_BYTES);
        check(bytes > 0 && bytes <= PeekedReceives.MOST, "bytes of an entry", bytes);
        check(fd >= 0 && fd < FILES && files[(int) fd] != null, "no file", fd);
        return flags == (Socket.MSG_PEEK | Socket.MSG_DONTWAIT)
            ? look(i, entry, (int) fd, bytes)
            : discard(i, entry, (int) fd, bytes, flags);
      }
    }
    Kind kind = use(fd);
    check((flags & ~MSG) == 0 && (flags & Socket.MSG_DONTWAIT) != 0, "flags", flags);
    check(bytes <= Call.PIECE_BYTES, "a receive of", bytes);
    MemorySegment data = ofCall(address, bytes);
    if (kind == Kind.FILE) {
      return -Errno.ENOTSOCK;
    }
    int decision = decide();
    if (restarts(decision)) {
      return -Errno.EINTR;
    }
    int there = isStream(kind) ? queued[(int) fd] : 0;
    if (decision >= 0xd0 && there == 0) {
      return nothing(decision);
    }
    long result =
        decision < 0xc0 ? bytes : Math.min(bytes, decision < 0xd0 ? decision & 15 : there);
    if (isStream(kind)) {
      // What is not there has just come.
      queued[(int) fd] = (int) Math.max(there, result);
    }
    if (result > 0) {
      data.set(ValueLayout.JAVA_BYTE, 0, byteAt((int) fd, received[(int) fd]));
      data.set(
          ValueLayout.JAVA_BYTE, result - 1, byteAt((int) fd, received[(int) fd] + result - 1));
    }
    if (isStream(kind) && (flags & Socket.MSG_PEEK) == 0 && result > 0) {
      takeOut((int) fd, result);
    }
    moved += result;
    return result;
  }

  private static long nothing(int decision) {
    return decision < 0xe0 ? -Errno.EAGAIN : decision < 0xf0 ? 0 : -Errno.ECONNRESET;
  }

  /** A receive of what stays in the queue, into an entry of a slot. */
  private long look(int slot, int entry, int fd, long bytes) {
    check(bytes == PeekedReceives.MOST, "a look for", bytes);
    watcher.looks(slot, entry, fd);
    int decision = decide();
    if (restarts(decision)) {
      return -Errno.EINTR;
    }
    if (queued[fd] == 0) {
      if (decision >= 0xd0) {
        return nothing(decision);
      }
      queued[fd] =
          decision < 0xa0
              ? 1 + decision
              : decision < 0xc0 ? PeekedReceives.MOST - 8 + (decision & 31) : 1 + (decision & 15);
    }
    int result = (int) Math.min(bytes, queued[fd]);
    long at = SlotLayout.PEEKED + (long) entry * SlotLayout.PEEKED_BYTES + SlotLayout.PEEKED_DATA;
    for (int i = 0; i < result; i++) {
      slots[slot].set(ValueLayout.JAVA_BYTE, at + i, byteAt(fd, received[fd] + i));
    }
    watcher.looked(slot, entry, fd, received[fd], result);
    return result;
  }

  /** A receive that throws away. */
  private long discard(int slot, int entry, int fd, long bytes, long flags) {
    check(flags == (Socket.MSG_TRUNC | Socket.MSG_DONTWAIT), "flags at an entry", flags);
    watcher.discards(slot, entry, fd, received[fd], bytes);
    int decision = decide();
    if (restarts(decision)) {
      return -Errno.EINTR;
    }
    int result = (int) Math.min(bytes, queued[fd]);
    // What is there may lie in several pieces.
    result = decision >= 0xc0 && decision < 0xd0 ? (result + 1) / 2 : result;
    if (result == 0) {
      return -Errno.EAGAIN;
    }
    received[fd] += result;
    queued[fd] -= result;
    watcher.discarded(slot, entry, result);
    return result;
  }

  /** Where the answer to a process's question goes. */
  private MemorySegment answer(long address, long bytes) {
    MemorySegment data = ofCall(address, bytes);
    boolean begins = false;
    for (MemorySegment slot : slots) {
      begins |= address == slot.address() + SlotLayout.DATA + LentCalls.ANSWER;
    }
    check(begins, "an answer somewhere else");
    return data;
  }

  /**
   * Answers a process's question with as much as there is room for, all of which is written to.
   *
   * @param whole bytes of the answer
   */
  private void answer(long address, long length, int whole, boolean tellsWhole) {
    long lengthAt = own(length, Integer.BYTES);
    int room = memory.get(ValueLayout.JAVA_INT, lengthAt);
    check(room >= 0 && room <= SocketOptions.ASKED_BYTES, "room for an answer", room);
    check(room == asked, "room that nobody has said", room, asked);
    answer(address, room).fill((byte) whole);
    memory.set(ValueLayout.JAVA_INT, lengthAt, tellsWhole ? whole : Math.min(room, whole));
  }

  private long sendFile(long to, long from, long offset, long bytes) {
    Kind kind = use(to);
    use(from);
    check(owed[(int) to] == null, "a file before what found no room");
    check(kind == Kind.ELSEWHERE_NONBLOCK, "a file to what may wait, or is no stream");
    check(bytes > 0 && bytes <= LentCalls.SENDFILE_BYTES, "a file of", bytes);
    ofCall(offset, Long.BYTES);
    int decision = decide();
    if (restarts(decision)) {
      return -Errno.ERESTARTSYS;
    }
    if (decision >= 0xd0) {
      return decision < 0xe0 ? -Errno.EAGAIN : -Errno.EPIPE;
    }
    long result = decision < 0xc0 ? bytes : Math.min(bytes, 1 + (decision & 15));
    moved += result;
    return result;
  }

  private long option(long fd, long level, long name, long value, long length) {
    Kind kind = use(fd);
    if (!isOwn(value)) {
      return askedOption(kind, (int) fd, level, name, value, length);
    }
    check(level == Socket.SOL_SOCKET, "option of", level);
    long at = own(value, Integer.BYTES);
    check(memory.get(ValueLayout.JAVA_INT, own(length, Integer.BYTES)) == Integer.BYTES, "length");
    if (kind == Kind.FILE) {
      return -Errno.ENOTSOCK;
    }
    boolean datagrams = kind == Kind.UDP;
    int answer =
        name == Socket.SO_TYPE
            ? datagrams ? Socket.SOCK_DGRAM : Socket.SOCK_STREAM
            : datagrams ? Socket.IPPROTO_UDP : Socket.IPPROTO_TCP;
    check(name == Socket.SO_TYPE || name == Socket.SO_PROTOCOL, "option", name);
    memory.set(ValueLayout.JAVA_INT, at, answer);
    return 0;
  }

  private long askedOption(Kind kind, int fd, long level, long name, long value, long length) {
    check(SocketOptions.isAsked(level, name), "an option of no list", level, name);
    boolean error = level == Socket.SOL_SOCKET && name == Socket.SO_ERROR;
    if (error) {
      check(lastPolled == fd && (lastFound & Poll.POLLERR) == 0, "an error that shows");
      check(asked >= Integer.BYTES, "an error without room");
    }
    if (kind == Kind.FILE) {
      return -Errno.ENOTSOCK;
    }
    answer(value, length, error ? Integer.BYTES : decide(), false);
    return 0;
  }

  private long name(long fd, long address, long length, int last) {
    Kind kind = use(fd);
    if (!isOwn(address)) {
      if (kind == Kind.FILE) {
        return -Errno.ENOTSOCK;
      }
      answer(address, length, kind == Kind.ELSEWHERE_IPV6 ? ADDRESS_BYTES : 16, true);
      return 0;
    }
    long at = own(address, ADDRESS_BYTES);
    long room = memory.get(ValueLayout.JAVA_INT, own(length, Integer.BYTES));
    check(room == ADDRESS_BYTES, "room of", room);
    memory.asSlice(at, ADDRESS_BYTES).fill((byte) 0);
    boolean six = kind == Kind.ELSEWHERE_IPV6 || kind == Kind.LOOPBACK_MAPPED;
    memory.set(ValueLayout.JAVA_SHORT, at, (short) (six ? Socket.AF_INET6 : Socket.AF_INET));
    long network = at + (six ? 8 : 4);
    switch (kind) {
      case ELSEWHERE_IPV6 -> {
        memory.set(ValueLayout.JAVA_BYTE, network, (byte) 0xfd);
        memory.set(ValueLayout.JAVA_BYTE, network + 15, (byte) last);
      }
      case LOOPBACK_MAPPED -> {
        memory.set(ValueLayout.JAVA_SHORT, network + 10, (short) -1);
        memory.set(ValueLayout.JAVA_BYTE, network + 12, (byte) 127);
        memory.set(ValueLayout.JAVA_BYTE, network + 15, (byte) last);
      }
      default -> {
        memory.set(ValueLayout.JAVA_BYTE, network, (byte) (kind == Kind.LOOPBACK ? 127 : 10));
        memory.set(
            ValueLayout.JAVA_BYTE, network + 3, (byte) (kind == Kind.OWN_ADDRESS ? 1 : last));
      }
    }
    return 0;
  }

  @Override
  public int enterTask(int likeTid, boolean ownFiles) {
    tasks++;
    return 1;
  }

  @Override
  public void leaveTask() {
    tasks--;
  }

  @Override
  public Blocks blocks() {
    return blocks;
  }

  @Override
  public boolean ownsDescriptorTable() {
    return true;
  }

  @Override
  public Architecture abi() {
    return Architecture.X86_64;
  }

  @Override
  public String kind() {
    return "spied";
  }

  @Override
  public String release() {
    return "";
  }

  @Override
  public String system() {
    return "";
  }

  @Override
  public void interrupt(int tid) {
    throw new AssertionError("nobody interrupts");
  }

  @Override
  public long interrupted(long result, int number, int handle, MemorySegment scratch) {
    throw new AssertionError("nothing is interrupted");
  }

  @Override
  public void settle() {
    throw new AssertionError("nothing is interrupted");
  }

  @Override
  public @Nullable Window map(int fd, long bytes) {
    return null;
  }

  @Override
  public boolean privileged() {
    return true;
  }

  @Override
  public void close() {}
}
