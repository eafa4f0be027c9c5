// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.Frame;
import dev.outboard.channel.SlotLayout;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.SocketOptions;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * The calls that come by a slot which is lent to a process of the program: send and recv on sockets
 * whose birth it knows, sendfile to them from files whose birth it knows, setsockopt of what holds
 * segments back, looks at what is ready, questions about a socket, what a file is, and no others.
 * The hook sees none of them, so what needs it ends with {@link #TRAP}, and then nothing has
 * happened.
 *
 * <p>Nothing here waits for longer than {@value #WAIT_NANOS} ns, as no interruption comes through
 * such a slot.
 *
 * <p>Owned by the slot's shadow thread.
 */
final class LentCalls {
  /** The result of a call that is to be made by way of the hook. */
  static final long TRAP = -Errno.ERESTARTSYS;

  /** How long a call waits: for an answer from nearby, for which a trap would be too dear. */
  static final long WAIT_NANOS = 1_000_000;

  /** Bytes of scratch memory that {@link #make} needs. */
  static final long SCRATCH_BYTES = 2560;

  /** Bytes of one sendfile, as of each piece that the hook would ask for. */
  static final long SENDFILE_BYTES = 16 << 20;

  /** In the scratch memory: the length of an option, behind the option. */
  private static final int OPTION_LENGTH = 8;

  private static final int OPTION_BYTES = 4;

  /** Where in the data the answer to a question is; its length is at their start. */
  static final int ANSWER = 16;

  /** Descriptors of one poll, and what the data have of each: handle, events, revents, birth. */
  static final int MAX_POLLED = 254;

  static final int POLLED_BYTES = 12;
  private static final int POLLED_EVENTS = 4;
  private static final int POLLED_REVENTS = 6;
  private static final int POLLED_BIRTH = 8;

  /** What a process that closes in one thread and calls in another can get wrong, by far. */
  static final int MAX_WRONG = 256;

  private static final int FLAGS =
      Socket.MSG_PEEK | Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL | Socket.MSG_MORE;

  private final Kernel kernel;
  private final Handles handles;
  private final Readiness readiness;
  private final Rests rests;
  private final SendsAhead ahead;
  private final SendsAhead.Ring ring;
  private final AtomicInteger wrong;
  private final DeviceSlot slot;
  private final boolean mayGoAhead;
  private final boolean copies;
  private boolean peeks;

  /**
   * @param ring of the same slot
   * @param wrong counts wrong births, there too
   */
  LentCalls(Session session, DeviceSlot slot, SendsAhead.Ring ring, AtomicInteger wrong) {
    this.kernel = session.kernel();
    this.handles = session.handles();
    this.readiness = session.readiness();
    this.rests = session.rests();
    this.ahead = session.ahead();
    // Not with a kernel whose other programs are at the other end, nor where programs of BPF may
    // say what becomes of a send.
    this.mayGoAhead = kernel.ownsDescriptorTable() && !session.bpf();
    this.copies = session.bpf(); // Programs of BPF may receive in the place of a protocol.
    this.slot = slot;
    this.ring = ring;
    this.wrong = wrong;
  }

  /**
   * Makes the call.
   *
   * @param birth what the slot says of the handle's
   * @param scratch memory of the thread's own, {@link #SCRATCH_BYTES} long
   * @return a result, {@code -errno}, or {@link #TRAP}
   */
  long make(Call call, int birth, MemorySegment scratch) {
    peeks = false;
    boolean wantsCredit = slot.wantsCredit();
    ring.peeks().endReply();
    if (wantsCredit) {
      slot.credit(0, 0, 0);
    }
    if (wrong.get() > MAX_WRONG || !accepts(call)) {
      return TRAP;
    }
    Handles.Handle handle = enter(call.args[0], birth);
    if (handle == null) {
      return TRAP;
    }
    if (call.number == Canonical.RECVFROM) {
      handle.settlePeeks();
    } else if (tells(call)) {
      handle.settleLooks();
    }
    // Before the call: what makes it untrue that a send succeeds withdraws this one's credit.
    int generation = wantsCredit ? ring.generation() : 0;
    try {
      if (handle.failed() || (handle.rest != null && mustFollow(call) && !rests.push(handle))) {
        return TRAP;
      }
      long flags = call.args[3];
      long result =
          switch (call.number) {
            case Canonical.SENDTO -> once(call, handle, flags | Socket.MSG_NOSIGNAL);
            case Canonical.RECVFROM -> receive(call, handle, flags, scratch);
            case Canonical.SENDFILE -> sendFile(call, handle, scratch);
            case Canonical.PPOLL -> poll(call, scratch);
            case Canonical.SETSOCKOPT -> setOption(call, handle);
            case Canonical.STATX -> status(call, handle, scratch);
            default -> ask(call, handle, scratch);
          };
      if (moves(call)) {
        readiness.touched(handle);
      }
      if (call.number == Canonical.RECVFROM && result > 0 && mayGoAhead && slot.wantsPeeks()) {
        ring.peeks().received(handle, scratch);
        peeks = true;
      }
      if (wantsCredit && (result > 0 || call.number == Canonical.SETSOCKOPT)) {
        grant(call, handle, result, generation, scratch);
      }
      boolean full = call.number != Canonical.RECVFROM && result == -Errno.EAGAIN;
      return full || ShadowThread.isRestart(result) ? TRAP : result;
    } finally {
      readiness.closeIfLast(handle);
    }
  }

  /** Whether a call is a look after which the process knows all that it could wait for. */
  static boolean isWholeLook(Call call) {
    return call.number == Canonical.PPOLL && call.args[3] == 1;
  }

  /** After the reply to the call made last: looks what its process may receive next. */
  void lookAhead(MemorySegment scratch) {
    if (peeks) {
      ring.peeks().look(ring, scratch);
    }
  }

  /** Whether a call sends or receives. */
  private static boolean moves(Call call) {
    return call.number == Canonical.RECVFROM || mustFollow(call);
  }

  /** Whether a call may tell what there is to receive: no less can be received then. */
  private static boolean tells(Call call) {
    return switch (call.number) {
      case Canonical.SENDTO,
          Canonical.SENDFILE,
          Canonical.SETSOCKOPT,
          Canonical.PPOLL,
          Canonical.STATX ->
          false;
      default -> true;
    };
  }

  /** Whether a call comes behind what was sent on its file and found no room. */
  private static boolean mustFollow(Call call) {
    return call.number == Canonical.SENDTO || call.number == Canonical.SENDFILE;
  }

  /** Gives a credit if a send on the handle is certain to succeed now, and soon. */
  private void grant(
      Call call, Handles.Handle handle, long result, int generation, MemorySegment scratch) {
    boolean whole =
        call.number == Canonical.RECVFROM
            || (call.number == Canonical.SENDTO && result == call.args[2])
            || (call.number == Canonical.SETSOCKOPT && result == 0);
    if (!whole || !mayGoAhead || !SendsAhead.mayGoAhead(kernel, handle, scratch)) {
      return;
    }
    ahead.holds(handle, ring, scratch);
    // After that: what the other ring had is made by it, and may have found no room, or an error.
    if (handle.rest != null || handle.failed()) {
      return;
    }
    long since = System.nanoTime();
    // A third of the buffer is free then (sk_stream_is_writeable), and nothing is broken or at an
    // end.
    if (Pollfds.now(kernel, scratch, 0, handle.fd, Poll.POLLOUT | Poll.POLLRDHUP) == Poll.POLLOUT) {
      slot.credit(SlotLayout.CREDIT_BYTES, generation, since);
    }
  }

  private static boolean accepts(Call call) {
    long[] a = call.args;
    return switch (call.number) {
      case Canonical.SENDTO, Canonical.RECVFROM ->
          a[2] >= 0 && a[2] <= Call.PIECE_BYTES && (a[3] & ~FLAGS) == 0;
      case Canonical.SENDFILE -> a[2] > 0 && a[2] <= SENDFILE_BYTES;
      case Canonical.PPOLL -> a[2] > 0 && a[2] <= MAX_POLLED && a[4] >= 0 && a[4] <= WAIT_NANOS;
      case Canonical.SETSOCKOPT -> a[1] == Socket.IPPROTO_TCP && Frame.Ahead.isOption(a[2]);
      case Canonical.GETSOCKNAME, Canonical.GETPEERNAME -> hasRoom(a[3]);
      case Canonical.GETSOCKOPT -> hasRoom(a[3]) && SocketOptions.isAsked(a[1], a[2]);
      case Canonical.IOCTL -> a[1] == Ioctl.FIONREAD;
      case Canonical.STATX -> true;
      default -> false;
    };
  }

  private static boolean hasRoom(long bytes) {
    return bytes >= 0 && bytes <= SocketOptions.ASKED_BYTES;
  }

  /** The handle, in use, if there is one of that birth; else this was a wrong guess. */
  private Handles.@Nullable Handle enter(long fd, int birth) {
    Handles.Handle handle = fd == (int) fd ? handles.enter((int) fd) : null;
    if (handle != null && handle.birth == birth) {
      return handle;
    }
    wrong.incrementAndGet();
    if (handle != null) {
      readiness.closeIfLast(handle);
    }
    return null;
  }

  /** What is ready of the handles that the data name, now or soon; they are in use meanwhile. */
  private long poll(Call call, MemorySegment scratch) {
    int count = (int) call.args[2];
    Handles.Handle[] polled = new Handles.Handle[count];
    int entered = 0;
    try {
      for (; entered < count; entered++) {
        long at = (long) entered * POLLED_BYTES;
        Handles.Handle handle =
            enter(
                call.data.get(ValueLayout.JAVA_INT, at),
                call.data.get(ValueLayout.JAVA_INT, at + POLLED_BIRTH));
        if (handle == null) {
          return TRAP;
        }
        polled[entered] = handle;
        if (handle.failed()) {
          entered++;
          return TRAP;
        }
        // Copied, as the data may change: the kernel looks at the handles that were checked.
        short events = call.data.get(ValueLayout.JAVA_SHORT, at + POLLED_EVENTS);
        Pollfds.set(scratch, 0, entered, handle.fd, events);
      }
      long result = Pollfds.poll(kernel, scratch, 0, count, call.args[4]);
      for (int i = 0; i < count; i++) {
        call.data.set(
            ValueLayout.JAVA_SHORT,
            (long) i * POLLED_BYTES + POLLED_REVENTS,
            (short) Pollfds.found(scratch, 0, i));
      }
      return result < 0 ? TRAP : result;
    } finally {
      for (int i = 0; i < entered; i++) {
        readiness.closeIfLast(polled[i]);
      }
    }
  }

  /** What changes nothing but that an error is told once. */
  private long ask(Call call, Handles.Handle handle, MemorySegment scratch) {
    long[] a = call.args;
    long answer = call.data.address() + ANSWER;
    if (call.number == Canonical.IOCTL) {
      return kernel.syscall(call.number, handle.fd, a[1], answer, 0, 0, 0);
    }
    boolean option = call.number == Canonical.GETSOCKOPT;
    boolean error =
        option && a[1] == Socket.SOL_SOCKET && a[2] == Socket.SO_ERROR; // what the hook explains
    if (error
        && (a[3] < OPTION_BYTES
            || (Pollfds.now(kernel, scratch, 0, handle.fd, 0) & Poll.POLLERR) != 0)) {
      return TRAP;
    }
    // The kernel's bound is not in memory that the program could change.
    scratch.set(ValueLayout.JAVA_INT, OPTION_LENGTH, (int) a[3]);
    long length = scratch.address() + OPTION_LENGTH;
    long result =
        option
            ? kernel.syscall(call.number, handle.fd, a[1], a[2], answer, length, 0)
            : kernel.syscall(call.number, handle.fd, answer, length, 0, 0, 0);
    call.data.set(ValueLayout.JAVA_INT, 0, scratch.get(ValueLayout.JAVA_INT, OPTION_LENGTH));
    if (error && call.data.get(ValueLayout.JAVA_INT, ANSWER) != 0) {
      readiness.touched(handle); // It came just now, and is gone again.
    }
    return result;
  }

  /** What a file is, as {@code fstat(2)} tells it. */
  private long status(Call call, Handles.Handle handle, MemorySegment scratch) {
    // Not in memory that the program could write a name to.
    scratch.set(ValueLayout.JAVA_BYTE, 0, (byte) 0);
    return kernel.syscall(
        call.number,
        handle.fd,
        scratch.address(),
        Fcntl.AT_EMPTY_PATH,
        Stat.STATX_BASIC,
        call.data.address() + ANSWER,
        0);
  }

  private long setOption(Call call, Handles.Handle handle) {
    return kernel.syscall(
        call.number, handle.fd, call.args[1], call.args[2], call.data.address(), OPTION_BYTES, 0);
  }

  /**
   * From a file, whose number and birth the slot says, to a stream that does not wait; by an offset
   * in the data.
   */
  private long sendFile(Call call, Handles.Handle to, MemorySegment scratch) {
    if (!isStream(to, scratch) || waits(to)) {
      return TRAP;
    }
    Handles.Handle from = enter(call.args[1], (int) call.args[3]);
    if (from == null) {
      return TRAP;
    }
    try {
      return kernel.syscall(call.number, to.fd, from.fd, call.data.address(), call.args[2], 0, 0);
    } finally {
      readiness.closeIfLast(from);
    }
  }

  private boolean isStream(Handles.Handle handle, MemorySegment scratch) {
    if (handle.type == 0) {
      scratch.set(ValueLayout.JAVA_INT, OPTION_LENGTH, OPTION_BYTES);
      long r =
          kernel.syscall(
              Canonical.GETSOCKOPT,
              handle.fd,
              Socket.SOL_SOCKET,
              Socket.SO_TYPE,
              scratch.address(),
              scratch.address() + OPTION_LENGTH,
              0);
      handle.type = r == 0 ? scratch.get(ValueLayout.JAVA_INT, 0) : -1;
    }
    return handle.type == Socket.SOCK_STREAM;
  }

  private boolean waits(Handles.Handle handle) {
    long status = kernel.syscall(Canonical.FCNTL, handle.fd, Fcntl.F_GETFL, 0, 0, 0, 0);
    return status >= 0 && (status & Fcntl.O_NONBLOCK) == 0;
  }

  private long once(Call call, Handles.Handle handle, long flags) {
    return kernel.syscall(
        call.number,
        handle.fd,
        call.data.address(),
        call.args[2],
        flags | Socket.MSG_DONTWAIT,
        0,
        0);
  }

  private long receive(Call call, Handles.Handle handle, long flags, MemorySegment scratch) {
    long result = receiveOnce(call, handle, flags, scratch);
    if (result != -Errno.EAGAIN || (flags & Socket.MSG_DONTWAIT) != 0) {
      return result;
    }
    if (!waits(handle)) {
      return result;
    }
    Pollfds.set(scratch, 0, 0, handle.fd, Poll.POLLIN | Poll.POLLRDHUP);
    long ready = Pollfds.poll(kernel, scratch, 0, 1, WAIT_NANOS);
    result = ready > 0 ? receiveOnce(call, handle, flags, scratch) : TRAP;
    return result == -Errno.EAGAIN ? TRAP : result;
  }

  private long receiveOnce(Call call, Handles.Handle handle, long flags, MemorySegment scratch) {
    if (!slot.wantsTaking()) {
      return once(call, handle, flags);
    }
    boolean looks = (flags & Socket.MSG_PEEK) != 0;
    if (!looks && handle.unpeekable) {
      return TRAP;
    }
    boolean stream = isStream(handle, scratch);
    // Urgent data behind the bytes are skipped by a receive, and not by what throws the bytes out.
    long result =
        looks || (stream && isUrgent(handle, scratch))
            ? once(call, handle, flags)
            : ring.peeks()
                .receive(
                    handle,
                    slot.sequence(),
                    call.data.address(),
                    call.args[2],
                    flags,
                    !stream,
                    copies);
    if (result >= 0
        || result == -Errno.EAGAIN
        || result == TRAP
        || ShadowThread.isRestart(result)
        || !stream) { // of messages the error comes before those that are there
      return result;
    }
    // A socket tells an error once. The trap finds it, or whoever calls next.
    if (isKept(result)) {
      handle.fail(result);
    }
    return TRAP;
  }

  private boolean isUrgent(Handles.Handle handle, MemorySegment scratch) {
    return (Pollfds.now(kernel, scratch, 0, handle.fd, Poll.POLLPRI) & Poll.POLLPRI) != 0;
  }

  /** Whether an error was the socket's, and not the call's, which the trap finds anew. */
  private static boolean isKept(long result) {
    return switch ((int) -result) {
      case Errno.ENOTCONN,
          Errno.EINVAL,
          Errno.EFAULT,
          Errno.ENOMEM,
          Errno.EBADF,
          Errno.ENOTSOCK,
          Errno.EOPNOTSUPP ->
          false;
      default -> true;
    };
  }
}
