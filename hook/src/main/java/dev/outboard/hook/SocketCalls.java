// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import java.lang.foreign.MemorySegment;

/** Calls that make device fds, and connect. */
final class SocketCalls {
  private static final int ACCEPT_ROW_FLAGS = 3;
  private static final int SOCKADDR_IN_BYTES = 8;
  private static final int SOCKADDR_IN6_BYTES = 24;

  private final Hook.Services hook;

  SocketCalls(Hook.Services hook) {
    this.hook = hook;
  }

  void register(Handlers h) {
    h.register(this::socket, "socket");
    h.register(this::accept, "accept", "accept4");
    h.register(this::connect, "connect");
    h.register(this::getOption, "getsockopt");
  }

  private void socket(Notification n) {
    // The filter lets only families of the device through to here.
    int domain = n.intArg(0);
    int type = n.intArg(1);
    long r = hook.calls().begin(n);
    if (r >= 0) {
      try {
        Call c = n.slot().call();
        do {
          r = HostMarshaller.encode(n.row(), n.args(), n.memory(), c);
          r = r < 0 ? r : hook.calls().execute(n, n.slot());
        } while (r == DeviceCalls.AGAIN);
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
        kind == Socket.SOCK_STREAM && (domain == Socket.AF_INET || domain == Socket.AF_INET6);
    install(n, new OpenFile((int) r, domain, kind, n.intArg(2), stream), type, false);
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
    install(
        n,
        new OpenFile(
            (int) r,
            listening.family(),
            listening.type(),
            listening.protocol(),
            listening.stream()),
        flags,
        true);
  }

  /** Gives the caller a descriptor for a new open file of the device, and answers with it. */
  private void install(Notification n, OpenFile file, int flags, boolean connected) {
    hook.files().add(file);
    Placeholder p =
        hook.placeholders().create(file.handle(), (flags & Socket.SOCK_NONBLOCK) != 0, connected);
    if (p == null) {
      hook.calls().close(file.handle());
      n.answerErrno(Errno.ENFILE);
      return;
    }
    ProcessEntry process = n.process();
    hook.deviceFdsExist();
    process.setMayHoldDevice();
    long version = process.version();
    long fd = n.addFd(p.endB(), (flags & Socket.SOCK_CLOEXEC) != 0 ? Fcntl.O_CLOEXEC : 0);
    // Before the answer: once the program knows the number it may close it and bind the port anew,
    // and then the hook's own reference must not be in the way. Without an installed one this was
    // the last, and the handle is closed like any other.
    p.releaseEndB();
    if (fd < 0) {
      n.answer(fd == -Errno.ENOENT ? -Errno.EINTR : fd);
      return;
    }
    process.learn((int) fd, p, version);
    p.heldBy(process.pidfd(), (int) fd);
    n.answer(fd);
  }

  private void connect(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    long r = hook.calls().run(n, p);
    if (r == 0) {
      p.connected();
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

  private void getOption(Notification n) {
    Placeholder p = hook.lookup(n, 0);
    if (p == null) {
      hook.onHost(n);
      return;
    }
    long r = hook.calls().run(n, p);
    if (r == 0 && n.intArg(1) == Socket.SOL_SOCKET && n.intArg(2) == Socket.SO_ERROR) {
      OpenFile file = hook.files().get(p.handle());
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
