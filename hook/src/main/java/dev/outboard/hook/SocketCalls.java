// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Poll;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Xdp;
import dev.outboard.channel.Frame;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SocketOptions;
import dev.outboard.syscalls.SyscallTable;
import java.lang.foreign.MemorySegment;

/** Calls that make device fds, and connect. */
final class SocketCalls {
  private static final int ACCEPT_ROW_FLAGS = 3;
  private static final int SOCKADDR_IN_BYTES = 8;
  private static final int SOCKADDR_IN6_BYTES = 24;

  private static final int ACCEPT_FLAGS = Socket.SOCK_NONBLOCK | Socket.SOCK_CLOEXEC;

  private final Hook.Services hook;
  private final PacketRings rings;
  private final Row peerName = SyscallTable.row("getpeername");

  SocketCalls(Hook.Services hook, PacketRings rings) {
    this.hook = hook;
    this.rings = rings;
  }

  void register(Handlers h) {
    h.register(this::socket, "socket");
    h.register(this::accept, "accept", "accept4");
    h.register(this::connect, "connect");
    h.register(this::getOption, "getsockopt");
    h.register(this::setOption, "setsockopt");
  }

  private void socket(Notification n) {
    // The filter lets only families of the device through to here.
    int domain = n.intArg(0);
    int type = n.intArg(1);
    if (domain == Xdp.AF_XDP && hook.bpf() == null) {
      n.answerErrno(Errno.EAFNOSUPPORT);
      return;
    }
    long r = hook.calls().begin(n);
    if (r >= 0) {
      try {
        Call c = n.slot().call();
        do {
          r = HostMarshaller.encode(n.row(), n.args(), n.memory(), c);
          r = r < 0 ? r : hook.calls().execute(n, n.slot());
        } while (r == DeviceCalls.AGAIN);
        n.newBirth(n.slot().newBirth());
      } finally {
        hook.calls().end(n);
      }
    }
    if (r < 0) {
      hook.answer(n, r);
      return;
    }
    int kind = type & Socket.SOCK_TYPE_MASK;
    boolean stream =
        (kind == Socket.SOCK_STREAM || kind == Socket.SOCK_SEQPACKET)
            && (domain == Socket.AF_INET || domain == Socket.AF_INET6 || domain == Socket.AF_ALG);
    OpenFile file = new OpenFile((int) r, domain, kind, n.intArg(2), stream);
    allowDirect(n, file);
    if (domain == Xdp.AF_XDP) {
      file.xdp(hook.xdp().make(file));
    }
    hook.files().add(file);
    r = install(n, file, type, false);
    if (r == -Errno.EMFILE) {
      hook.calls().close(file.handle());
    }
    n.answer(r);
  }

  private void allowDirect(Notification n, OpenFile made) {
    Shim shim = hook.shim();
    if (shim != null) {
      made.allowDirect(n.newBirth(), shim::withdraw);
    }
  }

  private void accept(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    OpenFile listening = hook.files().get(p.handle());
    if (listening == null) {
      n.answerErrno(Errno.EBADF);
      return;
    }
    int flags = n.row().argCount() > ACCEPT_ROW_FLAGS ? n.intArg(ACCEPT_ROW_FLAGS) : 0;
    if (listening.hasPutBack() && (flags & ~ACCEPT_FLAGS) == 0) {
      OpenFile earlier = listening.takeBack();
      if (earlier != null) {
        acceptEarlier(n, p, listening, earlier, flags);
        return;
      }
    }
    long r = hook.calls().run(n, p);
    if (r < 0) {
      // The address could not be written, but the connection was accepted: it is dropped, as
      // __sys_accept4() drops it.
      long accepted = n.acceptedHandle();
      if (accepted >= 0) {
        hook.calls().close((int) accepted);
      }
      hook.answer(n, r);
      return;
    }
    OpenFile accepted =
        new OpenFile(
            (int) r,
            listening.family(),
            listening.type(),
            listening.protocol(),
            listening.stream());
    allowDirect(n, accepted);
    accepted.inherit(listening);
    if (listening.lingers()) {
      accepted.setLingers();
    }
    hook.files().add(accepted);
    give(n, p, listening, accepted, flags);
  }

  /** Accepts a connection that an earlier accept had to put back. */
  private void acceptEarlier(
      Notification n, Placeholder p, OpenFile listening, OpenFile earlier, int flags) {
    if (n.args()[1] != 0) {
      long r = hook.calls().run(n, peerName, n.args(), earlier, null);
      if (r < 0) {
        hook.calls().close(earlier.handle());
        updatePin(p, listening);
        // The peer has gone meanwhile: accept(2) says it so.
        n.answer(r == -Errno.ENOTCONN ? -Errno.ECONNABORTED : r);
        return;
      }
    }
    if (!listening.hasPutBack()) {
      // What was shown for its sake may be true no longer.
      p.pin(0);
      hook.calls().sample(n, p);
    }
    give(n, p, listening, earlier, flags);
  }

  /** Answers an accept with a connection, or puts it back if the program has no descriptor left. */
  private void give(
      Notification n, Placeholder p, OpenFile listening, OpenFile accepted, int flags) {
    long r = install(n, accepted, flags, true);
    if (r == -Errno.EMFILE) {
      listening.putBack(accepted);
    }
    updatePin(p, listening);
    n.answer(r);
  }

  private static void updatePin(Placeholder p, OpenFile listening) {
    p.pin(listening.hasPutBack() ? Poll.POLLIN | Poll.POLLRDNORM : 0);
  }

  private long install(Notification n, OpenFile file, int flags, boolean connected) {
    Placeholder p =
        hook.placeholders().create(file.handle(), (flags & Socket.SOCK_NONBLOCK) != 0, connected);
    return hook.install(n, file, p, (flags & Socket.SOCK_CLOEXEC) != 0);
  }

  private void connect(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      if (hook.link().ownNames() && HostNames.asked(n)) {
        n.answerErrno(Errno.ENOENT); // as where no such service is
      } else {
        hook.onHost(n);
      }
      return;
    }
    OpenFile again = p.isConnected() ? hook.files().get(p.handle()) : null;
    if (again != null) {
      again.endAhead(); // it may be connected no more
      ReceiveAhead looks = hook.receiveAhead();
      if (looks != null) {
        looks.end(again);
      }
    }
    long r = hook.calls().run(n, p);
    if (r == 0) {
      p.connected();
      OpenFile file = hook.files().get(p.handle());
      if (file != null && file.keeps()) {
        file.dropKept(); // to AF_UNSPEC: nothing else succeeds on a connected stream
        p.pin(file.pinned());
        hook.calls().sample(n, p);
      }
    } else if (r == -Errno.EINPROGRESS || r == -Errno.ECONNREFUSED) {
      Call c = n.slot().call();
      boolean loopback = isLoopback(c.data, c.args[1], n.intArg(2));
      OpenFile file = hook.files().get(p.handle());
      if (file != null) {
        file.loopbackTarget(loopback);
      }
      if (loopback && r == -Errno.ECONNREFUSED) {
        explainRefusal();
      }
    }
    hook.answer(n, r);
  }

  private void setOption(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    OpenFile file = hook.files().get(p.handle());
    if (file != null && n.intArg(1) == Socket.SOL_SOCKET) {
      switch (n.intArg(2)) {
        case Socket.SO_LINGER -> file.setLingers();
        case Socket.SO_RCVLOWAT -> file.endDirect(); // It tells receives how long to wait.
        case Socket.SO_ZEROCOPY -> {
          hook.answer(n, setZeroCopy(n, file));
          return;
        }
        default -> {}
      }
    }
    if (file != null && wentAhead(n, p, file)) {
      n.answer(0);
      return;
    }
    if (file != null && SocketOptions.namesProgram(n.intArg(1), n.intArg(2))) {
      BpfCalls bpf = hook.bpf();
      hook.answer(n, bpf == null ? -Errno.EINVAL : bpf.attach(n, p, file));
      return;
    }
    XdpSocket xdp = file == null ? null : file.xdp();
    if (file != null && file.family() == Socket.AF_PACKET) {
      hook.answer(n, rings.setOption(n, p, file));
    } else if (file != null && xdp != null) {
      hook.answer(n, hook.xdp().setOption(n, p, file, xdp));
    } else {
      hook.answer(n, hook.calls().run(n, p));
    }
  }

  /** The device is not told: its kernel would send from the memory of the call. */
  private long setZeroCopy(Notification n, OpenFile file) {
    file.endDirect(); // Looks are to find what the error queue tells.
    long r =
        file.zeroCopy()
            .set(n.memory(), n.statScratch(), file.mayZeroCopy(), n.args()[3], n.intArg(4));
    return hook.calls().memoryError(n, r);
  }

  /** Sets an option ahead that no socket of TCP refuses, whatever its value is. */
  private boolean wentAhead(Notification n, Placeholder p, OpenFile file) {
    SendAhead ahead = hook.ahead();
    if (ahead == null
        || !hook.certain()
        || hook.bpf() != null // whose programs may refuse options
        || n.intArg(1) != Socket.IPPROTO_TCP
        || !Frame.Ahead.isOption(n.intArg(2))
        || n.intArg(4) < Integer.BYTES) {
      return false;
    }
    MemorySegment value = n.statScratch().asSlice(0, Integer.BYTES);
    if (n.memory().read(n.args()[3], value, 0, Integer.BYTES) < 0 || !n.valid()) {
      return false;
    }
    n.willBlock(); // the link may have to be waited for
    return ahead.option(p, file, n.intArg(2), value, true);
  }

  private void getOption(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    if (n.intArg(1) == Socket.SOL_SOCKET && n.intArg(2) == Socket.SO_ZEROCOPY) {
      OpenFile file = hook.files().get(p.handle());
      long r =
          file == null
              ? -Errno.EBADF
              : file.zeroCopy().get(n.memory(), n.statScratch(), n.args()[3], n.args()[4]);
      hook.answer(n, hook.calls().memoryError(n, r));
      return;
    }
    if (SocketOptions.makesDescriptor(n.intArg(1), n.intArg(2))) {
      makeByOption(n, p);
      return;
    }
    OpenFile file = hook.files().get(p.handle());
    XdpSocket xdp = file == null ? null : file.xdp();
    if (xdp != null) {
      hook.answer(n, hook.xdp().getOption(n, p, xdp));
      return;
    }
    long r = hook.calls().run(n, p);
    RingFeed ring = file == null ? null : file.ring();
    if (r == 0 && ring != null) {
      r = rings.adjustOption(n, ring);
    }
    if (r == 0 && n.intArg(1) == Socket.SOL_SOCKET && n.intArg(2) == Socket.SO_ERROR) {
      if (file != null && hook.ahead() != null) {
        tellErrorPutOff(n, p, file);
      }
      if (file != null && file.loopbackTarget()) {
        MemorySegment value = n.statScratch();
        if (n.memory().read(n.args()[3], value, 0, Integer.BYTES) == 0
            && value.get(JAVA_INT_UNALIGNED, 0) == Errno.ECONNREFUSED) {
          explainRefusal();
        }
        file.loopbackTarget(false);
      }
    }
    hook.answer(n, r);
  }

  /** The error that a send met which the program had been told of as done. */
  private void tellErrorPutOff(Notification n, Placeholder p, OpenFile file) {
    MemorySegment value = n.statScratch();
    if (n.memory().read(n.args()[3], value, 0, Integer.BYTES) < 0
        || value.get(JAVA_INT_UNALIGNED, 0) != 0) {
      return;
    }
    long put = hook.calls().socketError(n, p, file);
    if (put < 0) {
      value.set(JAVA_INT_UNALIGNED, 0, (int) -put);
      n.memory().write(n.args()[3], value, 0, Integer.BYTES);
    }
  }

  /**
   * An association of an SCTP socket gets a socket of its own, whose number is the result and in
   * the value: {@code sctp_getsockopt_peeloff()}.
   */
  private void makeByOption(Notification n, Placeholder p) {
    OpenFile from = hook.files().get(p.handle());
    if (from == null) {
      n.answerErrno(Errno.EBADF);
      return;
    }
    long value = n.args()[3];
    int flags = makingFlags(n, value);
    long r = hook.calls().run(n, p);
    if (r < 0) {
      long made = n.acceptedHandle();
      if (made >= 0) {
        hook.calls().close((int) made);
      }
      hook.answer(n, r);
      return;
    }
    OpenFile file =
        new OpenFile((int) r, from.family(), Socket.SOCK_SEQPACKET, from.protocol(), true);
    allowDirect(n, file);
    hook.files().add(file);
    r = install(n, file, flags, true);
    if (r == -Errno.EMFILE) {
      hook.calls().close(file.handle()); // As natively, where the number is looked for last.
    }
    if (r >= 0) {
      MemorySegment number = n.statScratch();
      number.set(JAVA_INT_UNALIGNED, 0, (int) r);
      // It has just been written to; only the program itself can have taken it away since.
      n.memory().write(value + SocketOptions.MADE, number, 0, Integer.BYTES);
    }
    n.answer(r);
  }

  private static int makingFlags(Notification n, long value) {
    SocketOptions.Option o = SocketOptions.find(n.intArg(1), n.intArg(2));
    MemorySegment flags = n.statScratch();
    return o != null
            && o.bytes() > SocketOptions.MADE_FLAGS
            && n.memory().read(value + SocketOptions.MADE_FLAGS, flags, 0, Integer.BYTES) == 0
        ? flags.get(JAVA_INT_UNALIGNED, 0)
        : 0;
  }

  private void explainRefusal() {
    hook.messages()
        .once(
            "loopback",
            "A connection to 127.0.0.1 was refused: for an offloaded program that is the device's"
                + " own loopback, not this machine's. --host-loopback PORT makes a service of this"
                + " machine reachable there.");
  }

  private static boolean isLoopback(MemorySegment data, long at, int length) {
    if (at < 0 || length < SOCKADDR_IN_BYTES || at > data.byteSize() - length) {
      return false;
    }
    int family = data.get(JAVA_SHORT_UNALIGNED, at);
    if (family == Socket.AF_INET) {
      return data.get(JAVA_BYTE, at + 4) == 127;
    }
    if (family != Socket.AF_INET6 || length < SOCKADDR_IN6_BYTES) {
      return false;
    }
    boolean zero = true;
    for (int i = 8; i < 18; i++) {
      zero &= data.get(JAVA_BYTE, at + i) == 0;
    }
    boolean mapped =
        data.get(JAVA_BYTE, at + 18) == -1
            && data.get(JAVA_BYTE, at + 19) == -1
            && data.get(JAVA_BYTE, at + 20) == 127;
    boolean one = data.get(JAVA_BYTE, at + 23) == 1;
    for (int i = 18; i < 23; i++) {
      one &= data.get(JAVA_BYTE, at + i) == 0;
    }
    return zero && (mapped || one);
  }
}
