// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.channel.Frame;
import dev.outboard.channel.SendRing;
import dev.outboard.channel.SlotLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What programs have sent by lent slots without waiting, on one device.
 *
 * <p>A send stands in the ring of its slot until somebody drains it: the slot's thread, which is
 * woken, or whoever of the same session makes a call before that thread comes to it. Every call
 * drains all rings of its session first, so whatever a program can find out after its send has
 * returned is as if the send had been made by then. Those of other sessions on the same kernel are
 * their threads' alone: a descriptor means something in the table of its session only (ADR 0084).
 * Of one ring sends are made in order; of one file only one ring at a time has sends, see {@link
 * #holds}.
 *
 * <p>A send goes ahead only against a credit, which says that it will succeed. Credits are
 * withdrawn when a call was made that could make that untrue, of whatever program, and when an
 * error or a hang-up is seen; they end by themselves after some milliseconds.
 *
 * <p>Any thread with a task may call any method, with scratch memory of its own; what drains a
 * ring, only with a task of the ring's session.
 */
final class SendsAhead {
  /** Bytes of scratch memory that each method needs. */
  static final long SCRATCH_BYTES = 128;

  /** How often a call is made again that an interruption meant for another has ended. */
  static final int MAX_REPEATS = 100;

  /** Flags that a send may have in a ring. */
  private static final int FLAGS = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | Socket.MSG_MORE;

  /** What an entry has before its bytes. */
  private static final int HEADER_BYTES = 16;

  // In the scratch memory: a length, and the second of two addresses.
  private static final int LENGTH = 32;
  private static final int OTHER = 64;

  /** {@code struct sockaddr_in6}, and how long addresses are. */
  private static final int ADDRESS_BYTES = 28;

  private static final int IPV4_BYTES = 4;
  private static final int IPV6_BYTES = 16;

  /** The first byte of an address of IPv4's loopback. */
  private static final int LOOPBACK = 127;

  private final Kernel kernel;

  /** Copied when it changes. */
  private volatile Ring[] rings = {};

  /** Taken by whoever makes a ring the one that a file's sends are in. */
  private final Object holding = new Object();

  SendsAhead(Kernel kernel) {
    this.kernel = kernel;
  }

  /** The ring of one lent slot. */
  final class Ring {
    private final SendRing ring;
    private final Handles handles;
    private final Readiness readiness;
    private final Rests rests;
    private final Activity activity;
    private final AtomicInteger wrong;
    private final Peeks peeks;
    private final SendRing.Entry entry = new SendRing.Entry(); // guarded by this
    private boolean closed; // guarded by this

    private Ring(
        SendRing ring,
        Handles handles,
        Readiness readiness,
        Rests rests,
        Activity activity,
        AtomicInteger wrong,
        Peeks peeks) {
      this.peeks = peeks;
      this.ring = ring;
      this.handles = handles;
      this.readiness = readiness;
      this.rests = rests;
      this.activity = activity;
      this.wrong = wrong;
    }

    /** As {@link SendRing#generation}. */
    int generation() {
      return ring.generation();
    }

    /** What the slot's thread has looked at. */
    Peeks peeks() {
      return peeks;
    }

    /** Makes the sends that are in the ring, and receives what was taken of what was on offer. */
    void drain(MemorySegment scratch) {
      peeks.settleTaken();
      if (!ring.isPending()) {
        return;
      }
      synchronized (this) {
        // What had returned when this began; a program that goes on sending holds up nobody else.
        int most = SlotLayout.RING_BYTES;
        while (!closed && most > 0 && ring.next(entry)) {
          most -= HEADER_BYTES + entry.length();
          Handles.Handle handle = handles.enter(entry.handle());
          if (handle != null && handle.birth == entry.birth() && isRight()) {
            if (entry.setsOption()) {
              setOption(handle, scratch);
            } else {
              send(handle, scratch);
            }
          } else if (wrong.incrementAndGet() > LentCalls.MAX_WRONG) {
            ring.reject();
          }
          if (handle != null) {
            readiness.closeIfLast(handle);
          }
          ring.advance(entry);
        }
      }
    }

    private boolean isRight() {
      int flags = entry.flags();
      return entry.setsOption()
          ? entry.length() == Integer.BYTES && Frame.Ahead.isOption(flags)
          : (flags & ~FLAGS) == 0;
    }

    /** Also where bytes before it have found no room: it is for those that follow. */
    private void setOption(Handles.Handle handle, MemorySegment scratch) {
      long start = System.nanoTime();
      scratch.set(ValueLayout.JAVA_INT, 0, ring.data(entry).get(ValueLayout.JAVA_INT, 0));
      long result =
          kernel.syscall(
              Canonical.SETSOCKOPT,
              handle.fd,
              Socket.IPPROTO_TCP,
              entry.flags(),
              scratch.address(),
              Integer.BYTES,
              0);
      if (result < 0) {
        handle.fail(result);
      }
      activity.call(Canonical.SETSOCKOPT, result, System.nanoTime() - start);
    }

    private void send(Handles.Handle handle, MemorySegment scratch) {
      long start = System.nanoTime();
      MemorySegment data = ring.data(entry);
      int flags = entry.flags() | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;
      long result;
      if (handle.rest != null && rests.add(handle, data, flags)) {
        return;
      }
      if ((Pollfds.now(kernel, scratch, 0, handle.fd, 0) & (Poll.POLLERR | Poll.POLLHUP)) != 0) {
        // The network has broken the connection meanwhile: what is in its buffers is lost, as
        // natively, and the error is the socket's still.
        result = -Errno.EPIPE;
      } else {
        result = SendsAhead.send(kernel, handle.fd, data.address(), entry.length(), flags);
        long sent = result == -Errno.EAGAIN ? 0 : result;
        if (sent >= 0 && sent < entry.length()) {
          rests.begin(handle, data.asSlice(sent), flags);
        } else if (sent < 0) {
          handle.fail(result);
        }
        readiness.touched(handle);
      }
      activity.call(Canonical.SENDTO, result, System.nanoTime() - start);
    }

    /** As {@link SendRing#reject}. */
    void reject() {
      ring.reject();
    }

    /** Drains it for the last time: its memory may go after this. */
    void close(MemorySegment scratch) {
      try {
        drain(scratch);
      } finally {
        remove(this);
        peeks.close();
        synchronized (this) {
          closed = true;
        }
        ring.close();
      }
    }
  }

  /** Registers the ring of a slot, until {@link Ring#close}. */
  Ring open(
      SendRing ring,
      Handles handles,
      Readiness readiness,
      Rests rests,
      Activity activity,
      AtomicInteger wrong,
      Peeks peeks) {
    Ring made = new Ring(ring, handles, readiness, rests, activity, wrong, peeks);
    synchronized (holding) {
      List<Ring> all = new ArrayList<>(List.of(rings));
      all.add(made);
      rings = all.toArray(new Ring[0]);
    }
    return made;
  }

  private void remove(Ring ring) {
    synchronized (holding) {
      List<Ring> all = new ArrayList<>(List.of(rings));
      all.remove(ring);
      rings = all.toArray(new Ring[0]);
    }
  }

  /**
   * Makes all sends of a session that have returned to its programs.
   *
   * @param of the caller's session, whose descriptors it has
   */
  void drain(Handles of, MemorySegment scratch) {
    for (Ring ring : rings) {
      if (ring.handles == of) {
        ring.drain(scratch);
      }
    }
  }

  /**
   * Ends all credits, of all sessions: a call may change what is theirs, too, as a route. A send of
   * the caller's session that returns after this was found by a drain after it, or has waited.
   */
  void withdraw() {
    for (Ring ring : rings) {
      ring.ring.withdraw();
    }
  }

  /**
   * From now on a file's sends may be in this ring, and in no other: what another has is made
   * first. The caller has entered the handle.
   */
  void holds(Handles.Handle handle, Ring ring, MemorySegment scratch) {
    if (handle.ring == ring) {
      return;
    }
    synchronized (holding) {
      Ring before = handle.ring;
      // First of all: who finds itself here still has its credit withdrawn by what follows.
      handle.ring = ring;
      if (before != null && before != ring) {
        before.ring.withdraw();
        before.drain(scratch);
      }
    }
  }

  /** Sends without waiting, whatever was meant to interrupt another call. */
  static long send(Kernel kernel, int fd, long address, long bytes, int flags) {
    long r;
    int repeats = 0;
    do {
      r = kernel.syscall(Canonical.SENDTO, fd, address, bytes, flags, 0, 0);
    } while (ShadowThread.isRestart(r) && ++repeats < MAX_REPEATS);
    return ShadowThread.isRestart(r) ? -Errno.EAGAIN : r;
  }

  /** Whether sends on a file may go ahead at all; found out once for each connection. */
  static boolean mayGoAhead(Kernel kernel, Handles.Handle handle, MemorySegment scratch) {
    Handles.Sends sends = handle.sends;
    if (sends == Handles.Sends.UNKNOWN) {
      sends = isElsewhere(kernel, handle.fd, scratch) ? Handles.Sends.AHEAD : Handles.Sends.WAIT;
      handle.judge(sends);
    }
    return sends == Handles.Sends.AHEAD;
  }

  /**
   * Whether it is a stream whose other end is not this device: that end's errors come by a network,
   * when they like.
   */
  private static boolean isElsewhere(Kernel kernel, int fd, MemorySegment scratch) {
    long protocol = option(kernel, fd, Socket.SO_PROTOCOL, scratch);
    if (protocol != Socket.IPPROTO_TCP && protocol != Socket.IPPROTO_MPTCP) {
      return false;
    }
    int family = address(kernel, Canonical.GETSOCKNAME, fd, scratch, 0);
    if (family != address(kernel, Canonical.GETPEERNAME, fd, scratch, OTHER)) {
      return false;
    }
    int at = family == Socket.AF_INET ? 4 : 8;
    int bytes = family == Socket.AF_INET ? IPV4_BYTES : IPV6_BYTES;
    if (family != Socket.AF_INET && family != Socket.AF_INET6) {
      return false;
    }
    MemorySegment here = scratch.asSlice(at, bytes);
    MemorySegment there = scratch.asSlice(OTHER + at, bytes);
    // Of 127.0.0.0/8 also as a mapped address; ::1 is talked to from ::1 alone.
    boolean mapped = family == Socket.AF_INET6 && there.get(ValueLayout.JAVA_LONG, 0) == 0;
    int first = mapped ? IPV6_BYTES - IPV4_BYTES : 0;
    boolean loopback =
        (mapped || family == Socket.AF_INET) && there.get(ValueLayout.JAVA_BYTE, first) == LOOPBACK;
    return !loopback && here.mismatch(there) >= 0;
  }

  /** Of an IPv6 address the first half of a mapped one is 0. */
  private static int address(Kernel kernel, int number, int fd, MemorySegment scratch, int to) {
    scratch.set(ValueLayout.JAVA_INT, LENGTH, ADDRESS_BYTES);
    long r =
        kernel.syscall(number, fd, scratch.address() + to, scratch.address() + LENGTH, 0, 0, 0);
    return r < 0 ? -number : scratch.get(ValueLayout.JAVA_SHORT, to);
  }

  static long option(Kernel kernel, int fd, int name, MemorySegment scratch) {
    return option(kernel, fd, name, Integer.BYTES, scratch);
  }

  /** The same of one that has so many bytes, up to 32, which are in the scratch memory then. */
  static long option(Kernel kernel, int fd, int name, int bytes, MemorySegment scratch) {
    scratch.set(ValueLayout.JAVA_INT, LENGTH, bytes);
    long r =
        kernel.syscall(
            Canonical.GETSOCKOPT,
            fd,
            Socket.SOL_SOCKET,
            name,
            scratch.address(),
            scratch.address() + LENGTH,
            0);
    return r < 0 ? r : scratch.get(ValueLayout.JAVA_INT, 0);
  }
}
