// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.MessageHeader;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.abi.Struct;
import dev.outboard.abi.Xdp;
import dev.outboard.channel.CallMaker;
import dev.outboard.channel.CallSource;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceSlot;
import dev.outboard.channel.Frame;
import dev.outboard.channel.PeekedReceives;
import dev.outboard.channel.SendRing;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.BpfCommands;
import dev.outboard.syscalls.BpfDeviceMarshaller;
import dev.outboard.syscalls.BpfObject;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.DeviceMarshaller;
import dev.outboard.syscalls.IoctlRequests;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ReceivedMessage;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SocketOptions;
import dev.outboard.syscalls.SyscallTable;
import dev.outboard.virtio.KeptKicks;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * What stands on the device for one thread of the program: a platform thread with a task of the
 * kernel, which takes call after call out of its slot and makes it.
 *
 * <p>All that is in the slot is hostile. The call's header is copied out once; its row must say
 * that the device accepts it; each descriptor in it must be one of the session's own; every pointer
 * is checked by {@link DeviceMarshaller}. Nothing of it can throw; if something does all the same,
 * the call ends with -EIO and the log says why.
 *
 * <p>Started by the session's reader; {@link #interrupt} and {@link #end} may be called by any
 * thread, all else is the thread's own.
 */
final class ShadowThread implements Runnable {
  /** Kernel frames run on this stack as well, with interrupts and the network below them. */
  static final long STACK_BYTES = 1 << 20;

  /** Sends up to which the thread that made them writes their segments to the network, too. */
  private static final long LITTLE_BYTES = 16 << 10;

  private static final long NANOS_PER_SECOND = 1_000_000_000;

  /** How often a call is made again whose interruption was not meant for it. */
  private static final int MAX_REPEATS = 1000;

  // Of the thread's own memory: what a file is, behind an empty path.
  private static final int STATX = Long.BYTES;

  // Likewise, what RECEIVE builds there.
  private static final int IOVEC = 128;
  private static final int MESSAGE = 256;

  /** What {@link Kernel#opened} needs there. */
  private static final int OPENED = 512;

  /** How SEND sends: without waiting, and without a signal to a task of the device's. */
  private static final int SENDING = Socket.MSG_DONTWAIT | Socket.MSG_NOSIGNAL;

  /** What a socket may put before a message without counting it ({@code virtio_net_hdr}). */
  private static final int LONGEST_PREFIX = 16;

  private final Session session;
  private final Kernel kernel;
  private final Handles handles;
  private final Readiness readiness;
  private final Activity activity;
  private final SendsAhead ahead;
  private final DeviceSlot slot;
  private final int index;
  private final int likeTid;
  private final long attachId;
  private final int pid;
  private final Credentials credentials;
  private final Thread thread;
  private final CallPhase phase = new CallPhase();
  private final Call call;
  private final long[] kernelArgs = new long[6];
  private final Readiness.Sample sample = new Readiness.Sample();
  private final List<Frame.Sample> edges = new ArrayList<>();
  private final Handles.@Nullable Handle[] entered = new Handles.Handle[6];
  private Handles.@Nullable Handle subject;
  // Of the last call, if what it has received may not be its caller's yet.
  private volatile Handles.@Nullable Handle given;
  private volatile int givenBy;
  private final @Nullable SlotLoan loan;
  private final @Nullable CallSource source;
  private final Lookers.Looker looker;
  private int newBirth;
  // The host knows that it has the slot.
  private boolean announced;
  // What ended RECEIVE's messages before, and is still to be told.
  private int failedOn = -1;
  private long failure;
  private volatile int tid;
  private boolean gone; // guarded by this
  private final AtomicLong calls = new AtomicLong();
  private final AtomicLong interrupts = new AtomicLong();

  /**
   * @param loan what makes the slot's memory a process's of the program; null for a slot of the
   *     hook; ended by {@link Session#ended}
   * @param source where its calls come from, if not by the slot's memory
   */
  ShadowThread(
      Session session,
      DeviceSlot slot,
      int index,
      int likeTid,
      Frame.Attach attach,
      @Nullable SlotLoan loan,
      @Nullable CallSource source) {
    this.loan = loan;
    this.source = source;
    this.pid = attach.pid();
    this.looker = session.lookers().enter(pid, loan != null);
    this.session = session;
    this.kernel = session.kernel();
    this.handles = session.handles();
    this.readiness = session.readiness();
    this.activity = session.activity();
    this.ahead = session.ahead();
    this.slot = slot;
    this.index = index;
    this.likeTid = likeTid;
    this.attachId = attach.id();
    this.credentials = attach.credentials();
    this.call = source == null ? new Call(slot.data()) : source.call();
    this.thread =
        Thread.ofPlatform()
            .name("shadow-" + attach.pid() + "/" + attach.tid())
            .daemon(true)
            .stackSize(STACK_BYTES)
            .unstarted(this);
  }

  void start() {
    thread.start();
  }

  /** The loan of its slot, or null. */
  @Nullable SlotLoan loan() {
    return loan;
  }

  /** The slot that it serves. */
  int index() {
    return index;
  }

  /** Its task, 0 before there is one and after it is gone. */
  int tid() {
    return tid;
  }

  /** The program's process, by the host's number. */
  int pid() {
    return pid;
  }

  /** Its effective user when it was attached. */
  int uid() {
    return credentials.euid();
  }

  long calls() {
    return calls.get();
  }

  long interrupts() {
    return interrupts.get();
  }

  /** Whether the thread may still touch its slot. */
  synchronized boolean alive() {
    return !gone;
  }

  /**
   * Interrupts call {@code sequence} if it blocks or is about to.
   *
   * @return whether it should be repeated if the call does not come out
   */
  boolean interrupt(int sequence) {
    return phase.interrupt(sequence, this::strike);
  }

  /** Interrupts call {@code sequence} once more if it is not out. */
  boolean interruptAgain(int sequence) {
    return phase.again(sequence, this::strike);
  }

  /** Makes the thread end: no call starts any more. Repeated until {@link #alive} is false. */
  synchronized void end() {
    // Once the thread is gone, the slot's memory may be, too.
    if (!gone) {
      phase.endAll();
      slot.close();
      if (source != null) {
        source.close();
      }
      phase.again(0, this::strike);
    }
  }

  private synchronized void leaveSlot() {
    gone = true;
  }

  private void strike() {
    int target = tid;
    if (target > 0) {
      kernel.interrupt(target);
    }
  }

  @Override
  public void run() {
    MemorySegment scratch = null;
    int entered = 0;
    try {
      scratch = kernel.allocate();
      entered = scratch == null ? -Errno.ENOMEM : kernel.enterTask(likeTid, false);
      if (entered == -Errno.ESRCH) {
        // The thread that it is like has ended meanwhile.
        entered = kernel.enterTask(session.rootTid(), false);
      }
      if (entered > 0 && scratch != null) {
        tid = entered;
        try (KeptKicks kicks = loan == null ? null : kernel.keepKicks()) {
          serve(scratch, kicks);
        }
      } else {
        session.send(new Frame.Attached(attachId, entered));
      }
    } catch (Throwable t) {
      session.log("shadow thread of slot " + index + " fails", t);
    } finally {
      if (entered > 0) {
        tid = 0;
        kernel.leaveTask();
      }
      if (scratch != null) {
        kernel.free(scratch);
      }
      session.lookers().leave(pid, loan != null);
      if (source != null) {
        source.close(); // which may never have been run
      }
      leaveSlot();
      endGiving();
      session.ended(this, announced);
    }
  }

  private void serve(MemorySegment scratch, @Nullable KeptKicks kicks) {
    MemorySegment marshalling = scratch.asSlice(0, DeviceMarshaller.SCRATCH_BYTES);
    MemorySegment own =
        scratch.asSlice(
            DeviceMarshaller.SCRATCH_BYTES, scratch.byteSize() - DeviceMarshaller.SCRATCH_BYTES);
    DeviceMarshaller marshaller =
        new DeviceMarshaller(
            call.data.address(), call.data.byteSize(), marshalling, session.paths(), kernel.abi());
    BpfDeviceMarshaller bpf =
        session.bpf()
            ? new BpfDeviceMarshaller(call.data.address(), call.data.byteSize(), marshalling)
            : null;
    Identity identity = new Identity(kernel, own.asSlice(0, Identity.SCRATCH_BYTES));
    long r = identity.apply(credentials);
    if (r >= 0) {
      // Not before: a session that is full needs threads to give something back.
      r = session.joinGroup(tid);
    }
    if (r < 0) {
      session.send(new Frame.Attached(attachId, (int) r));
      return;
    }
    // Before the process can have the slot.
    SendRing sends = slot.ring();
    PeekedReceives peeked = slot.peeked();
    AtomicInteger wrong = new AtomicInteger();
    SendsAhead.Ring ring =
        sends == null || peeked == null
            ? null
            : ahead.open(
                sends,
                handles,
                readiness,
                session.rests(),
                activity,
                wrong,
                new Peeks(kernel, handles, readiness, peeked));
    LentCalls lent = ring == null ? null : new LentCalls(session, slot, ring, wrong);
    try {
      announced = true;
      if (loan == null) {
        session.send(new Frame.Attached(attachId, index));
      } else {
        loan.send(new Frame.Attached(attachId, index));
      }
      Calls made = new Calls(marshaller, bpf, own, identity, lent, kicks);
      if (source == null) {
        serve(made, own, ring, lent, kicks);
      } else {
        source.run(made);
      }
    } finally {
      if (ring != null) {
        ring.close(own);
      }
    }
  }

  private void serve(
      Calls made,
      MemorySegment own,
      SendsAhead.@Nullable Ring ring,
      @Nullable LentCalls lent,
      @Nullable KeptKicks kicks) {
    Placement placement = lent == null ? null : new Placement();
    int sequence = 0;
    while (true) {
      boolean spins = (placement == null || !placement.together()) && sequence != DeviceSlot.LATER;
      sequence = slot.await(spins, ring == null ? 0 : timeout(ring.peeks(), own));
      if (sequence == DeviceSlot.CLOSED) {
        break;
      }
      if (sequence == DeviceSlot.LATER) {
        if (ring != null) {
          ring.peeks().settleTaken();
        }
        continue;
      }
      if (sequence == DeviceSlot.AHEAD) {
        if (ring != null) {
          // Nothing for Lookers: the process may look, and wait, by now.
          drain(ring, kicks, own);
        }
        continue;
      }
      slot.take(call);
      if (placement != null && placement.called(slot.where(), slot.slept())) {
        slot.together(placement.together());
      }
      long result = made.make(sequence);
      slot.complete(result, sample.mask, sample.stamp, newBirth);
      if (result != LentCalls.TRAP) {
        slot.timed(made.nanos);
      }
      if (lent != null) {
        lent.lookAhead(own);
      }
    }
  }

  /** Makes one call after the other. */
  private final class Calls implements CallMaker {
    private final DeviceMarshaller marshaller;
    private final @Nullable BpfDeviceMarshaller bpf;
    private final MemorySegment own;
    private final Identity identity;
    private final @Nullable LentCalls lent;
    private final @Nullable KeptKicks kicks;

    /** How long the last one has taken. */
    private long nanos;

    Calls(
        DeviceMarshaller marshaller,
        @Nullable BpfDeviceMarshaller bpf,
        MemorySegment own,
        Identity identity,
        @Nullable LentCalls lent,
        @Nullable KeptKicks kicks) {
      this.marshaller = marshaller;
      this.bpf = bpf;
      this.own = own;
      this.identity = identity;
      this.lent = lent;
      this.kicks = kicks;
    }

    @Override
    public long make(int sequence) {
      sample.none();
      newBirth = 0;
      long result;
      long start = System.nanoTime();
      FlightEvents.CallEvent event = FlightEvents.beginCall();
      try {
        if (lent != null) {
          if (LentCalls.isWholeLook(call)) {
            session.lookers().looksDirectly(looker);
          } else {
            session.lookers().runs(looker);
          }
          result = makeLent(lent, kicks, own);
        } else {
          endGiving();
          boolean pseudo = PseudoCall.isPseudo(call.number);
          // Judged before the call: what changes a file's sends meanwhile withdraws by itself.
          boolean withdraws = !pseudo && withdraws();
          if (withdraws) {
            // What is sent from now on waits, or is found by this drain.
            ahead.withdraw();
          }
          ahead.drain(handles, own);
          result =
              pseudo
                  ? pseudo(sequence, own, identity)
                  : call.number == Canonical.BPF
                      ? bpf(sequence, bpf, own)
                      : system(sequence, marshaller, own);
          if (withdraws) {
            ahead.withdraw();
          }
        }
      } catch (RuntimeException e) {
        session.log("call " + call.number + " of slot " + index + " fails", e);
        result = -Errno.EIO;
      }
      if (event != null) {
        event.session = session.id();
        event.process = pid;
        event.call = call.number;
        event.result = result;
        event.bytes = Activity.bytes(call.number, result);
        event.spinWon = !slot.slept();
        event.commit();
      }
      // Before the host knows: what it asks for next counts this call, too.
      nanos = System.nanoTime() - start;
      activity.call(call.number, result, nanos);
      calls.setRelease(calls.getPlain() + 1);
      return result;
    }

    @Override
    public int readyMask() {
      return sample.mask;
    }

    @Override
    public long readyStamp() {
      return sample.stamp;
    }

    @Override
    public int newBirth() {
      return newBirth;
    }
  }

  /**
   * How long to wait for a call before what was taken is thrown away; 0 for as long as it takes.
   */
  private static long timeout(Peeks peeks, MemorySegment own) {
    long nanos = peeks.settlesWithin();
    if (nanos == 0) {
      return 0;
    }
    own.set(ValueLayout.JAVA_LONG, 0, nanos / NANOS_PER_SECOND);
    own.set(ValueLayout.JAVA_LONG, Long.BYTES, nanos % NANOS_PER_SECOND);
    return own.address();
  }

  /** A call of a lent slot; what it sends goes out on this thread, if it is little. */
  private long makeLent(LentCalls lent, @Nullable KeptKicks kicks, MemorySegment own) {
    boolean little =
        call.number == Canonical.RECVFROM
            || (call.number == Canonical.SENDTO && call.args[2] <= LITTLE_BYTES);
    if (kicks == null || !little) {
      ahead.drain(handles, own);
      return lent.make(call, slot.birth(), own);
    }
    kicks.keep();
    try {
      ahead.drain(handles, own);
      return lent.make(call, slot.birth(), own);
    } finally {
      kicks.settle();
    }
  }

  /** Makes what was sent ahead by this slot; it goes out on this thread, if it is few frames. */
  private void drain(SendsAhead.Ring ring, @Nullable KeptKicks kicks, MemorySegment own) {
    if (kicks != null) {
      kicks.keep();
    }
    try {
      ring.drain(own);
    } catch (RuntimeException e) {
      session.log("sends of slot " + index + " fail", e);
      ring.reject();
    } finally {
      if (kicks != null) {
        kicks.settle();
      }
    }
  }

  /** A system call of the program: from the header in {@link #call} to what completes it. */
  private long system(int sequence, DeviceMarshaller marshaller, MemorySegment own) {
    Row row = SyscallTable.byCanonical(call.number);
    if (row == null || !row.onDevice()) {
      return -Errno.ENOSYS;
    }
    try {
      long error = enter(row);
      if (error == 0) {
        error = follow(row, sequence, own);
      }
      if (error == 0) {
        error = marshaller.prepare(row, call, kernelArgs);
      }
      if (error < 0) {
        return error;
      }
      if (call.number == Canonical.CLOSE) {
        return closeSubject();
      }
      Handles.Handle on = subject;
      if (call.number == Canonical.SHUTDOWN
          && on != null
          && call.args[1] != Socket.SHUT_RD
          && session.rests().shutdown(on, (int) call.args[1])) {
        on.showsSends();
        return 0;
      }
      if (call.number == Canonical.SOCKET && (int) call.args[0] == Xdp.AF_XDP && !session.bpf()) {
        return -Errno.EAFNOSUPPORT;
      }
      if (call.number == Canonical.BIND && on != null && on.xdp) {
        return -Errno.EINVAL; // An address may name a socket by a number of this kernel's.
      }
      if ((call.number == Canonical.ACCEPT || call.number == Canonical.ACCEPT4) && handles.full()) {
        return -Errno.EMFILE; // the connection is to stay where it is, as natively
      }
      long made = make(call.number, row.mayBlock(), sequence, own);
      long result = marshaller.finish(row, call, on == null ? made : afterwards(on, made));
      boolean opens = call.number == Canonical.OPENAT || call.number == Canonical.OPENAT2;
      if (result >= 0 && opens) {
        long refused = opened((int) result, own);
        if (refused < 0) {
          kernel.syscall(Canonical.CLOSE, result, 0, 0, 0, 0, 0);
          return refused;
        }
      }
      if (result >= 0 && makesHandle(row)) {
        Handles.Handle handle = handles.add((int) result);
        if (handle == null) {
          kernel.syscall(Canonical.CLOSE, result, 0, 0, 0, 0, 0);
          return -Errno.EMFILE;
        }
        newBirth = handle.birth;
        if (on != null && on.sends == Handles.Sends.NEVER) {
          handle.showsSends(); // A connection has the options of the socket that listens.
        }
        handle.unpeekable = on != null && on.unpeekable;
        handle.xdp = call.number == Canonical.SOCKET && (int) call.args[0] == Xdp.AF_XDP;
        if (opens) {
          int type = type(own);
          sample.mask = type == 0 ? -1 : type; // 0: it could not be told
          handle.regular = type == Stat.S_IFREG;
          if (wantsAttributes()) {
            call.data
                .asSlice(call.args[4], Struct.STATX.bytes())
                .copyFrom(own.asSlice(STATX, Struct.STATX.bytes()));
          }
        }
      }
      if (on != null) {
        if (result > 0 && gives()) {
          givenBy = sequence;
          given = on;
          on.beginGiving(this);
        }
        Readiness.Watch watch = on.watch;
        if (watch != null) {
          readiness.sample(watch, own, sample);
          if (call.number == Canonical.SENDFILE && goesOn(result, own)) {
            newBirth = 1;
          }
        }
      }
      return result;
    } finally {
      leave();
    }
  }

  /**
   * Whether a sendfile has ended because its socket takes no more, so that another one would find
   * no room: it has sent less than was asked for, the socket is not ready for more, and the file
   * has not ended.
   */
  private boolean goesOn(long sent, MemorySegment own) {
    Handles.Handle source = entered[1];
    if (source == null
        || sent <= 0
        || sent >= call.args[3]
        || (sample.mask & (Poll.POLLOUT | Poll.POLLERR | Poll.POLLHUP)) != 0
        || stat(source.fd, Stat.STATX_TYPE_AND_SIZE, 0, own) < 0
        || type(own) != Stat.S_IFREG) {
      return false;
    }
    long position =
        kernelArgs[2] == 0
            ? kernel.syscall(Canonical.LSEEK, source.fd, 0, File.SEEK_CUR, 0, 0, 0)
            : call.data.get(ValueLayout.JAVA_LONG_UNALIGNED, kernelArgs[2] - call.data.address());
    return position >= 0 && position < own.get(ValueLayout.JAVA_LONG, STATX + Stat.STATX_SIZE);
  }

  /**
   * Whether the call could make it untrue that a send on some connection succeeds. Those that do
   * not are the frequent ones that change nothing, and sends and receives of connections.
   */
  private boolean withdraws() {
    return switch (call.number) {
      case Canonical.RECVFROM,
          Canonical.RECVMSG,
          Canonical.READ,
          Canonical.READV,
          Canonical.ACCEPT,
          Canonical.ACCEPT4,
          Canonical.SOCKET,
          Canonical.BIND,
          Canonical.LISTEN,
          Canonical.GETSOCKNAME,
          Canonical.GETPEERNAME,
          Canonical.GETSOCKOPT,
          Canonical.FCNTL,
          Canonical.STATX,
          Canonical.OPENAT,
          Canonical.OPENAT2,
          Canonical.LSEEK,
          Canonical.PREAD64,
          Canonical.GETDENTS64 ->
          false;
      case Canonical.SETSOCKOPT -> !SocketOptions.leavesSends(call.args[1], call.args[2]);
      case Canonical.SENDTO,
          Canonical.SENDMSG,
          Canonical.WRITE,
          Canonical.WRITEV,
          Canonical.SENDFILE ->
          !subjectIs(handle -> handle.sends == Handles.Sends.AHEAD);
      case Canonical.CLOSE -> !subjectIs(handle -> handle.regular);
      default -> true;
    };
  }

  private boolean subjectIs(Predicate<Handles.Handle> what) {
    Handles.Handle handle = enter(call.args[0]);
    if (handle == null) {
      return false;
    }
    boolean is = what.test(handle);
    leave(handle);
    return is;
  }

  /**
   * What a call must wait for that comes behind sends which went ahead and found no room; and what
   * became of them.
   *
   * @return 0, or what the call ends with
   */
  private long follow(Row row, int sequence, MemorySegment own) {
    Handles.Handle handle = subject;
    if (handle == null || (handle.rest == null && !handle.failed())) {
      return 0;
    }
    boolean sends =
        row.mayGoAhead() || call.number == Canonical.SENDFILE || call.number == Canonical.SPLICE;
    if (!sends) {
      return handle.failed() && isToldByReceive(handle, own) ? -handle.takeError() : 0;
    }
    while (!session.rests().push(handle)) {
      if (!waits(row, handle)) {
        return -Errno.EAGAIN;
      }
      long r = await(handle.fd, Poll.POLLOUT, sequence, own);
      if (r < 0) {
        return r;
      }
    }
    return -handle.takeError();
  }

  /** Whether the call is a receive that natively would end with the socket's error now. */
  private boolean isToldByReceive(Handles.Handle handle, MemorySegment own) {
    long flags =
        call.number == Canonical.RECVFROM
            ? call.args[3]
            : call.number == Canonical.RECVMSG ? call.args[2] : 0;
    return Canonical.receives(call.number)
        && (flags & Socket.MSG_ERRQUEUE) == 0
        && (Pollfds.now(kernel, own, 0, handle.fd, Poll.POLLIN) & Poll.POLLIN) == 0;
  }

  private boolean waits(Row row, Handles.Handle handle) {
    for (int i = 0; i < row.argCount(); i++) {
      Arg arg = row.arg(i);
      if (arg.kind() == Arg.Kind.FLAGS
          && arg.set().equals("MSG")
          && (call.args[i] & Socket.MSG_DONTWAIT) != 0) {
        return false;
      }
    }
    long status = kernel.syscall(Canonical.FCNTL, handle.fd, Fcntl.F_GETFL, 0, 0, 0, 0);
    return status >= 0 && (status & Fcntl.O_NONBLOCK) == 0;
  }

  /** What a call on a handle ends with, and what it changes for sends that go ahead. */
  private long afterwards(Handles.Handle handle, long result) {
    switch (call.number) {
      case Canonical.SETSOCKOPT -> {
        if (!SocketOptions.leavesSends(call.args[1], call.args[2])) {
          handle.showsSends();
        }
        if (SocketOptions.changesPeeks(call.args[1], call.args[2])) {
          handle.unpeekable = true;
        }
      }
      case Canonical.SHUTDOWN -> {
        // Poll shows room all the same.
        if (call.args[1] != Socket.SHUT_RD) {
          handle.showsSends();
        }
      }
      case Canonical.CONNECT -> handle.judge(Handles.Sends.UNKNOWN);
      case Canonical.GETSOCKOPT -> {
        if (handle.failed()
            && result == 0
            && call.args[1] == Socket.SOL_SOCKET
            && call.args[2] == Socket.SO_ERROR) {
          tellError(handle);
        }
      }
      default -> {
        if (result == 0 && handle.failed() && Canonical.receives(call.number)) {
          return -handle.takeError(); // Bytes that came before it come first.
        }
      }
    }
    return result;
  }

  /** Puts the error of a send that went ahead where the socket, which has told it, has none. */
  private void tellError(Handles.Handle handle) {
    long at = kernelArgs[3] - call.data.address();
    if (at >= 0
        && at <= call.data.byteSize() - Integer.BYTES
        && call.data.get(ValueLayout.JAVA_INT_UNALIGNED, at) == 0) {
      call.data.set(ValueLayout.JAVA_INT_UNALIGNED, at, handle.takeError());
    }
  }

  /** {@code bpf(2)}; null if it is not offered. */
  private long bpf(int sequence, @Nullable BpfDeviceMarshaller marshaller, MemorySegment own) {
    if (marshaller == null) {
      return -Errno.EPERM;
    }
    int command = (int) call.args[0];
    BpfObject object = BpfObject.NONE;
    int subject = -1;
    try {
      if (BpfCommands.subject(command) >= 0) {
        long fd = call.args[BpfCommands.SUBJECT];
        Handles.Handle handle = enter(fd);
        if (handle == null) {
          return -Errno.EBADF;
        }
        entered[BpfCommands.SUBJECT] = handle;
        object = handle.object;
        subject = handle.fd;
      }
      long error = marshaller.prepare(call, subject, object, kernelArgs);
      if (error < 0) {
        return error;
      }
      long result = make(Canonical.BPF, true, sequence, own);
      marshaller.finish(call);
      BpfObject.Kind made = BpfCommands.makes(command);
      return result < 0 || made == BpfObject.Kind.NONE
          ? result
          : addObject((int) result, made, marshaller);
    } finally {
      leave();
    }
  }

  private long addObject(int fd, BpfObject.Kind kind, BpfDeviceMarshaller marshaller) {
    long[] a = kernelArgs;
    long answered = 0;
    if (kind == BpfObject.Kind.MAP) {
      marshaller.ask(fd, a);
      answered = kernel.syscall(Canonical.BPF, a[0], a[1], a[2], 0, 0, 0);
    }
    BpfObject object = marshaller.made(call, kind, answered);
    Handles.Handle handle = object == null ? null : handles.add(fd);
    if (object == null || handle == null) {
      kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
      return object == null ? -Errno.EINVAL : -Errno.EMFILE;
    }
    handle.object = object;
    newBirth = handle.birth;
    return fd;
  }

  /**
   * Looks at a file that was just opened: {@link #STATX} of the thread's own memory says what it
   * is, or, if that cannot be told, has zeros.
   *
   * @return 0, or {@code -errno} with which the open ends
   */
  private long opened(int fd, MemorySegment own) {
    long r = stat(fd, Stat.STATX_TYPE, Fcntl.AT_STATX_DONT_SYNC, own);
    if (r >= 0 && type(own) == Stat.S_IFREG && !isPathOnly(fd)) {
      long refused = kernel.opened(fd, own, STATX, OPENED);
      if (refused < 0) {
        return refused;
      }
    }
    if (r >= 0 && wantsAttributes()) {
      r = stat(fd, Stat.STATX_BASIC, 0, own);
    }
    if (r < 0) {
      own.asSlice(STATX, Struct.STATX.bytes()).fill((byte) 0);
    }
    return 0;
  }

  private static int type(MemorySegment own) {
    return own.get(ValueLayout.JAVA_SHORT, STATX + Stat.STATX_MODE) & Stat.S_IFMT;
  }

  /** Whether the open was one with O_PATH. Of openat2(2) only the kernel can tell. */
  private boolean isPathOnly(int fd) {
    long flags =
        call.number == Canonical.OPENAT
            ? kernelArgs[2]
            : kernel.syscall(Canonical.FCNTL, fd, Fcntl.F_GETFL, 0, 0, 0, 0);
    return (flags & Fcntl.O_PATH) != 0;
  }

  /** Whether an open wants to be told what was opened, in its data: openat2(2) never does. */
  private boolean wantsAttributes() {
    long to = call.number == Canonical.OPENAT ? call.args[4] : 0;
    return to > 0 && to <= call.data.byteSize() - Struct.STATX.bytes() && to % Long.BYTES == 0;
  }

  /** A statx to {@link #STATX} of the thread's own memory. */
  private long stat(int fd, int mask, int flags, MemorySegment own) {
    own.set(ValueLayout.JAVA_BYTE, 0, (byte) 0);
    return kernel.syscall(
        Canonical.STATX,
        fd,
        own.address(),
        Fcntl.AT_EMPTY_PATH | flags,
        mask,
        own.address() + STATX,
        0);
  }

  private boolean makesHandle(Row row) {
    return row.result() == ResultKind.FD
        || (call.number == Canonical.GETSOCKOPT
            && SocketOptions.makesDescriptor((int) call.args[1], (int) call.args[2]));
  }

  /** The handle of a number, in use from now on, for a call on it; null if there is none. */
  private Handles.@Nullable Handle enter(long fd) {
    Handles.Handle handle = fd == (int) fd ? handles.enter((int) fd) : null;
    if (handle != null && takes()) {
      handle.beginTaking();
    } else if (handle != null) {
      handle.settleLooks();
    }
    return handle;
  }

  /** Ends a use of a handle that {@link #enter(long)} has begun, for the same call. */
  private void leave(Handles.Handle handle) {
    if (takes()) {
      handle.endTaking();
    }
    readiness.closeIfLast(handle);
  }

  /** Whether the host has what the call has taken out of a queue until it has dealt with it. */
  private boolean gives() {
    return switch (call.number) {
      case Canonical.READ, Canonical.READV, Canonical.RECVFROM, Canonical.RECVMSG -> true;
      default -> false;
    };
  }

  /** The host has dealt with what the last call has received: it makes another one. */
  private void endGiving() {
    Handles.Handle handle = given;
    if (handle != null) {
      given = null;
      handle.endGiving(this);
    }
  }

  /** Whether it has nothing of a handle that only the host has. Any thread. */
  synchronized boolean hasGiven(Handles.Handle handle) {
    return gone || given != handle || slot.settled() == givenBy;
  }

  /** Whether the call may take something out of a socket's queue. */
  private boolean takes() {
    return switch (call.number) {
      case Canonical.SENDTO,
          Canonical.SENDMSG,
          Canonical.WRITE,
          Canonical.WRITEV,
          PseudoCall.SEND,
          PseudoCall.SAMPLE,
          PseudoCall.WATCH ->
          false;
      default -> true;
    };
  }

  /** Looks up every descriptor that the call names. */
  private long enter(Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      Arg.Kind kind = row.arg(i).kind();
      if (kind == Arg.Kind.NEW_FD) {
        // A number of the host's choice would break what Handles promises.
        return -Errno.ENOSYS;
      }
      if (kind == Arg.Kind.FD) {
        long fd = call.args[i];
        if ((int) fd == Fcntl.AT_FDCWD
            && i + 1 < row.argCount()
            && row.arg(i + 1).kind() == Arg.Kind.PATH) {
          continue; // The path must be absolute then; the marshaller sees to it.
        }
        Handles.Handle handle = enter(fd);
        if (handle == null) {
          return -Errno.EBADF;
        }
        entered[i] = handle;
        if (i == row.fdIndex()) {
          subject = handle;
        }
      }
    }
    if (call.number == Canonical.SETSOCKOPT
        && SocketOptions.namesProgram((int) call.args[1], (int) call.args[2])) {
      long fd = call.args[SocketOptions.HANDLE];
      entered[SocketOptions.HANDLE] = enter(fd);
      return entered[SocketOptions.HANDLE] == null ? -Errno.EBADF : 0;
    }
    if (call.number == Canonical.IOCTL && IoctlRequests.namesDescriptor((int) call.args[1])) {
      long fd = call.args[IoctlRequests.HANDLE];
      entered[IoctlRequests.HANDLE] = enter(fd);
      return entered[IoctlRequests.HANDLE] == null ? -Errno.EBADF : 0;
    }
    return 0;
  }

  private void leave() {
    subject = null;
    for (int i = 0; i < entered.length; i++) {
      Handles.Handle handle = entered[i];
      if (handle != null) {
        entered[i] = null;
        leave(handle);
      }
    }
  }

  /** Takes the handle out of the table; {@link #leave} closes it if no other call is on it. */
  private long closeSubject() {
    Handles.Handle handle = subject;
    return handle != null && handles.close(handle) ? 0 : -Errno.EBADF;
  }

  private long make(int number, boolean mayBlock, int sequence, MemorySegment own) {
    long[] a = kernelArgs;
    if (!mayBlock) {
      return kernel.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    for (int repeats = 0; ; repeats++) {
      if (!phase.begin(sequence)) {
        if (phase.ending()) {
          phase.end();
          return -Errno.ENETDOWN;
        }
        // The signal came before the call. Natively such a call is made all the same, and only one
        // that has to wait is interrupted: the others do what they have to do.
        session.repeatInterruption(this, sequence);
      }
      long result = kernel.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
      if (!phase.end()) {
        // A strike that was meant for an earlier call, or a signal of the device process's own:
        // the kernel says that nothing has happened yet, so the call is made again.
        if (isRestart(result) && repeats < MAX_REPEATS) {
          continue;
        }
        return result;
      }
      kernel.settle();
      if (!isRestart(result)) {
        return count(result);
      }
      return phase.ending()
          ? -Errno.ENETDOWN
          : count(kernel.interrupted(result, number, (int) a[0], own));
    }
  }

  /** Counts an interrupted call, and passes on what it ends with. */
  private long count(long result) {
    interrupts.setRelease(interrupts.getPlain() + 1);
    return result;
  }

  /** Whether a call was interrupted before anything had happened. */
  static boolean isRestart(long result) {
    return result == -Errno.EINTR
        || result == -Errno.ERESTARTSYS
        || result == -Errno.ERESTARTNOINTR
        || result == -Errno.ERESTARTNOHAND
        || result == -Errno.ERESTART_RESTARTBLOCK;
  }

  /** A request of the hook that is no system call. */
  private long pseudo(int sequence, MemorySegment own, Identity identity) {
    switch (call.number) {
      case PseudoCall.PING -> {
        return 0;
      }
      case PseudoCall.SYNC -> {
        session.lookers().looks(looker);
        return readiness.sync(call.args[0], call.data, own, sample);
      }
      case PseudoCall.CREDENTIALS -> {
        Credentials changed = Credentials.decode(call.data, call.args[0]);
        return changed == null ? -Errno.EINVAL : identity.apply(changed);
      }
      case PseudoCall.CLOSES -> {
        return closeAll();
      }
      case PseudoCall.WATCH,
          PseudoCall.SAMPLE,
          PseudoCall.RECEIVE,
          PseudoCall.SEND,
          PseudoCall.LOOK,
          PseudoCall.KEEPS,
          PseudoCall.XDP_MEMORY,
          PseudoCall.XDP_RING,
          PseudoCall.XDP_BIND,
          PseudoCall.XDP_RECEIVE,
          PseudoCall.XDP_SEND,
          PseudoCall.TAKE -> {
        long fd = call.args[0];
        Handles.Handle handle = enter(fd);
        if (handle == null) {
          return -Errno.EBADF;
        }
        try {
          return switch (call.number) {
            case PseudoCall.WATCH -> watch(handle, own);
            case PseudoCall.SAMPLE -> sample(handle, own);
            case PseudoCall.SEND -> send(handle.fd, sequence, own);
            case PseudoCall.LOOK -> look(handle, own);
            case PseudoCall.TAKE -> take(handle, own);
            case PseudoCall.KEEPS -> {
              handle.unpeekable = true;
              yield 0L;
            }
            case PseudoCall.RECEIVE -> receive(handle.fd, sequence, own);
            default -> handle.xdp ? xdp(handle.fd, sequence, own) : -Errno.EINVAL;
          };
        } finally {
          leave(handle);
        }
      }
      default -> {
        return -Errno.ENOSYS;
      }
    }
  }

  private long closeAll() {
    long count = call.args[0];
    if (count < 0 || count > PseudoCall.MAX_CLOSES) {
      return -Errno.EINVAL;
    }
    long closed = 0;
    for (long i = 0; i < count; i++) {
      Handles.Handle handle = enter(call.data.get(ValueLayout.JAVA_INT, i * Integer.BYTES));
      if (handle != null) {
        closed += handles.close(handle) ? 1 : 0;
        leave(handle);
      }
    }
    return closed;
  }

  private long watch(Handles.Handle handle, MemorySegment own) {
    if (call.args[1] == 0) {
      readiness.unwatch(handle, own);
      return 0;
    }
    boolean promptly = call.args[1] == PseudoCall.WATCHED_PROMPTLY;
    long result = readiness.watch(handle, promptly, own, sample, edges);
    if (promptly && result == 0) {
      session.lookers().hurry();
    }
    if (!edges.isEmpty()) {
      session.tell(new Frame.Ready(edges));
      edges.clear();
    }
    return result;
  }

  private long sample(Handles.Handle handle, MemorySegment own) {
    Readiness.Watch watch = handle.watch;
    if (watch != null) {
      readiness.sample(watch, own, sample);
      return sample.mask;
    }
    return readiness.poll(handle, own);
  }

  /**
   * Copies what is in a stream's queue behind so many bytes, and samples the handle after that.
   *
   * <p>No more than FIONREAD counts is asked for: then a look finds bytes, so that it takes no
   * error off the socket ({@code tcp_recvmsg_locked}), and does not go beyond urgent data.
   */
  private long look(Handles.Handle handle, MemorySegment own) {
    long over = call.args[1];
    long most = Math.min(call.args[2], call.data.byteSize());
    if (over < 0 || over > Integer.MAX_VALUE || most < 0) {
      return -Errno.EINVAL;
    }
    own.set(ValueLayout.JAVA_INT, IOVEC, 0);
    long r =
        kernel.syscall(Canonical.IOCTL, handle.fd, Ioctl.FIONREAD, own.address() + IOVEC, 0, 0, 0);
    if (r == 0) {
      long bytes = Math.min(most, own.get(ValueLayout.JAVA_INT, IOVEC) - over);
      r = bytes > 0 ? lookBehind(handle.fd, over, bytes, own) : 0;
    }
    Readiness.Watch watch = handle.watch;
    if (watch != null) {
      readiness.sample(watch, own, sample);
    }
    return r;
  }

  private long lookBehind(int fd, long over, long bytes, MemorySegment own) {
    long r = over > 0 ? peekFrom(fd, (int) over, own) : 0;
    if (r < 0) {
      return r;
    }
    r =
        kernel.syscall(
            Canonical.RECVFROM,
            fd,
            call.data.address(),
            bytes,
            Socket.MSG_PEEK | Socket.MSG_DONTWAIT,
            0,
            0);
    if (over > 0) {
      peekFrom(fd, -1, own); // as it was: the program's own looks begin at the queue's start
    }
    return r == -Errno.EAGAIN ? 0 : r;
  }

  private long peekFrom(int fd, int offset, MemorySegment own) {
    own.set(ValueLayout.JAVA_INT, IOVEC, offset);
    return kernel.syscall(
        Canonical.SETSOCKOPT,
        fd,
        Socket.SOL_SOCKET,
        Socket.SO_PEEK_OFF,
        own.address() + IOVEC,
        Integer.BYTES,
        0);
  }

  /** Under MSG_TRUNC TCP throws away what it would copy: {@code tcp(7)}. */
  private long take(Handles.Handle handle, MemorySegment own) {
    MemorySegment data = call.data;
    long count = call.args[1];
    long taken = 0;
    while (taken < count) {
      long r =
          kernel.syscall(
              Canonical.RECVFROM,
              handle.fd,
              data.address(),
              Math.min(count - taken, data.byteSize()),
              Socket.MSG_TRUNC | Socket.MSG_DONTWAIT,
              0,
              0);
      if (r <= 0) {
        return taken > 0 ? taken : r;
      }
      taken += r;
    }
    Readiness.Watch watch = handle.watch;
    if (watch != null) {
      readiness.sample(watch, own, sample);
    }
    return taken;
  }

  /** As much of the data as the stream takes; if it takes none, as soon as it takes some. */
  private long send(int fd, int sequence, MemorySegment own) {
    MemorySegment data = call.data;
    long at = call.args[1];
    long count = call.args[2];
    if (at < 0 || count < 0 || count > data.byteSize() || at > data.byteSize() - count) {
      return -Errno.EFAULT;
    }
    long place = data.address() + at;
    long flags = call.args[3] | SENDING;
    boolean waits = call.args[4] == 1;
    if (call.args[5] == 1) {
      cork(fd, own);
    }
    while (true) {
      long r = kernel.syscall(Canonical.SENDTO, fd, place, count, flags, 0, 0);
      if (r != -Errno.EAGAIN || !waits) {
        return r;
      }
      r = await(fd, Poll.POLLOUT, sequence, own);
      if (r < 0) {
        return r;
      }
    }
  }

  /** What is no stream of TCP's stays as it is; a send says what it is. */
  private void cork(int fd, MemorySegment own) {
    own.set(ValueLayout.JAVA_INT, 0, 1);
    kernel.syscall(
        Canonical.SETSOCKOPT,
        fd,
        Socket.IPPROTO_TCP,
        Socket.TCP_CORK,
        own.address(),
        Integer.BYTES,
        0);
  }

  /** Messages one behind the other, as long as there are any and the data have room. */
  private long receive(int fd, int sequence, MemorySegment own) {
    MemorySegment data = call.data;
    long room = data.byteSize();
    long most = Math.clamp(call.args[1], 0, room);
    boolean waits = call.args[2] == 1;
    long at = 0;
    if (failedOn == fd) {
      failedOn = -1;
      return failure;
    }
    // A message that does not fit would lose its end; the first has all the room that there is.
    while (room - at > ReceivedMessage.PAYLOAD && (at == 0 || fits(fd, most, room - at, own))) {
      long r = receiveOne(fd, at, Math.min(most, room - at - ReceivedMessage.PAYLOAD), own);
      if (r == -Errno.EAGAIN && waits) {
        waits = false;
        r = await(fd, Poll.POLLIN, sequence, own);
        if (r >= 0) {
          continue;
        }
      }
      if (r < 0) {
        if (at > 0 && r != -Errno.EAGAIN) {
          failedOn = fd;
          failure = r;
        }
        return at > 0 ? at : r;
      }
      waits = false;
      at += ReceivedMessage.bytes(ReceivedMessage.payloadBytes(r, most, room - at));
    }
    return at;
  }

  private long receiveOne(int fd, long at, long wanted, MemorySegment own) {
    MemorySegment data = call.data;
    long start = data.address() + at;
    own.set(ValueLayout.JAVA_LONG, IOVEC + MessageHeader.IOV_BASE, start + ReceivedMessage.PAYLOAD);
    own.set(ValueLayout.JAVA_LONG, IOVEC + MessageHeader.IOV_LEN, wanted);
    own.set(ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.NAME, start + ReceivedMessage.NAME);
    own.set(ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.NAME_BYTES, ReceivedMessage.NAME_BYTES);
    own.set(ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.IOV, own.address() + IOVEC);
    own.set(ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.IOV_COUNT, 1);
    own.set(
        ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.CONTROL, start + ReceivedMessage.CONTROL);
    own.set(
        ValueLayout.JAVA_LONG,
        MESSAGE + MessageHeader.CONTROL_BYTES,
        ReceivedMessage.CONTROL_BYTES);
    own.set(ValueLayout.JAVA_LONG, MESSAGE + MessageHeader.FLAGS, 0);
    long r =
        kernel.syscall(
            Canonical.RECVMSG,
            fd,
            own.address() + MESSAGE,
            Socket.MSG_TRUNC | Socket.MSG_DONTWAIT,
            0,
            0,
            0);
    if (r < 0) {
      return r;
    }
    data.set(ValueLayout.JAVA_INT, at + ReceivedMessage.LENGTH, (int) r);
    copyInt(own, MessageHeader.FLAGS, at + ReceivedMessage.FLAGS);
    copyInt(own, MessageHeader.NAME_BYTES, at + ReceivedMessage.NAME_LENGTH);
    copyInt(own, MessageHeader.CONTROL_BYTES, at + ReceivedMessage.CONTROL_LENGTH);
    return r;
  }

  private void copyInt(MemorySegment own, long field, long to) {
    call.data.set(ValueLayout.JAVA_INT, to, own.get(ValueLayout.JAVA_INT, MESSAGE + field));
  }

  /** What is asked of an XDP socket. */
  private long xdp(int fd, int sequence, MemorySegment own) {
    MemorySegment data = call.data;
    long[] a = call.args;
    return switch (call.number) {
      case PseudoCall.XDP_MEMORY -> {
        // The port takes one at a time; another would be EAGAIN.
        synchronized (kernel) {
          yield kernel.syscall(Canonical.XDP, fd, Canonical.XDP_MEMORY, 0, 0, 0, 0);
        }
      }
      case PseudoCall.XDP_RING ->
          kernel.syscall(Canonical.XDP, fd, Canonical.XDP_RING, a[1], 0, 0, 0);
      case PseudoCall.XDP_BIND ->
          kernel.syscall(Canonical.XDP, fd, Canonical.XDP_BIND, a[1], a[2], a[3], 0);
      case PseudoCall.XDP_SEND -> {
        long bytes = a[1];
        yield bytes < 0 || bytes > data.byteSize()
            ? -Errno.EFAULT
            : kernel.syscall(Canonical.XDP, fd, Canonical.XDP_SEND, data.address(), bytes, a[2], 0);
      }
      default -> receiveFrames(fd, sequence, own);
    };
  }

  private long receiveFrames(int fd, int sequence, MemorySegment own) {
    MemorySegment data = call.data;
    boolean waits = call.args[1] == 1;
    while (true) {
      long r =
          kernel.syscall(
              Canonical.XDP, fd, Canonical.XDP_RECEIVE, data.address(), data.byteSize(), 0, 0);
      if (r != 0) {
        return r;
      }
      if (!waits) {
        return -Errno.EAGAIN;
      }
      waits = false;
      r = await(fd, Poll.POLLIN, sequence, own);
      if (r < 0) {
        return r;
      }
    }
  }

  /** By poll, so that neither O_NONBLOCK nor a timeout of the socket ends it. */
  private long await(int fd, int events, int sequence, MemorySegment own) {
    own.set(ValueLayout.JAVA_INT, IOVEC, fd);
    own.set(ValueLayout.JAVA_INT, IOVEC + 4L, events);
    kernelArgs[0] = own.address() + IOVEC;
    kernelArgs[1] = 1;
    Arrays.fill(kernelArgs, 2, kernelArgs.length, 0);
    return make(Canonical.PPOLL, true, sequence, own);
  }

  /** Whether the socket's next message would come whole. */
  private boolean fits(int fd, long most, long room, MemorySegment own) {
    long payload = room - ReceivedMessage.PAYLOAD - LONGEST_PREFIX;
    if (payload >= most) {
      return true;
    }
    own.set(ValueLayout.JAVA_INT, IOVEC, 0);
    long r = kernel.syscall(Canonical.IOCTL, fd, Ioctl.FIONREAD, own.address() + IOVEC, 0, 0, 0);
    return r == 0 && own.get(ValueLayout.JAVA_INT, IOVEC) <= payload;
  }
}
