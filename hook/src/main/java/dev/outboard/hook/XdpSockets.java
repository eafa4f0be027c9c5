// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Xdp;
import dev.outboard.channel.CallSlot;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.PseudoCall;
import dev.outboard.syscalls.Row;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The program's XDP sockets, of a session that has asked for the device's {@code bpf(2)}.
 *
 * <p>The device's socket has rings and memory of its own; the program's rings are memory of the
 * host, and its frames stay where they are. Frames cross by calls: those that come by an {@link
 * XdpFeed}, those that go when the program says so. (Decision: {@code docs/adr/0071}.)
 *
 * <p>Bounded in number and in the rings' memory, which is all allocated when a ring is made. Any
 * thread may call.
 */
final class XdpSockets implements AutoCloseable {
  private static final int MAX_SOCKETS = 64;
  private static final long MAX_BYTES = 256L << 20;

  /** An address is no longer ({@code struct sockaddr_storage}). */
  private static final int LONGEST_ADDRESS = 128;

  private static final int STATISTICS_V1_BYTES = 24;
  private static final int OFFSETS_V1_BYTES = 96;
  private static final int RINGS = 4;
  private static final int ALL_FLAGS = Xdp.COPY | Xdp.ZEROCOPY | Xdp.USE_NEED_WAKEUP;

  // Arguments of getsockopt and setsockopt.
  private static final int LEVEL = 1;
  private static final int NAME = 2;
  private static final int VALUE = 3;
  private static final int LENGTH = 4;

  private static final long PAGE_MASK = 4095;

  private final Hook.Services hook;

  /** One that is bound. */
  private record Bound(OpenFile file, Placeholder placeholder, XdpSocket socket) {}

  private final List<Bound> bound = new CopyOnWriteArrayList<>();

  /** One socket's options and address are set at a time. */
  private final ReentrantLock setting = new ReentrantLock();

  /** Those that have memory. */
  private final AtomicInteger sockets = new AtomicInteger();

  private final AtomicLong bytes = new AtomicLong();
  private volatile boolean closed;

  XdpSockets(Hook.Services hook) {
    this.hook = hook;
  }

  /** Makes what a new socket has. */
  XdpSocket make(OpenFile file) {
    return new XdpSocket((size, hadMemory) -> ended(file, size, hadMemory));
  }

  private void ended(OpenFile file, long size, boolean hadMemory) {
    bound.removeIf(b -> b.file == file);
    bytes.addAndGet(-size);
    if (hadMemory) {
      sockets.decrementAndGet();
    }
  }

  /** Whether any is bound; mostly not. */
  boolean any() {
    return !bound.isEmpty();
  }

  /** A thread of the program is about to look at a file: which sends, natively, too. */
  void look(Notification n, Placeholder p) {
    for (Bound b : bound) {
      if (b.placeholder.equals(p)) {
        look(n, b, true);
      }
    }
  }

  /** The same for whatever is in an epoll set. */
  void look(Notification n) {
    for (Bound b : bound) {
      look(n, b, b.placeholder.isHeldBy(n.process().pidfd()));
    }
  }

  private void look(Notification n, Bound b, boolean waits) {
    if (b.socket.sends()) {
      kick(n, b.placeholder, b.file, b.socket, Socket.MSG_DONTWAIT);
    }
    XdpFeed feed = b.socket.feed();
    if (feed != null) {
      feed.look(waits ? n : null);
    }
  }

  /**
   * Serves a call that sends.
   *
   * @param flags of the call
   */
  long send(
      Notification n, Row row, long[] args, Placeholder p, OpenFile file, XdpSocket s, int flags) {
    if (s.sends()) {
      return kick(n, p, file, s, flags);
    }
    // What is wrong with a call that has nothing to send, the device knows.
    long r = hook.calls().run(n, row, args, p);
    if (r == 0) {
      s.sentNothing();
    }
    return r;
  }

  private long kick(Notification n, Placeholder p, OpenFile file, XdpSocket s, int flags) {
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      long r = s.send(n, hook.calls(), file.handle(), flags);
      if (s.crowds()) {
        hook.readiness().full(p, s.crowded());
      }
      return r;
    } finally {
      hook.calls().unuse(file);
    }
  }

  // ---- options ----

  /** Serves setsockopt: what to answer. */
  long setOption(Notification n, Placeholder p, OpenFile file, XdpSocket s) {
    if (n.intArg(LEVEL) != Xdp.SOL_XDP) {
      return hook.calls().run(n, p);
    }
    n.willBlock();
    setting.lock();
    try {
      XdpSocket.Kind kind = XdpSocket.Kind.ofOption(n.intArg(NAME));
      if (kind != null) {
        return setRing(n, file, s, kind);
      }
      return n.intArg(NAME) == Xdp.UMEM_REG ? setMemory(n, file, s) : -Errno.ENOPROTOOPT;
    } finally {
      setting.unlock();
    }
  }

  private long setRing(Notification n, OpenFile file, XdpSocket s, XdpSocket.Kind kind) {
    if (Integer.compareUnsigned(n.intArg(LENGTH), Integer.BYTES) < 0) {
      return -Errno.EINVAL;
    }
    MemorySegment value = n.statScratch();
    long r = n.memory().read(n.args()[VALUE], value, 0, Integer.BYTES);
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    int entries = value.get(ValueLayout.JAVA_INT, 0);
    if (s.bound()) {
      return -Errno.EBUSY;
    }
    if (Integer.bitCount(entries) != 1 || s.ring(kind) != null) {
      return -Errno.EINVAL;
    }
    long size = XdpRing.bytes(entries, kind.width());
    if (closed || entries < 0 || !reserve(size)) {
      return -Errno.ENOMEM;
    }
    XdpRing ring = kind.make(entries);
    if (ring == null) {
      bytes.addAndGet(-size);
      return -Errno.ENOMEM;
    }
    r = ask(n, file, PseudoCall.XDP_RING, n.intArg(NAME), 0, 0);
    if (r < 0 || !s.ring(kind, ring)) {
      ring.close();
      bytes.addAndGet(-size);
      return r < 0 ? r : -Errno.EBADF;
    }
    return 0;
  }

  private boolean reserve(long size) {
    if (bytes.addAndGet(size) <= MAX_BYTES) {
      return true;
    }
    bytes.addAndGet(-size);
    return false;
  }

  private long setMemory(Notification n, OpenFile file, XdpSocket s) {
    int length = n.intArg(LENGTH);
    if (Integer.compareUnsigned(length, Xdp.UMEM_REG_V1_BYTES) < 0) {
      return -Errno.EINVAL;
    }
    int read =
        Integer.compareUnsigned(length, Xdp.UMEM_REG_BYTES) < 0
            ? Xdp.UMEM_REG_V1_BYTES
            : Xdp.UMEM_REG_BYTES;
    MemorySegment value = n.statScratch();
    long r = n.memory().read(n.args()[VALUE], value, 0, read);
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    XdpMemory.Request request = XdpMemory.Request.read(value, read);
    if (s.hasMemory()) {
      return -Errno.EBUSY;
    }
    r = request.check();
    if (r == 0) {
      r = XdpMemory.writable(Path.of("/proc/" + n.process().pid() + "/maps"), request);
    }
    if (r < 0) {
      return r;
    }
    if (sockets.incrementAndGet() > MAX_SOCKETS || closed) {
      sockets.decrementAndGet();
      return -Errno.ENOMEM;
    }
    r = setMemory(n, file, s, request);
    if (r < 0) {
      sockets.decrementAndGet();
    }
    return r;
  }

  private long setMemory(Notification n, OpenFile file, XdpSocket s, XdpMemory.Request request) {
    int fd = XdpMemory.open(n.process());
    if (fd < 0) {
      return -Errno.EFAULT;
    }
    long r = ask(n, file, PseudoCall.XDP_MEMORY, 0, 0, 0);
    if (r < 0 || !s.memory(new XdpMemory(request, fd))) {
      Linux.close(fd);
      return r < 0 ? r : -Errno.EBADF;
    }
    return 0;
  }

  /** One of the pseudo calls that set a socket up. */
  private long ask(Notification n, OpenFile file, int number, long a, long b, long c) {
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      long r = hook.calls().begin(n);
      if (r < 0) {
        return r;
      }
      try {
        do {
          Call call = n.slot().call();
          call.start(number);
          call.extent = 0;
          call.args[0] = file.handle();
          call.args[1] = a;
          call.args[2] = b;
          call.args[3] = c;
          r = hook.calls().execute(n, n.slot());
        } while (r == DeviceCalls.AGAIN);
        return r;
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
  }

  /** Serves getsockopt: what to answer. */
  long getOption(Notification n, Placeholder p, XdpSocket s) {
    if (n.intArg(LEVEL) != Xdp.SOL_XDP) {
      return hook.calls().run(n, p);
    }
    return switch (n.intArg(NAME)) {
      case Xdp.MMAP_OFFSETS -> tellOffsets(n);
      case Xdp.STATISTICS -> tellStatistics(n, p, s);
      default -> hook.calls().run(n, p);
    };
  }

  private long tellStatistics(Notification n, Placeholder p, XdpSocket s) {
    XdpFeed feed = s.feed();
    if (feed != null) {
      n.willBlock();
      feed.flush(); // What the device has received already, natively would be counted.
    }
    long r = hook.calls().run(n, p);
    return r < 0 ? r : hook.calls().memoryError(n, adjust(n, s));
  }

  private long tellOffsets(Notification n) {
    MemorySegment scratch = n.statScratch();
    long r = n.memory().read(n.args()[LENGTH], scratch, 0, Integer.BYTES);
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    int length = scratch.get(ValueLayout.JAVA_INT, 0);
    if (length < OFFSETS_V1_BYTES) {
      return -Errno.EINVAL;
    }
    boolean whole = length >= Xdp.MMAP_OFFSETS_BYTES;
    int each = whole ? Xdp.RING_OFFSET_BYTES : Xdp.RING_OFFSET_BYTES - Long.BYTES;
    for (int i = 0; i < RINGS; i++) {
      long at = (long) i * each;
      scratch.set(ValueLayout.JAVA_LONG, at, XdpRing.PRODUCER);
      scratch.set(ValueLayout.JAVA_LONG, at + 8, XdpRing.CONSUMER);
      scratch.set(ValueLayout.JAVA_LONG, at + 16, XdpRing.ENTRIES);
      if (whole) {
        scratch.set(ValueLayout.JAVA_LONG, at + 24, XdpRing.FLAGS);
      }
    }
    r = n.memory().write(n.args()[VALUE], scratch, 0, (long) RINGS * each);
    if (r == 0) {
      scratch.set(ValueLayout.JAVA_INT, 0, RINGS * each);
      r = n.memory().write(n.args()[LENGTH], scratch, 0, Integer.BYTES);
    }
    return hook.calls().memoryError(n, r);
  }

  private static long adjust(Notification n, XdpSocket s) {
    MemorySegment scratch = n.statScratch();
    long r = n.memory().read(n.args()[LENGTH], scratch, 0, Integer.BYTES);
    if (r < 0) {
      return r;
    }
    int length = scratch.get(ValueLayout.JAVA_INT, 0);
    boolean whole = length >= Xdp.STATISTICS_BYTES;
    int bytes = whole ? Xdp.STATISTICS_BYTES : STATISTICS_V1_BYTES;
    r = n.memory().read(n.args()[VALUE], scratch, 0, bytes);
    if (r < 0) {
      return r;
    }
    s.count(scratch, whole);
    return n.memory().write(n.args()[VALUE], scratch, 0, bytes);
  }

  // ---- mappings, addresses ----

  /** Serves mmap. */
  void map(Notification n, XdpSocket s) {
    XdpSocket.Kind kind = XdpSocket.Kind.ofOffset(n.args()[5]);
    long size = n.args()[1] + PAGE_MASK & ~PAGE_MASK;
    int fd = kind == null || size <= 0 ? -Errno.EINVAL : s.memoryOf(kind, size);
    if (fd < 0) {
      n.answerErrno(-fd);
      return;
    }
    try {
      if (!HeldThread.map(n, fd)) {
        hook.messages()
            .once(
                "ring",
                "The ring of an XDP socket cannot be mapped (ENODEV): process "
                    + n.process().pid()
                    + " is traced by another one, or ptrace(2) is not allowed here.");
        n.answerErrno(Errno.ENODEV);
      }
    } finally {
      Linux.close(fd);
    }
  }

  /** Serves bind: what to answer. */
  long bind(Notification n, Placeholder p, OpenFile file, XdpSocket s) {
    int length = n.intArg(2);
    if (length < 0 || length > LONGEST_ADDRESS) {
      return -Errno.EINVAL;
    }
    MemorySegment address = n.statScratch();
    address.asSlice(0, Xdp.ADDRESS_BYTES).fill((byte) 0);
    long r = n.memory().read(n.args()[1], address, 0, Math.min(length, Xdp.ADDRESS_BYTES));
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    int flags = address.get(ValueLayout.JAVA_SHORT, Xdp.ADDRESS_FLAGS);
    if (length < Xdp.ADDRESS_BYTES
        || address.get(ValueLayout.JAVA_SHORT, 0) != Xdp.AF_XDP
        || (flags & ~ALL_FLAGS) != 0) {
      return -Errno.EINVAL;
    }
    if ((flags & (Xdp.COPY | Xdp.ZEROCOPY)) == Xdp.ZEROCOPY) {
      return -Errno.EOPNOTSUPP;
    }
    int index = address.get(ValueLayout.JAVA_INT, Xdp.ADDRESS_INDEX);
    int queue = address.get(ValueLayout.JAVA_INT, Xdp.ADDRESS_QUEUE);
    n.willBlock();
    setting.lock();
    try {
      return bind(n, p, file, s, index, queue, flags | Xdp.COPY);
    } finally {
      setting.unlock();
    }
  }

  private long bind(
      Notification n, Placeholder p, OpenFile file, XdpSocket s, int index, int queue, int flags) {
    boolean receives = s.ring(XdpSocket.Kind.RECEIVE) != null;
    CallSlot slot = receives && !s.bound() ? hook.calls().attachOwn() : null;
    if (receives && !s.bound() && slot == null) {
      return -Errno.ENOMEM;
    }
    long r = ask(n, file, PseudoCall.XDP_BIND, index, queue, flags);
    if (r < 0 || !file.use()) {
      if (slot != null) {
        hook.link().detach(slot);
      }
      return r < 0 ? r : -Errno.EBADF;
    }
    XdpFeed feed = slot == null ? null : new XdpFeed(hook, file, p, slot, s);
    Bound b = new Bound(file, p, s);
    bound.add(b);
    boolean open = s.bound(feed);
    if (feed != null) {
      feed.start();
      if (!open) {
        feed.stop(); // closed meanwhile
      }
    } else {
      hook.calls().unuse(file);
    }
    if (!open) {
      bound.remove(b);
    }
    hook.calls().sample(n, p);
    return 0;
  }

  /** Ends all feeds. */
  @Override
  public void close() {
    closed = true;
    for (Bound b : bound) {
      XdpFeed feed = b.socket.feed();
      b.socket.close();
      if (feed != null) {
        feed.join();
      }
    }
  }
}
