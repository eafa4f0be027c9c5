// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.hook.OpenFile.Receiver;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Arg;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import dev.outboard.syscalls.IoctlRequests;
import dev.outboard.syscalls.ResultKind;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Calls that act on a descriptor: to the device if it is a device fd, else continued. What crosses
 * and how is the row's business; here is only what a row cannot say:
 *
 * <ul>
 *   <li>A stream's transfer that is longer than a piece goes on until all is moved, as it does in a
 *       kernel: a blocking send always, a receive under MSG_WAITALL only.
 *   <li>What a stream's receive could not write to the program's memory is not lost: the next
 *       receive gets it, as it would if it were still in the socket ({@link OpenFile#keep}).
 *   <li>EPIPE of a stream comes with SIGPIPE.
 *   <li>Of messages, those of AF_ALG go in pieces, and others that are longer than a piece are
 *       EMSGSIZE.
 *   <li>Sends with MSG_ZEROCOPY are told of by the error queue: {@link ZeroCopy}.
 *   <li>O_NONBLOCK is kept on both kernels.
 * </ul>
 */
final class FileCalls {
  /** Receives with these flags are about other bytes than those of the stream. */
  private static final int NOT_KEPT = Socket.MSG_OOB | Socket.MSG_ERRQUEUE;

  private static final int MAP_TYPE = 0xf;
  private static final long PAGE_MASK = 4095;

  private static final Row BIND = SyscallTable.row("bind");
  private static final Row PREAD = SyscallTable.row("pread64");
  private static final Row WRITE = SyscallTable.row("write");
  private static final Row SENDTO = SyscallTable.row("sendto");
  private static final Row SENDMSG = SyscallTable.row("sendmsg");
  private static final Row RECVMSG = SyscallTable.row("recvmsg");

  /** How long a call that was interrupted is waited for before it is interrupted again. */
  private static final long HAND_OVER_NANOS = 5_000_000;

  /** So often at most: a receive of urgent data, for one, does not take what is kept. */
  private static final int HAND_OVERS = 40;

  private final Hook.Services hook;
  private final Stats stats;
  private final PacketRings rings;

  FileCalls(Hook.Services hook, Stats stats, PacketRings rings) {
    this.hook = hook;
    this.rings = rings;
    this.stats = stats;
  }

  void register(Handlers h) {
    h.register(this::control, "fcntl");
    h.register(this::stat, "fstat");
    h.register(this::map, "mmap");
    h.register(this::ioctl, "ioctl");
    h.register(this::bind, "bind", "listen");
    h.register(this::receiveMessage, "recvmsg");
    h.register(this::shutdown, "shutdown");
  }

  /** The handler of every row of route FD that has no other. */
  void any(Notification n) {
    Placeholder p = hook.lookup(n, n.row().fdIndex());
    if (p == null) {
      hook.onHost(n);
      return;
    }
    hook.answer(n, move(n, n.row(), n.args(), p));
  }

  /**
   * Makes a call on the device, in as many pieces as it takes, and raises SIGPIPE where the kernel
   * would.
   *
   * @param row the notification's own, or one of the calls that it is made of
   * @param args the arguments of that call
   * @return what to answer, as {@link DeviceCalls#run}
   */
  long move(Notification n, Row row, long[] args, Placeholder p) {
    OpenFile file = hook.files().get(p.handle());
    XdpSocket xdp = file == null ? null : file.xdp();
    if (file != null && xdp != null && row.sends()) {
      return hook.xdp().send(n, row, args, p, file, xdp, flags(args, row));
    }
    ZeroCopy copies = file == null ? null : file.zeroCopy();
    if (file == null || copies == null || !(copies.on() || copies.pending())) {
      return moveNow(n, row, args, p);
    }
    int flags = flags(args, row);
    if (!row.sends() && (flags & Socket.MSG_ERRQUEUE) != 0 && copies.pending()) {
      return tellCopied(n, row, args, p, file);
    }
    long r = moveNow(n, row, args, p);
    if (r > 0 && row.sends() && (flags & Socket.MSG_ZEROCOPY) != 0 && copies.on()) {
      copies.sent();
      p.pin(file.pinned());
    }
    return r;
  }

  private long moveNow(Notification n, Row row, long[] args, Placeholder p) {
    return row.result() == ResultKind.BYTES && isStream(p)
        ? transfer(n, row, args, p)
        : hook.calls().run(n, row, args, p);
  }

  /** Receives from the error queue that the bytes of sends were copied. */
  private long tellCopied(Notification n, Row row, long[] args, Placeholder p, OpenFile file) {
    long r;
    if (row == RECVMSG) {
      r = file.zeroCopy().tell(n.memory(), n.statScratch(), args[1], file.family());
    } else {
      // recvfrom says no more than that there was a message, and that it has no name.
      file.zeroCopy().drop();
      n.statScratch().set(ValueLayout.JAVA_INT, 0, 0);
      r = args[4] == 0 ? 0 : n.memory().write(args[5], n.statScratch(), 0, Integer.BYTES);
    }
    p.pin(file.pinned());
    hook.calls().sample(n, p);
    return hook.calls().memoryError(n, r);
  }

  private boolean isStream(Placeholder p) {
    OpenFile f = hook.files().get(p.handle());
    return f != null && (f.stream() || f.keeps());
  }

  private void receiveMessage(Notification n) {
    if (hook.lookup(n, 0) == null && !n.unreadable()) {
      // What arrives may hold descriptors, and among them device fds.
      hook.mayReceiveDescriptors(n.process());
    }
    any(n);
  }

  /** A byte transfer on a stream. */
  private long transfer(Notification n, Row row, long[] args, Placeholder p) {
    OpenFile file = hook.files().get(p.handle());
    if (file == null || !file.use()) {
      return -Errno.EBADF;
    }
    long r;
    try {
      r = hook.calls().begin(n);
      if (r >= 0) {
        try {
          // A write has no flags, by which the pieces of a message are held together.
          r =
              row == WRITE && file.messages()
                  ? pieces(n, SENDTO, new long[] {args[0], args[1], args[2], 0, 0, 0}, p, file)
                  : row.sends() ? pieces(n, row, args, p, file) : receive(n, row, args, p, file);
        } finally {
          hook.calls().end(n);
        }
        if (file.keeps() && !row.sends()) {
          handOver(n, file);
        }
        if (r == -Errno.EPIPE && row.sends()) {
          r = hook.calls().brokenPipe(n, p, file);
        }
      }
    } finally {
      hook.calls().unuse(file);
    }
    if (r == -Errno.EPIPE && row.sends() && (flags(args, row) & Socket.MSG_NOSIGNAL) == 0) {
      raiseSigPipe(n);
    }
    return r;
  }

  /** The kernel raises it in the calling thread before the call returns: sk_stream_error(). */
  static void raiseSigPipe(Notification n) {
    Processes.tgkill(n.process().pid(), n.tid(), Processes.SIG_PIPE);
  }

  private long receive(Notification n, Row row, long[] args, Placeholder p, OpenFile file) {
    if ((flags(args, row) & Socket.MSG_OOB) != 0) {
      p.sawUrgent();
    }
    Receiver self = new Receiver(n.id(), n.thread());
    file.beginReceive(self);
    try {
      settleEnded(n, file, self);
      return pieces(n, row, args, p, file);
    } finally {
      file.endReceive(self);
    }
  }

  /**
   * Ends receives of callers that have been killed, and waits for them: what they took off the
   * socket and nobody got comes first.
   */
  private void settleEnded(Notification n, OpenFile file, Receiver self) {
    for (Receiver other : file.othersReceiving(self)) {
      // One that is gone itself must not wait: the other one may wait for it.
      while (!n.waits(other.id()) && n.valid()) {
        n.willBlock();
        hook.calls().interrupt(other.thread());
        if (file.awaitReceived(other, HAND_OVER_NANOS)) {
          break;
        }
      }
    }
  }

  /**
   * What is kept is there for others, some of whom wait on the device for what comes next: they are
   * interrupted, and so look again, until one has taken it.
   */
  private void handOver(Notification n, OpenFile file) {
    for (Receiver other : file.othersReceiving(new Receiver(n.id(), n.thread()))) {
      n.willBlock();
      for (int i = 0; i < HAND_OVERS && file.keeps(); i++) {
        hook.calls().interrupt(other.thread());
        if (file.awaitReceived(other, HAND_OVER_NANOS)) {
          break;
        }
      }
    }
  }

  private long pieces(Notification n, Row row, long[] args, Placeholder p, OpenFile file) {
    boolean sends = row.sends();
    boolean regular = file.kind() == OpenFile.Kind.REGULAR;
    boolean all = sends || regular || (flags(args, row) & Socket.MSG_WAITALL) != 0;
    if (sends) {
      int put = file.takeDeferredError();
      if (put != 0) {
        return hook.calls().told(n, p, file, put);
      }
    }
    Call c = n.slot().call();
    long moved = 0;
    if (file.keeps() && !sends && (flags(args, row) & NOT_KEPT) == 0) {
      moved = deliverKept(n, row, args, p, file);
      if (isAll(row, args, c, moved, all)) {
        return moved;
      }
    }
    ReceiveAhead looks = sends ? null : hook.receiveAhead();
    if (looks != null && moved == 0) {
      long r = looks.receive(n, row, args, p, file, flags(args, row));
      if (r != ReceiveAhead.NOT_TAKEN) {
        return r;
      }
    }
    for (; ; ) {
      long r = HostMarshaller.encode(row, args, n.memory(), c, moved);
      if (r < 0) {
        int refused = file.refusal(row);
        if (refused != 0) {
          return -refused;
        }
        return moved > 0 ? moved : hook.calls().memoryError(n, r);
      }
      long carried = c.carried;
      boolean last = carried == c.wanted;
      c.args[row.fdIndex()] = p.handle();
      if (sends && file.messages()) {
        r = continueMessage(row, c, file, moved > 0, last);
        if (r < 0) {
          return moved > 0 ? moved : r;
        }
      }
      int offset = row.offsetIndex();
      if (offset >= 0 && args[offset] >= 0) {
        c.args[offset] = args[offset] + moved;
      }
      r = goAhead(n, row, c, p, file);
      if (r != SendAhead.NOT_TAKEN) {
        moved += Math.max(0, r);
        if (last || r < carried) {
          return moved > 0 ? moved : r;
        }
        continue;
      }
      r = hook.calls().execute(n, n.slot());
      if (r == DeviceCalls.AGAIN) {
        // See handOver().
        if (file.keeps() && !sends && moved == 0 && (flags(args, row) & NOT_KEPT) == 0) {
          moved = deliverKept(n, row, args, p, file);
          if (isAll(row, args, c, moved, all)) {
            return moved;
          }
        }
        continue;
      }
      r = HostMarshaller.decode(row, args, c, n.memory());
      if (r == 0 && !sends && moved == 0 && c.wanted > 0) {
        // The end that comes behind an error.
        int put = file.takeSocketError();
        if (put != 0) {
          return hook.calls().told(n, p, file, put);
        }
      }
      if (r < 0 && c.undelivered > 0 && !sends) {
        keepUndelivered(n, row, args, p, file, c);
      }
      hook.calls().sampled(n, p, n.slot());
      if (r > 0 && row.mayGoAhead() && hook.ahead() != null && !p.watched()) {
        hook.calls().watch(n, p); // the next may go ahead: it would be heard of if the peer went
      }
      if (r < 0) {
        if (moved == 0) {
          return hook.calls().memoryError(n, r);
        }
        // As tcp_sendmsg(): what was moved counts, and the socket keeps its error for the next.
        if (sends && r != -Errno.EAGAIN && r != -Errno.EINTR && r != -Errno.ERESTARTSYS) {
          hook.calls().putOff(p, file, (int) -r);
        }
        return moved;
      }
      moved += r;
      if (last || !all || r < carried || r == 0) {
        if (looks != null && moved > 0) {
          looks.begin(n, row, p, file, flags(args, row));
        }
        return moved;
      }
    }
  }

  /** Whether what came of kept bytes ends the call; none means that another call was faster. */
  private static boolean isAll(Row row, long[] args, Call c, long moved, boolean all) {
    boolean some = moved > 0 && (!all || (flags(args, row) & Socket.MSG_PEEK) != 0);
    return moved < 0 || moved == c.wanted || some;
  }

  private long goAhead(Notification n, Row row, Call c, Placeholder p, OpenFile file) {
    SendAhead ahead = hook.ahead();
    return ahead != null && row.mayGoAhead()
        ? ahead.send(n, p, file, HostMarshaller.bytesAt(row, c), c.carried, flags(c.args, row))
        : SendAhead.NOT_TAKEN;
  }

  /** The end of a stream comes behind what is still on its way. */
  private void shutdown(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    OpenFile file = p == null ? null : hook.files().get(p.handle());
    SendAhead ahead = hook.ahead();
    int how = n.intArg(1);
    boolean ends = how == Socket.SHUT_WR || how == Socket.SHUT_RDWR;
    if (ahead == null || p == null || file == null || !ends || !ahead.end(file)) {
      any(n);
    } else if (how == Socket.SHUT_WR) {
      hook.answer(n, 0);
    } else {
      hook.answer(n, hook.calls().run(n, n.row(), new long[] {n.args()[0], Socket.SHUT_RD}, p));
    }
  }

  /**
   * Makes pieces one message: AF_ALG goes on with it after MSG_MORE, and has been told at its
   * beginning what to do; SCTP has nothing of that kind.
   *
   * @return 0, or what to answer
   */
  private static long continueMessage(Row row, Call c, OpenFile file, boolean begun, boolean last) {
    int flags = flagsIndex(row);
    if (!last) {
      if (file.family() != Socket.AF_ALG || flags < 0) {
        return -Errno.EMSGSIZE;
      }
      c.args[flags] |= Socket.MSG_MORE;
    }
    if (begun && row == SENDMSG) {
      HostMarshaller.dropControl(c);
    }
    return 0;
  }

  /** As tcp_recvmsg(), which takes off its queue only what it could copy. */
  private void keepUndelivered(
      Notification n, Row row, long[] args, Placeholder p, OpenFile file, Call c) {
    boolean stays = (flags(args, row) & (NOT_KEPT | Socket.MSG_PEEK | Socket.MSG_TRUNC)) != 0;
    if (stays || file.messages()) {
      return;
    }
    long at = HostMarshaller.transferAt(row, c);
    hook.calls().keeps(n, file);
    file.keep(c.data.asSlice(at, c.undelivered).toArray(ValueLayout.JAVA_BYTE));
    showKept(p, file);
  }

  /** Receives what is kept; the call's encoding is made. */
  private long deliverKept(Notification n, Row row, long[] args, Placeholder p, OpenFile file) {
    Call c = n.slot().call();
    long r = HostMarshaller.encode(row, args, n.memory(), c);
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    int flags = flags(args, row);
    boolean peek = (flags & Socket.MSG_PEEK) != 0;
    if (!n.valid()) {
      n.memory().unbind();
    }
    byte[] bytes = file.takeKept(c.carried, peek);
    if (bytes.length == 0) {
      return 0;
    }
    // Under MSG_TRUNC they are counted and thrown away.
    r =
        (flags & Socket.MSG_TRUNC) != 0
            ? bytes.length
            : HostMarshaller.deliver(row, args, c, bytes, n.memory());
    if (c.undelivered > 0 && !peek) {
      file.keepAgain(bytes);
    } else if (!file.keeps()) {
      showKept(p, file);
      hook.calls().sampleNow(n, p);
    }
    return r;
  }

  /** Shows a file as readable as long as bytes are kept of it. */
  static void showKept(Placeholder p, OpenFile file) {
    synchronized (file) {
      p.pin(file.pinned());
    }
  }

  /** The MSG_ flags of the call; 0 for read and write and their kin. */
  private static int flags(long[] args, Row row) {
    int i = flagsIndex(row);
    return i < 0 ? 0 : (int) args[i];
  }

  private static int flagsIndex(Row row) {
    for (int i = 0; i < row.argCount(); i++) {
      if (row.arg(i).kind() == Arg.Kind.FLAGS && row.arg(i).set().equals("MSG")) {
        return i;
      }
    }
    return -1;
  }

  /** Ports and addresses may be held by files whose last close nobody was told of. */
  private void bind(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    hook.placeholders().reapGone();
    OpenFile file = hook.files().get(p.handle());
    XdpSocket xdp = file == null ? null : file.xdp();
    hook.answer(
        n,
        file != null && xdp != null && n.row() == BIND
            ? hook.xdp().bind(n, p, file, xdp)
            : hook.calls().run(n, p));
  }

  /**
   * F_SETFL: O_NONBLOCK to both kernels, O_ASYNC to the host's. An owner may be sent SIGURG even
   * without it. F_DUPFD: nothing to do. Of a file that was opened by its path, the other status
   * flags and locks are the device's alone.
   */
  private void control(Notification n) {
    int command = n.intArg(1);
    boolean duplicates = command == Fcntl.F_DUPFD || command == Fcntl.F_DUPFD_CLOEXEC;
    Placeholder p = duplicates ? null : hook.lookup(n, 0);
    if (p != null && (command == Fcntl.F_SETOWN || command == Fcntl.F_SETOWN_EX)) {
      onHostAfter(n, hook.calls().announce(n, p));
      return;
    }
    boolean socket = p == null || isSocket(p);
    if (p == null || (socket && command != Fcntl.F_SETFL)) {
      hook.onHost(n);
      return;
    }
    OpenFile file = hook.files().get(p.handle());
    if (command == Fcntl.F_SETFL) {
      setStatus(n, p, file);
      return;
    }
    long r = hook.calls().run(n, p);
    hook.answer(n, r >= 0 && file != null && command == Fcntl.F_GETFL ? r | file.async() : r);
  }

  /** F_SETFL. */
  private void setStatus(Notification n, Placeholder p, @Nullable OpenFile file) {
    long[] args = n.args();
    long asked = args[2];
    args[2] = asked & ~Fcntl.O_ASYNC;
    long r = hook.calls().run(n, p);
    args[2] = asked;
    if (r >= 0 && (asked & Fcntl.O_ASYNC) != 0) {
      r = hook.calls().announce(n, p);
    }
    boolean signals =
        file == null
            || file.kind() == OpenFile.Kind.SOCKET
            || ((asked | file.async()) & Fcntl.O_ASYNC) != 0;
    if (r >= 0 && file != null) {
      file.status(asked);
    }
    if (signals) {
      onHostAfter(n, r);
    } else {
      hook.answer(n, r);
    }
  }

  /** Lets the host's kernel do its part, if the device's went well. */
  private void onHostAfter(Notification n, long r) {
    if (r < 0) {
      hook.answer(n, r);
    } else {
      n.answerContinue();
    }
  }

  private boolean isSocket(Placeholder p) {
    OpenFile f = hook.files().get(p.handle());
    return f == null || f.kind() == OpenFile.Kind.SOCKET;
  }

  /** A socket is the placeholder for it; other files are what the device says. */
  private void stat(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    OpenFile file = p == null ? null : hook.files().get(p.handle());
    if (file == null || file.kind() == OpenFile.Kind.SOCKET) {
      hook.onHost(n);
    } else {
      hook.answer(n, stats.stat(n, file, n.args()[1]));
    }
  }

  /**
   * Maps the ring of a packet socket; or a regular file of the device: its placeholder, filled with
   * what the file holds now. Writes to that mapping could not reach the device, so there is none
   * that shares them.
   */
  private void map(Notification n) {
    Placeholder p = hook.lookup(n, 4);
    OpenFile file = p == null ? null : hook.files().get(p.handle());
    if (file != null && file.family() == Socket.AF_PACKET) {
      rings.map(n, file);
      return;
    }
    XdpSocket xdp = file == null ? null : file.xdp();
    if (xdp != null) {
      hook.xdp().map(n, xdp);
      return;
    }
    if (p == null || file == null || file.kind() != OpenFile.Kind.REGULAR) {
      hook.onHost(n);
      return;
    }
    boolean writes = (n.intArg(2) & Memory.PROT_WRITE) != 0;
    boolean shared = (n.intArg(3) & MAP_TYPE) != Memory.MAP_PRIVATE;
    if (file.accessMode() == Fcntl.O_WRONLY) {
      n.answerErrno(Errno.EACCES);
      return;
    }
    if (shared && writes && file.accessMode() == Fcntl.O_RDWR) {
      hook.messages()
          .once(
              "mmap",
              "A file of the device cannot be mapped shared for writing (ENODEV): "
                  + new String(Objects.requireNonNull(file.path()), StandardCharsets.UTF_8));
      n.answerErrno(Errno.ENODEV);
      return;
    }
    long r = fill(n, p, file, n.args()[5] & ~PAGE_MASK, n.args()[1]);
    if (r < 0) {
      hook.answer(n, r);
    } else {
      hook.onHost(n);
    }
  }

  private long fill(Notification n, Placeholder p, OpenFile file, long from, long length) {
    long size = stats.size(n, file);
    if (size < 0) {
      return size;
    }
    long r = Linux.ftruncate(p.endA(), size);
    if (r < 0) {
      return r;
    }
    long end = length < 0 || from + length < from ? size : Math.min(size, from + length);
    if (from < 0 || from >= end) {
      return 0;
    }
    if (!file.use()) {
      return -Errno.EBADF;
    }
    try {
      r = hook.calls().begin(n);
      if (r < 0) {
        return r;
      }
      try {
        return copy(n, p, file, from, end);
      } finally {
        hook.calls().end(n);
      }
    } finally {
      hook.calls().unuse(file);
    }
  }

  private long copy(Notification n, Placeholder p, OpenFile file, long from, long end) {
    Call c = n.slot().call();
    long at = from;
    while (at < end) {
      long r =
          hook.calls().transfer(n, PREAD, file.handle(), Math.min(end - at, Call.PIECE_BYTES), at);
      if (r == DeviceCalls.AGAIN) {
        continue;
      }
      if (r <= 0) {
        return r; // its end came sooner than its size said
      }
      r = Math.min(r, Call.PIECE_BYTES);
      r = Linux.syscall(SyscallNumbers.PWRITE64, p.endA(), c.data.address(), r, at, 0, 0);
      if (r < 0) {
        return r;
      }
      at += r;
    }
    return 0;
  }

  private static boolean isSocket(@Nullable OpenFile file) {
    return file != null && file.kind() == OpenFile.Kind.SOCKET;
  }

  private void ioctl(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      IoctlRequests.Request asked = IoctlRequests.find(n.intArg(1));
      if (asked != null
          && asked.ofNetwork()
          && !n.unreadable()
          && Descriptors.isUnixSocket(n, n.intArg(0))) {
        hook.answer(n, askNetwork(n));
      } else {
        hook.onHost(n);
      }
      return;
    }
    OpenFile file = hook.files().get(p.handle());
    switch (n.intArg(1)) {
      case Ioctl.FIOASYNC -> {
        setAsync(n, p, file);
        return;
      }
      case Ioctl.FIOSETOWN, Ioctl.SIOCSPGRP -> {
        if (isSocket(file)) {
          onHostAfter(n, hook.calls().announce(n, p));
          return;
        }
      }
      case Ioctl.FIOGETOWN, Ioctl.SIOCGPGRP -> {
        if (isSocket(file)) {
          hook.onHost(n); // the placeholder's
          return;
        }
      }
      default -> {}
    }
    long r =
        file != null && IoctlRequests.namesDescriptor(n.intArg(1))
            ? requestWithAnother(n, p, file)
            : hook.calls().run(n, p);
    if (r == 0 && file != null && file.keeps()) {
      r = countKept(n, file);
    }
    SendAhead ahead = hook.ahead();
    if (r == 0 && file != null && ahead != null && n.intArg(1) == Ioctl.SIOCOUTQ) {
      r = add(n, ahead.pending(file));
    }
    if (r == 0 && n.intArg(1) == Ioctl.FIONBIO) {
      n.answerContinue();
    } else {
      hook.answer(n, r);
    }
  }

  /** FIOASYNC, which the host's kernel carries out: {@code ioctl_fioasync()}. */
  private void setAsync(Notification n, Placeholder p, @Nullable OpenFile file) {
    MemorySegment value = n.statScratch();
    boolean on =
        n.memory().read(n.args()[2], value, 0, Integer.BYTES) == 0
            && value.get(ValueLayout.JAVA_INT, 0) != 0;
    long r = on ? hook.calls().announce(n, p) : 0;
    if (r >= 0 && file != null && !p.alwaysReady()) { // Else it is ENOTTY.
      file.async(on);
    }
    onHostAfter(n, r);
  }

  /**
   * A request that names another file, which must be the device's too: {@code ioctl_file_clone()}.
   */
  private long requestWithAnother(Notification n, Placeholder p, OpenFile file) {
    long fd = IoctlRequests.descriptor(n.args(), n.memory(), n.statScratch());
    if (fd < -1) {
      return hook.calls().memoryError(n, fd);
    }
    Placeholder named = hook.lookupNumber(n, (int) fd);
    OpenFile other = named == null ? null : hook.files().get(named.handle());
    if (other == null) {
      int host = Descriptors.borrow(n, (int) fd);
      if (host < 0) {
        return -Errno.EBADF;
      }
      Linux.close(host);
      return -Errno.EXDEV;
    }
    if (!other.use()) {
      return -Errno.EBADF;
    }
    try {
      return hook.calls().runRequest(n, file, p, other);
    } finally {
      hook.calls().unuse(other);
    }
  }

  /**
   * A request about the network's interfaces on an AF_UNIX socket, as {@code if_nametoindex} of
   * libc makes them: the program's network is the device's. A netlink socket there knows the same
   * requests as an AF_UNIX one, for neither has any of its own.
   */
  private long askNetwork(Notification n) {
    long handle = hook.calls().socket(n, Socket.AF_NETLINK, Socket.SOCK_RAW, Socket.NETLINK_ROUTE);
    if (handle < 0) {
      return handle;
    }
    OpenFile file =
        new OpenFile((int) handle, Socket.AF_NETLINK, Socket.SOCK_RAW, Socket.NETLINK_ROUTE, false);
    hook.files().add(file);
    try {
      return hook.calls().run(n, n.row(), n.args(), file, null);
    } finally {
      hook.calls().close(file.handle());
    }
  }

  /** Adds to the number that an ioctl has answered. */
  private static long add(Notification n, int more) {
    MemorySegment value = n.statScratch();
    long r = n.memory().read(n.args()[2], value, 0, Integer.BYTES);
    value.set(ValueLayout.JAVA_INT, 0, value.get(ValueLayout.JAVA_INT, 0) + more);
    return r < 0 ? r : n.memory().write(n.args()[2], value, 0, Integer.BYTES);
  }

  /** Adds what is kept to what an ioctl says of the bytes that wait. */
  private static long countKept(Notification n, OpenFile file) {
    int request = n.intArg(1);
    if (request != Ioctl.FIONREAD && request != Ioctl.SIOCATMARK) {
      return 0;
    }
    MemorySegment value = n.statScratch();
    long r = n.memory().read(n.args()[2], value, 0, Integer.BYTES);
    if (r < 0) {
      return r;
    }
    // No mark is reached before the bytes that came before it.
    int waiting =
        request == Ioctl.FIONREAD ? value.get(ValueLayout.JAVA_INT, 0) + file.keptBytes() : 0;
    value.set(ValueLayout.JAVA_INT, 0, waiting);
    return n.memory().write(n.args()[2], value, 0, Integer.BYTES);
  }
}
