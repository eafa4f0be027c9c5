// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Struct;
import dev.outboard.channel.CallSlot;
import dev.outboard.channel.Credentials;
import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LentSlot;
import dev.outboard.channel.LinkException;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import dev.outboard.syscalls.IoctlRequests;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SocketOptions;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes calls on the device for threads of the program, and a few for the hook itself.
 *
 * <p>A thread's call runs on its shadow thread, by way of its call slot, which it gets with its
 * first call. The notifier thread waits for the end: first for a moment, for most calls are short;
 * then it lets another one receive; and after 2 ms it registers with the {@link SignalSampler}, so
 * that signals end the wait as they would natively.
 *
 * <p>Between {@link #begin} and {@link #end} the slot is the notifier thread's.
 */
final class DeviceCalls implements Placeholders.HandleCloser {
  /** How long to wait in the seat: less than it costs to wake another thread, if that is idle. */
  private static final long SHORT_NANOS = 50_000;

  /** From here on a call counts as blocked. */
  private static final long BLOCKED_NANOS = 2_000_000;

  /** How long others wait for a close that may linger ({@code SO_LINGER}), and for any other. */
  private static final long LINGER_NANOS = 20_000_000;

  private static final long CLOSE_NANOS = 10_000_000_000L;

  private static final int MAX_LINGERING = 64;

  private static final int POLLFD_BYTES = 8;

  /** How late a wait for the host notices that the device is lost. */
  private static final int LOSS_MILLIS = 500;

  private static final int CLOSE = canonical("close");
  private static final int OPENAT = canonical("openat");

  /** The argument of openat that says where in the data the file's attributes are wanted. */
  private static final int ATTRIBUTES = 4;

  private static final BitSet CHANGES_NOTHING =
      numbers(
          "accept4",
          "close",
          "faccessat",
          "fcntl",
          "flock",
          "fstatfs",
          "getdents64",
          "lseek",
          "pread64",
          "preadv",
          "preadv2",
          "read",
          "readlinkat",
          "readv",
          "socket",
          "statfs",
          "statx");

  /**
   * Calls that can tell whether a file which was only read is closed: leases, space, file systems.
   */
  private static final BitSet TELLS_ENDS = new BitSet();

  static {
    Stream.of("fcntl", "flock", "statfs", "fstatfs", "umount2", "mount")
        .mapToInt(DeviceCalls::canonical)
        .forEach(TELLS_ENDS::set);
  }

  private static final int SOCKET = canonical("socket");
  private static final int GETSOCKOPT = canonical("getsockopt");
  private static final int SETSOCKOPT = canonical("setsockopt");

  private final DeviceLink link;
  private final SignalSampler sampler;
  private final OpenFiles files;
  private final Messages messages;
  private final ProcessTable processes;
  private @Nullable Readiness readiness;
  private @Nullable Placeholders placeholders;
  private @Nullable SendAhead ahead;
  private @Nullable BpfCalls bpf;
  private @Nullable ReceiveAhead looks;
  private @Nullable NearSlots near;

  /** Whether opens ask what the file is. */
  private boolean asksAttributes;

  /** Calls that began or ended since the start and may have changed what a file is. */
  private final AtomicLong changes = new AtomicLong();

  private final AtomicLong made = new AtomicLong();

  /** Calls that were answered from what was told with the call before, for statistics. */
  private final LongAdder known = new LongAdder();

  /** Frames of Look and Taken, or such as are about to be. */
  private final AtomicInteger issued = new AtomicInteger();

  // The hook's own slots: idle ones, and those whose close lingers.
  private final Object serviceLock = new Object();
  private final ArrayDeque<CallSlot> service = new ArrayDeque<>();
  private final List<CallSlot> lingering = new ArrayList<>();

  DeviceCalls(
      DeviceLink link,
      SignalSampler sampler,
      OpenFiles files,
      ProcessTable processes,
      Messages messages) {
    this.link = link;
    this.sampler = sampler;
    this.files = files;
    this.processes = processes;
    this.messages = messages;
  }

  /** Sets what could not exist before this object; before the first call. */
  void connect(Readiness readiness, Placeholders placeholders) {
    this.readiness = readiness;
    this.placeholders = placeholders;
  }

  /** Lets sends be answered before they are made; before the first call. */
  void connect(SendAhead sendAhead) {
    ahead = sendAhead;
  }

  /** Lets messages name programs of BPF; before the first call. */
  void connect(BpfCalls bpfCalls) {
    bpf = bpfCalls;
  }

  /** Lets receives be answered from what was looked at; before the first call. */
  void connect(ReceiveAhead receiveAhead) {
    looks = receiveAhead;
  }

  /** Has the hook serve the call slots of processes; before the first call. */
  void connect(NearSlots nearSlots) {
    near = nearSlots;
  }

  /** Who serves the call slots of processes; null if the device does, or nobody. */
  @Nullable NearSlots near() {
    return near;
  }

  /** Has opens ask what the file is; before the first call, and only if the device can tell. */
  void askAttributes() {
    asksAttributes = true;
  }

  /** Changes whenever a call begins or ends that may change what a file of the device is. */
  long changes() {
    return changes.get();
  }

  /**
   * Counts up with every call that traps and is made on the device, and with every receive by other
   * ways: who finds it as it was has had no room made by the program meanwhile.
   */
  long made() {
    return made.get();
  }

  /** Something was received, or is about to be, without such a call. */
  void receives() {
    made.incrementAndGet();
  }

  /** A call was answered from what was told with another. */
  void wasKnown() {
    known.increment();
  }

  /** How many were. */
  long known() {
    return known.sum();
  }

  /**
   * Something is about to be kept of a file that comes before what the device has: processes
   * receive none of that by themselves from now on.
   */
  void keeps(Notification n, OpenFile file) {
    n.willBlock();
    service(PseudoCall.KEEPS, file.handle(), 0, 0, CLOSE_NANOS);
  }

  /** Counts frames that calls must come after, and that take another way to the link's end. */
  AtomicInteger issued() {
    return issued;
  }

  /** What looks ahead and what is called take two ways to the link's end. */
  private void after(Call c) {
    c.flags = afterLooks();
  }

  private int afterLooks() {
    return looks == null ? 0 : issued.get() << Call.SENT_SHIFT | Call.SENT_KNOWN;
  }

  private static BitSet numbers(String... names) {
    BitSet numbers = new BitSet();
    for (String name : names) {
      numbers.set(canonical(name));
    }
    return numbers;
  }

  /** The canonical number of a call. */
  static int canonical(String name) {
    return SyscallTable.row(name).canonical();
  }

  /**
   * Gives the caller's slot to this thread for one or more device calls.
   *
   * @return 0 or {@code -errno}: ENETDOWN, ENOBUFS, EPERM; then there is no {@link #end}
   */
  long begin(Notification n) {
    ThreadEntry t = n.thread();
    CallSlot s = t.beginCall();
    if (s == null) {
      long r = attach(n, t);
      if (r < 0) {
        return r;
      }
      s = Objects.requireNonNull(t.slot());
    } else if (t.credentialsDirty) {
      t.credentialsDirty = false;
      Credentials c = credentials(n);
      long r = c == null ? -Errno.EPERM : link.credentials(s, c);
      if (r < 0) {
        t.credentialsDirty = true;
        end(n);
        return r;
      }
    }
    n.slot(s);
    return 0;
  }

  /** Ends what {@link #begin} began; before the notification is answered. */
  void end(Notification n) {
    CallSlot used = n.thread().slot();
    if (used != null) {
      used.settle();
    }
    CallSlot unused = n.thread().endCall();
    if (unused != null) {
      link.detach(unused);
    }
  }

  /**
   * Makes the call of the notification on the device, as its row says: inputs from the program's
   * memory, outputs to it.
   *
   * @param p what the row's descriptor refers to
   * @return what to answer: a value, or {@code -errno}; -ERESTARTSYS only if the caller is certain
   *     to act on it
   */
  long run(Notification n, Placeholder p) {
    return run(n, n.row(), n.args(), p);
  }

  /** The same for another row and other arguments than the notification's own. */
  long run(Notification n, Row row, long[] args, Placeholder p) {
    OpenFile file = files.get(p.handle());
    return file == null ? -Errno.EBADF : run(n, row, args, file, p);
  }

  /** The same for a file that may have no placeholder. */
  long run(Notification n, Row row, long[] args, OpenFile file, @Nullable Placeholder p) {
    return run(n, row, args, file, p, null, 0);
  }

  /**
   * The same for a request of ioctl whose argument names another file.
   *
   * @param second that file, which is the caller's to {@link OpenFile#use}
   */
  long runRequest(Notification n, OpenFile file, Placeholder p, OpenFile second) {
    return runNaming(n, n.row(), file, p, second, IoctlRequests.HANDLE);
  }

  /**
   * The same for any call.
   *
   * @param at which argument gets its handle
   */
  long runNaming(Notification n, Row row, OpenFile file, Placeholder p, OpenFile second, int at) {
    return run(n, row, n.args(), file, p, second, at);
  }

  private long run(
      Notification n,
      Row row,
      long[] args,
      OpenFile file,
      @Nullable Placeholder p,
      @Nullable OpenFile second,
      int at) {
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      long r = begin(n);
      if (r < 0) {
        return r;
      }
      try {
        CallSlot s = n.slot();
        Call c = s.call();
        do {
          r = HostMarshaller.encode(row, args, n.memory(), c);
          if (r < 0) {
            int refused = file.refusal(row);
            return refused != 0 ? -refused : memoryError(n, r);
          }
          c.args[row.fdIndex()] = file.handle();
          if (second != null) {
            c.args[at] = second.handle();
          }
          r = execute(n, s, row, file);
        } while (r == AGAIN);
        if (r >= 0 && makesHandle(row, args)) {
          n.acceptedHandle(r);
          n.newBirth(s.newBirth());
        }
        r = HostMarshaller.decode(row, args, c, n.memory());
        if (p != null) {
          sampled(n, p, s);
        }
        return memoryError(n, r);
      } finally {
        end(n);
      }
    } finally {
      unuse(file);
    }
  }

  private static boolean makesHandle(Row row, long[] args) {
    return row.result() == ResultKind.FD
        || (row.canonical() == GETSOCKOPT
            && SocketOptions.makesDescriptor((int) args[1], (int) args[2]));
  }

  /**
   * Makes a call whose descriptors are handles already, and which needs none at all: one that names
   * paths, or two files.
   *
   * @param row what is called, and
   * @param args its arguments: handles or AT_FDCWD where it has descriptors
   * @param first a file that the call names, and
   * @param second another one
   */
  long runAt(
      Notification n, Row row, long[] args, @Nullable OpenFile first, @Nullable OpenFile second) {
    return runAt(n, row, args, first, second, null);
  }

  /**
   * The same.
   *
   * @param p the placeholder of the row's first descriptor, to be told how ready it is afterwards
   */
  long runAt(
      Notification n,
      Row row,
      long[] args,
      @Nullable OpenFile first,
      @Nullable OpenFile second,
      @Nullable Placeholder p) {
    if (first != null && !first.use()) {
      return -Errno.EBADF;
    }
    try {
      if (second != null && !second.use()) {
        return -Errno.EBADF;
      }
      try {
        long r = begin(n);
        if (r < 0) {
          return r;
        }
        try {
          Call c = n.slot().call();
          boolean asks = asksAttributes && row.canonical() == OPENAT;
          do {
            r = HostMarshaller.encode(row, args, n.memory(), c);
            if (r < 0) {
              return memoryError(n, r);
            }
            if (asks) {
              c.args[ATTRIBUTES] = (c.extent + Long.BYTES) & -Long.BYTES;
              c.extent = c.args[ATTRIBUTES] + Struct.STATX.bytes();
              c.fromDevice += Struct.STATX.bytes();
            }
            r = execute(n, n.slot());
          } while (r == AGAIN);
          n.attributes(
              asks && r >= 0
                  ? c.data
                      .asSlice(c.args[ATTRIBUTES], Struct.STATX.bytes())
                      .toArray(ValueLayout.JAVA_BYTE)
                  : null);
          n.newBirth(n.slot().newBirth());
          n.newType(n.slot().readyMask());
          r = HostMarshaller.decode(row, args, c, n.memory());
          if (p != null) {
            sampled(n, p, n.slot());
          }
          return memoryError(n, r);
        } finally {
          end(n);
        }
      } finally {
        if (second != null) {
          unuse(second);
        }
      }
    } finally {
      if (first != null) {
        unuse(first);
      }
    }
  }

  /** Makes a call of which what it sends may name files. */
  private long execute(Notification n, CallSlot s, Row row, OpenFile file) {
    BpfCalls b = bpf;
    BpfCalls.Use named = b == null ? null : b.translate(n, row, file, s.call());
    try {
      return execute(n, s);
    } finally {
      if (named != null) {
        named.end();
      }
    }
  }

  /** Another result than any call has: the call was interrupted for nothing and is to be redone. */
  static final long AGAIN = Long.MIN_VALUE;

  /**
   * Makes the call that is in the slot and waits for its end, however long that takes. Signals of
   * the caller end it as they would natively.
   *
   * @return the result; or {@link #AGAIN} if the call was interrupted but the caller has no signal
   *     to act on: encode it again and repeat. The result is in the slot's call, too.
   */
  long execute(Notification n, CallSlot s) {
    Placeholders all = placeholders;
    if (all != null) {
      if (TELLS_ENDS.get(s.call().number)) {
        all.settleLate();
      }
      all.reapClosing();
    }
    // What was read is the caller's, and what was found out is about the caller, only if it waits
    // still; and a call for a dead thread must not be made.
    if (!n.valid()) {
      s.call().result = -Errno.EINTR;
      return -Errno.EINTR;
    }
    ReceiveAhead receives = looks;
    ReceiveWindow received = receives == null ? null : receives.before(s.call());
    long follows = order(s.call());
    made.incrementAndGet();
    boolean changes = asksAttributes && mayChange(s.call());
    if (changes) {
      this.changes.incrementAndGet();
    }
    long started = n.timed() ? System.nanoTime() : 0;
    if (s.submitWaits()) {
      n.willBlock();
    }
    s.submit();
    boolean certain = false;
    boolean takes = s.call().receives;
    if (!s.await(SHORT_NANOS)) {
      takes = true;
      n.willBlock();
      if (!s.await(BLOCKED_NANOS)) {
        ThreadEntry t = n.thread();
        sampler.blocked(t, n.id(), s);
        try {
          while (!s.await(Long.MAX_VALUE)) {}
        } finally {
          certain = sampler.ended(t);
        }
      }
    }
    if (changes) {
      this.changes.incrementAndGet();
    }
    // What was received is nobody's if the caller was ended meanwhile, and others must be able to
    // get it. The memory may be there a little longer, shared ones for good; and by an execve of
    // another thread the caller's number lives on.
    if (takes && !n.valid()) {
      n.memory().unbind();
    }
    if (started != 0) {
      n.deviceTime(System.nanoTime() - started, s.spinsWon(), s.spinsLost());
    }
    if (receives != null) {
      receives.awaitLooked(s.looked());
      receives.after(received);
    }
    long r = result(s);
    followed(s, follows, r);
    r = heldUp(s, r);
    if (r <= -Errno.ERESTARTSYS && r >= -Errno.ERESTART_RESTARTBLOCK) {
      if (!certain) {
        if (n.process().shim().leaving && Shim.isGate(n.instructionPointer())) {
          // The shim made the call, and returns what came of it before.
          s.call().result = -Errno.EINTR;
          return -Errno.EINTR;
        }
        return AGAIN;
      }
      // A restart block would have to be the caller's own; no call that runs here needs one.
      r = r == -Errno.ERESTART_RESTARTBLOCK ? -Errno.EINTR : -Errno.ERESTARTSYS;
      s.call().result = r;
    }
    return r;
  }

  private void followed(CallSlot s, long follows, long result) {
    SendAhead sends = ahead;
    if (sends != null && follows >= 0 && result >= 0) {
      OpenFile file = files.get((int) s.call().args[0]);
      if (file != null) {
        sends.followed(file, follows);
      }
    }
  }

  /** What a call ends with that may have been held up by what went ahead before it. */
  private long heldUp(CallSlot s, long result) {
    SendAhead sends = ahead;
    if (sends == null
        || result != -Errno.EAGAIN
        || (s.call().flags & Call.ORDER) != Call.AFTER_OR_AGAIN) {
      return result;
    }
    OpenFile file = files.get((int) s.call().args[0]);
    long r = file == null ? result : sends.heldUp(s.call(), file);
    s.call().result = r;
    return r;
  }

  /** What a call has come to; the device may say anything. */
  private static long result(CallSlot s) {
    Call c = s.call();
    Row row = c.number >= PseudoCall.FIRST ? null : SyscallTable.byCanonical(c.number);
    long r = s.result();
    if (row == null || !row.onDevice()) {
      // AGAIN is the hook's own.
      return Math.max(r, Integer.MIN_VALUE);
    }
    return HostMarshaller.checked(row, c);
  }

  /** Whether a call may change what a regular file is: its size, its times, its mode, its links. */
  private boolean mayChange(Call c) {
    if (c.number >= PseudoCall.FIRST || CHANGES_NOTHING.get(c.number)) {
      return false;
    }
    if (c.number == OPENAT) {
      return (c.args[2] & Fcntl.O_TRUNC) != 0;
    }
    Row row = SyscallTable.byCanonical(c.number);
    OpenFile file =
        row == null || row.fdIndex() < 0 ? null : files.get((int) c.args[row.fdIndex()]);
    return file == null || file.kind() != OpenFile.Kind.SOCKET;
  }

  /**
   * Makes a socket on the device for the hook's own use, with the caller's rights.
   *
   * @return its handle, which the hook is to close, or {@code -errno}
   */
  long socket(Notification n, int domain, int type, int protocol) {
    long r = begin(n);
    if (r < 0) {
      return r;
    }
    try {
      do {
        Call c = n.slot().call();
        c.start(SOCKET);
        c.args[0] = domain;
        c.args[1] = type;
        c.args[2] = protocol;
        r = execute(n, n.slot());
      } while (r == AGAIN);
      return r;
    } finally {
      end(n);
    }
  }

  /**
   * Receives from a file to the start of the slot's data. Between {@link #begin} and {@link #end}.
   *
   * @param row a call with the arguments descriptor, buffer, count and, if it has that, offset
   * @return bytes, {@code -errno}, or {@link #AGAIN}
   */
  long transfer(Notification n, Row row, int handle, long count, long offset) {
    Call c = n.slot().call();
    c.start(row.canonical());
    c.carried = count;
    c.receives = true;
    c.args[0] = handle;
    c.args[2] = count;
    c.args[3] = row.argCount() > 3 ? offset : 0;
    return execute(n, n.slot());
  }

  /**
   * Reads an option of a socket whose value is an int.
   *
   * @param initial what the value is before
   * @return the value, or {@code -errno}
   */
  long option(Notification n, int handle, int level, int name, int initial) {
    return option(n, GETSOCKOPT, handle, level, name, initial);
  }

  /** Sets an option of a socket whose value is an int; 0 or {@code -errno}. */
  long setOption(Notification n, int handle, int level, int name, int value) {
    return option(n, SETSOCKOPT, handle, level, name, value);
  }

  private long option(Notification n, int call, int handle, int level, int name, int value) {
    long r = begin(n);
    if (r < 0) {
      return r;
    }
    try {
      return optionNow(n, call, handle, level, name, value);
    } finally {
      end(n);
    }
  }

  /** The error of a socket, which it tells once; between {@link #begin} and {@link #end}. */
  long takeError(Notification n, int handle) {
    return optionNow(n, GETSOCKOPT, handle, Socket.SOL_SOCKET, Socket.SO_ERROR, 0);
  }

  private long optionNow(Notification n, int call, int handle, int level, int name, int value) {
    boolean gets = call == GETSOCKOPT;
    Call c = n.slot().call();
    long r;
    do {
      c.start(call);
      c.toDevice = Long.BYTES + Integer.BYTES;
      c.fromDevice = gets ? Long.BYTES + Integer.BYTES : 0;
      c.args[0] = handle;
      c.args[1] = level;
      c.args[2] = name;
      c.args[3] = Long.BYTES;
      c.args[4] = gets ? 0 : Integer.BYTES;
      c.data.set(ValueLayout.JAVA_INT, 0, Integer.BYTES);
      c.data.set(ValueLayout.JAVA_INT, Long.BYTES, value);
      r = execute(n, n.slot());
    } while (r == AGAIN);
    return r < 0 || !gets
        ? r
        : Integer.toUnsignedLong(c.data.get(ValueLayout.JAVA_INT, Long.BYTES));
  }

  /** As {@link DeviceLink#takesOptionsInRings}. */
  boolean takesOptionsInRings() {
    return link.takesOptionsInRings();
  }

  /** Asks for the readiness of a file now, if it is watched. */
  void sample(Notification n, Placeholder p) {
    if (!p.watched() || begin(n) < 0) {
      return;
    }
    try {
      sampleNow(n, p);
    } finally {
      end(n);
    }
  }

  /**
   * What a call is to end with that has sent nothing because of EPIPE: what went ahead of it may
   * have met the reset, and has its error, which comes first. Not between {@link #begin} and {@link
   * #end}.
   */
  long brokenPipe(Notification n, Placeholder p, OpenFile file) {
    SendAhead sends = ahead;
    // Behind the end of its stream nothing had to go before it.
    if (sends != null && !file.streamEnded()) {
      n.willBlock();
      sends.settle(file);
    }
    long put = deferredError(n, p, file);
    return put == 0 ? -Errno.EPIPE : put;
  }

  /**
   * The error put off, which a call is to end with instead of being made; 0 if there is none. Not
   * between {@link #begin} and {@link #end}.
   */
  long deferredError(Notification n, Placeholder p, OpenFile file) {
    return shownNoMore(n, p, file, file.takeDeferredError());
  }

  /** The same, if it is one that the socket itself would have kept. */
  long socketError(Notification n, Placeholder p, OpenFile file) {
    return shownNoMore(n, p, file, file.takeSocketError());
  }

  private long shownNoMore(Notification n, Placeholder p, OpenFile file, int put) {
    if (put != 0) {
      p.pin(file.pinned());
      sample(n, p);
    }
    return -put;
  }

  /**
   * The error put off that a call is told shows no more; between {@link #begin} and {@link #end}.
   *
   * @return {@code -errno}
   */
  long told(Notification n, Placeholder p, OpenFile file, int errno) {
    p.pin(file.pinned());
    sampleNow(n, p);
    return -errno;
  }

  /** The file's next call that would tell its socket's error tells this one. Does not wait. */
  void putOff(Placeholder p, OpenFile file, int errno) {
    file.deferError(errno);
    p.pin(file.pinned());
  }

  /** The same; nothing if the file is closed. */
  void putOff(Placeholder p, int errno) {
    OpenFile file = files.get(p.handle());
    if (file != null) {
      putOff(p, file, errno);
    }
  }

  /** The same between {@link #begin} and {@link #end}. */
  void sampleNow(Notification n, Placeholder p) {
    if (!p.watched()) {
      return;
    }
    Call c = n.slot().call();
    c.start(PseudoCall.SAMPLE);
    c.args[0] = p.handle();
    execute(n, n.slot());
    sampled(n, p, n.slot());
  }

  /** Has the device watch a file from now on; between {@link #begin} and {@link #end}. */
  void watch(Notification n, Placeholder p) {
    watch(n, p, PseudoCall.WATCHED);
  }

  /**
   * Has the device watch a file, and tell of each edge as soon as it can, since the host's kernel
   * makes signals of them.
   *
   * @return 0 or {@code -errno}
   */
  long announce(Notification n, Placeholder p) {
    if (p.alwaysReady()) {
      return 0; // It has no edges.
    }
    OpenFile file = files.get(p.handle());
    if (file == null) {
      return -Errno.EBADF;
    }
    file.endDirect(); // What urgent data and room depend on is to be seen here.
    p.announce();
    long r = begin(n);
    if (r < 0) {
      return r;
    }
    try {
      watch(n, p, PseudoCall.WATCHED_PROMPTLY);
      return 0;
    } finally {
      end(n);
    }
  }

  private void watch(Notification n, Placeholder p, int how) {
    CallSlot slot = n.slot();
    long r;
    do {
      Call c = slot.call();
      c.start(PseudoCall.WATCH);
      c.args[0] = p.handle();
      c.args[1] = how;
      r = execute(n, slot);
    } while (r == AGAIN);
    Readiness known = readiness;
    int mask = slot.readyMask();
    if (known != null && r >= 0 && mask >= 0) {
      known.watching(p, mask, slot.readyStamp());
    }
  }

  /** Passes on the readiness that came with the slot's last call, if the handle is watched. */
  void sampled(Notification n, Placeholder p, CallSlot s) {
    sampled(n, p, s, Math.max(0, n.row().fdIndex()));
  }

  /**
   * The same.
   *
   * @param index which argument of the notification's call is the placeholder's descriptor
   */
  void sampled(Notification n, Placeholder p, CallSlot s, int index) {
    Readiness r = readiness;
    int mask = s.readyMask();
    if (r != null && mask != -1) {
      r.afterCall(p, mask, s.readyStamp(), n.process().pidfd(), n.intArg(index));
    }
  }

  /**
   * Waits for a descriptor of the host, however long that takes, as the caller would natively: a
   * signal that it has to act on ends the wait. Between {@link #begin} and {@link #end}, whose slot
   * is what bounds the number of such waits.
   *
   * @param fd the hook's own copy of the descriptor
   * @param events what to wait for
   * @return what poll says of it; -ERESTARTSYS, which may be answered; -EINTR if the caller is
   *     gone; -ENETDOWN if the device is lost; or another {@code -errno}
   */
  long awaitHost(Notification n, int fd, int events) {
    MemorySegment polls = n.pollScratch();
    long r = poll(polls, fd, events, 1, 0);
    if (r != 0) {
      return r;
    }
    n.willBlock();
    r = poll(polls, fd, events, 1, (int) (BLOCKED_NANOS / 1_000_000));
    if (r != 0) {
      return r;
    }
    while (n.valid()) {
      if (link.lost()) {
        return -Errno.ENETDOWN;
      }
      int event = (int) Linux.eventfd(File.EFD_CLOEXEC);
      if (event < 0) {
        return event;
      }
      ThreadEntry t = n.thread();
      sampler.blockedOnHost(t, n.id(), event);
      polls.set(ValueLayout.JAVA_INT, POLLFD_BYTES, event);
      polls.set(ValueLayout.JAVA_INT, POLLFD_BYTES + 4, Poll.POLLIN);
      r = poll(polls, fd, events, 2, LOSS_MILLIS);
      boolean certain = sampler.ended(t);
      Linux.close(event);
      // Ready counts more than a signal: it is taken when the call returns, with what it then did.
      if (r != 0) {
        return r;
      }
      if (certain) {
        return -Errno.ERESTARTSYS;
      }
    }
    return -Errno.EINTR;
  }

  /** What the first of {@code count} descriptors is ready for, 0 if it is not, or -errno. */
  private static long poll(MemorySegment polls, int fd, int events, int count, int millis) {
    polls.set(ValueLayout.JAVA_INT, 0, fd);
    polls.set(ValueLayout.JAVA_INT, 4, events);
    long r = Linux.poll(polls.address(), count, millis);
    if (r == -Errno.EINTR) {
      return 0; // the JVM's own matter
    }
    return r < 0 ? r : Short.toUnsignedLong(polls.get(ValueLayout.JAVA_SHORT, 6));
  }

  /** What a descriptor of the hook is ready for now. */
  static long pollNow(Notification n, int fd, int events) {
    return poll(n.pollScratch(), fd, events, 1, 0);
  }

  /** Ends one use of a file; closes its handle if that was put off. */
  void unuse(OpenFile file) {
    if (file.unuse()) {
      closeNow(file.handle());
    }
  }

  /**
   * The last descriptor of a handle is gone: closes it on the device, now or when the last call on
   * it has ended.
   */
  @Override
  public void close(int handle) {
    OpenFile file = files.get(handle);
    if (file == null) {
      closeNow(handle);
      return;
    }
    for (OpenFile w = file.takeBack(); w != null; w = file.takeBack()) {
      close(w.handle());
    }
    if (file.abandon()) {
      closeNow(handle);
    } else {
      link.pushAhead(); // It may be what the close waits for.
    }
    RingFeed ring = file.takeRing();
    if (ring != null) {
      ring.stop();
    }
    XdpSocket xdp = file.xdp();
    if (xdp != null) {
      xdp.close();
    }
  }

  @Override
  public void closeAll(int[] handles) {
    int count = 0;
    for (int handle : handles) {
      OpenFile file = files.get(handle);
      if (ahead != null || file == null) {
        close(handle);
      } else if (file.abandon()) {
        files.remove(handle);
        handles[count++] = handle;
      }
    }
    int closing = count;
    if (closing > 0
        && service(
                PseudoCall.CLOSES,
                closing,
                0,
                0,
                CLOSE_NANOS,
                call -> {
                  MemorySegment.copy(handles, 0, call.data, ValueLayout.JAVA_INT, 0, closing);
                  call.toDevice = (long) closing * Integer.BYTES;
                },
                null)
            == -Errno.ENOSYS) {
      for (int i = 0; i < closing; i++) {
        service(CLOSE, handles[i], 0, 0, CLOSE_NANOS);
      }
    }
  }

  /** Closes a file whose last descriptor is gone and that nobody uses any more. */
  void closeUnused(int handle) {
    closeNow(handle);
  }

  private void closeNow(int handle) {
    OpenFile file = files.get(handle);
    ReceiveAhead receives = looks;
    if (receives != null && file != null) {
      receives.closing(file);
    }
    // First: the number may be in use again the moment it is closed.
    files.remove(handle);
    SendAhead closes = ahead;
    if (closes == null
        || file == null
        || !file.closesAhead()
        || !closes.close(handle, afterLooks(), !file.quiet())) {
      service(CLOSE, handle, 0, 0, file != null && file.lingers() ? LINGER_NANOS : CLOSE_NANOS);
    }
  }

  /**
   * Makes a call of the hook's own, without data.
   *
   * @param nanos how long to wait for its end; after that it goes on by itself
   * @return its result, or -EINPROGRESS
   */
  long service(int number, long a0, long a1, long a2, long nanos) {
    return service(number, a0, a1, a2, nanos, DeviceCalls::noData, null);
  }

  /**
   * The same.
   *
   * @param data puts down the call's data
   * @param samples who is told of readiness that comes with the result; null for nobody
   */
  private long service(
      int number,
      long a0,
      long a1,
      long a2,
      long nanos,
      Consumer<Call> data,
      @Nullable Readiness samples) {
    CallSlot s;
    synchronized (serviceLock) {
      reclaim();
      s = service.poll();
    }
    if (s == null) {
      s = attachOwn();
      if (s == null) {
        return -Errno.ENETDOWN;
      }
    }
    Call c = s.call();
    c.start(number);
    c.args[0] = a0;
    c.args[1] = a1;
    c.args[2] = a2;
    data.accept(c);
    after(c);
    s.submit();
    boolean done = s.await(nanos);
    if (done && samples != null && s.readyMask() != -1) {
      samples.ready((int) a0, s.readyMask(), s.readyStamp());
    }
    synchronized (serviceLock) {
      if (done) {
        service.push(s);
        return s.result();
      }
      lingering.add(s);
      if (lingering.size() <= MAX_LINGERING) {
        return -Errno.EINPROGRESS;
      }
      lingering.remove(s);
    }
    while (!s.await(Long.MAX_VALUE)) {}
    synchronized (serviceLock) {
      service.push(s);
    }
    return s.result();
  }

  /**
   * Makes a call that asks for something, on a handle that the caller uses, and waits for its end
   * however long that takes.
   *
   * @param s the caller's own, filled
   * @return what the device says; also if it is gone
   */
  long ask(CallSlot s) {
    long follows = before(s);
    s.submit();
    while (!s.await(Long.MAX_VALUE)) {}
    awaitHeard(s);
    return answered(s, follows);
  }

  /**
   * What is to be done before a call that takes nothing out of a socket, on a handle that the
   * caller uses: it is to be submitted next, and when it has ended, {@link #answered} is to be
   * asked.
   *
   * @param s the caller's own, filled
   * @return what to tell {@link #answered}
   */
  long before(CallSlot s) {
    Placeholders all = placeholders;
    if (all != null) {
      all.reapClosing();
    }
    ReceiveAhead receives = looks;
    if (receives != null) {
      receives.after(receives.before(s.call()));
    }
    return order(s.call());
  }

  /** Says of a call what it comes after; what to tell {@link #followed} when it has ended. */
  private long order(Call c) {
    after(c);
    SendAhead sends = ahead;
    return sends == null ? -1 : sends.order(c, files);
  }

  /** Whether all is known here that the device had told before the end of the slot's last call. */
  boolean hasHeard(CallSlot s) {
    ReceiveAhead receives = looks;
    return receives == null || receives.hasLooked(s.looked());
  }

  /** Waits for that. */
  void awaitHeard(CallSlot s) {
    ReceiveAhead receives = looks;
    if (receives != null) {
      receives.awaitLooked(s.looked());
    }
  }

  /**
   * What the call has come to that {@link #before} was asked about. Does not wait.
   *
   * @return its result, or what it is to end with
   */
  long answered(CallSlot s, long follows) {
    long r = result(s);
    followed(s, follows, r);
    return heldUp(s, r);
  }

  /** Passes on the readiness that came with a call that did not trap, if the handle is watched. */
  void sampled(int handle, CallSlot s) {
    Readiness known = readiness;
    if (known != null && s.readyMask() != -1) {
      known.ready(handle, s.readyMask(), s.readyStamp());
    }
  }

  private static void noData(Call call) {}

  /** Asks for the readiness of a file now, if it is watched, for nobody in particular. */
  void sample(OpenFile file) {
    Readiness known = readiness;
    if (known != null) {
      service(PseudoCall.SAMPLE, file.handle(), 0, 0, CLOSE_NANOS, DeviceCalls::noData, known);
    }
  }

  /** A slot for calls of the hook's own, which the caller is to detach; null if there is none. */
  @Nullable CallSlot attachOwn() {
    try {
      return link.attach(Processes.getpid(), Processes.gettid(), -1, ownCredentials());
    } catch (LinkException e) {
      return null;
    }
  }

  private void reclaim() {
    for (int i = lingering.size() - 1; i >= 0; i--) {
      CallSlot s = lingering.get(i);
      if (s.await(0)) {
        lingering.remove(i);
        service.push(s);
      }
    }
  }

  /** Interrupts the call of a thread, if it makes one. */
  void interrupt(ThreadEntry t) {
    CallSlot s = t.slot();
    if (s != null) {
      link.interrupt(s);
    }
  }

  /** Frees a slot of a thread that is gone, or interrupts its call. */
  void threadEnded(ThreadEntry t) {
    CallSlot busy = t.slot();
    CallSlot s = t.die();
    if (s != null) {
      link.detach(s);
    } else if (busy != null) {
      link.interrupt(busy);
    }
    sampler.threadEnded(t);
  }

  /**
   * A call slot for the caller's process to use by itself.
   *
   * @return null if the device gives none
   */
  @Nullable LentSlot lend(Notification n) {
    Credentials c = credentials(n);
    if (c == null) {
      return null;
    }
    n.willBlock();
    NearSlots hooks = near;
    if (hooks != null) {
      return hooks.lend(n.process().pid(), like(n.thread()), c);
    }
    try {
      return link.lend(n.process().pid(), like(n.thread()), c);
    } catch (LinkException e) {
      return null; // Its calls trap, as they do now.
    }
  }

  /** The process does not use it any more. */
  void takeBack(LentSlot slot) {
    NearSlots hooks = near;
    if (hooks == null) {
      link.takeBack(slot);
    } else {
      hooks.takeBack(slot);
    }
  }

  private long attach(Notification n, ThreadEntry t) {
    Credentials c = credentials(n);
    if (c == null) {
      return -Errno.EPERM;
    }
    CallSlot s;
    n.willBlock();
    try {
      s = link.attach(t.process().pid(), t.tid(), like(t), c);
    } catch (LinkException e) {
      if (link.lost()) {
        return -Errno.ENETDOWN;
      }
      messages.once("attach", String.valueOf(e.getMessage()));
      return -Errno.ENOBUFS;
    }
    if (!t.attach(s)) {
      link.detach(s);
      return -Errno.EINTR;
    }
    t.credentialsDirty = false;
    return 0;
  }

  /** The index of a slot of the same process, or of its parent, or -1. */
  private int like(ThreadEntry t) {
    for (ThreadEntry other : processes.threadsOf(t.process())) {
      CallSlot s = other == t ? null : other.slot();
      if (s != null) {
        return s.index();
      }
    }
    ProcessEntry parent = processes.process(t.process().parentPid());
    if (parent != null) {
      for (ThreadEntry other : processes.threadsOf(parent)) {
        CallSlot s = other.slot();
        if (s != null) {
          return s.index();
        }
      }
    }
    return -1;
  }

  private @Nullable Credentials credentials(Notification n) {
    try (Arena a = Arena.ofConfined()) {
      TaskStatus status = new TaskStatus(a);
      if (status.read(a, n.tid()) < 0) {
        return null;
      }
      Credentials c = status.credentials(UserNamespaces.isOurs(n.tid()));
      name(n.thread(), status, a);
      return c;
    }
  }

  /** Tells the device, for people who look there, what the process is called. */
  private void name(ThreadEntry t, TaskStatus status, Arena arena) {
    ProcessEntry p = t.process();
    boolean first = t.tid() == p.pid();
    if ((first || !p.named) && (first || status.read(arena, p.pid()) == 0)) {
      p.named = true;
      link.named(p.pid(), status.name());
    }
  }

  private static Credentials ownCredentials() {
    try (Arena a = Arena.ofConfined()) {
      TaskStatus status = new TaskStatus(a);
      if (status.read(a, Processes.getpid()) < 0) {
        throw new IllegalStateException("/proc is not mounted");
      }
      return status.credentials(true);
    }
  }

  /** EPERM from the program's memory: says once why. */
  long memoryError(Notification n, long r) {
    if (r == -Errno.EPERM && n.memory().denied()) {
      messages.once("dumpable", notDumpable(n));
    }
    return r;
  }

  static String notDumpable(Notification n) {
    return "Process "
        + n.process().pid()
        + " has made itself unreadable (PR_SET_DUMPABLE, or an executable without read permission);"
        + " its network calls fail with EPERM. Run outboard as root to offload such programs.";
  }
}
