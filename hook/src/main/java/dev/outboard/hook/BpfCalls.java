// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Socket;
import dev.outboard.posix.Linux;
import dev.outboard.syscalls.BpfCommands;
import dev.outboard.syscalls.BpfHostMarshaller;
import dev.outboard.syscalls.BpfNetlink;
import dev.outboard.syscalls.BpfObject;
import dev.outboard.syscalls.Call;
import dev.outboard.syscalls.HostMarshaller;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SocketOptions;
import dev.outboard.syscalls.SyscallTable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code bpf(2)} of a session that has asked for the device's, and what else names a program of
 * BPF: options of sockets, and attributes of netlink.
 *
 * <p>Whatever descriptors a call names, their files are in use until it is over, as natively.
 */
final class BpfCalls {
  private static final String POSSIBLE = "/sys/devices/system/cpu/possible";

  private static final int BPF = DeviceCalls.canonical("bpf");

  private static final Row SETSOCKOPT = SyscallTable.row("setsockopt");

  private final Hook.Services hook;
  private final int processors;

  BpfCalls(Hook.Services hook) {
    this.hook = hook;
    this.processors = processors();
  }

  /**
   * What programs take as the number of values of a per-CPU map, by the same file as they.
   *
   * @return 1 if it cannot be read
   */
  private static int processors() {
    try {
      String list = Files.readString(Path.of(POSSIBLE)).strip();
      String last = list.substring(Math.max(list.lastIndexOf('-'), list.lastIndexOf(',')) + 1);
      return Math.clamp(Integer.parseInt(last) + 1, 1, 8192);
    } catch (IOException | NumberFormatException e) {
      return 1;
    }
  }

  /** Whether the device makes such calls for its programs. */
  static boolean offered(DeviceCalls calls, long nanos) {
    return calls.service(BPF, -1, 0, -1, nanos) == -Errno.EINVAL;
  }

  void call(Notification n) {
    long r;
    try (Arena arena = Arena.ofConfined();
        Use use = new Use(n)) {
      BpfHostMarshaller marshaller = new BpfHostMarshaller(arena, n.memory(), processors, n.args());
      r = call(n, use, marshaller);
    }
    hook.answer(n, hook.calls().memoryError(n, r));
  }

  private long call(Notification n, Use use, BpfHostMarshaller marshaller) {
    int command = n.intArg(0);
    long r = hook.calls().begin(n);
    if (r < 0) {
      return r;
    }
    try {
      Call c = n.slot().call();
      r = marshaller.read(c.data);
      if (r < 0) {
        return r;
      }
      switch (command) {
        case BpfCommands.OBJ_PIN -> {
          return -Errno.EPERM; // as where the path is of no file system of BPF
        }
        case BpfCommands.OBJ_GET -> {
          return -Errno.ENOENT;
        }
        default -> {}
      }
      BpfObject about = BpfObject.NONE;
      int subject = -1;
      if (marshaller.hasSubject()) {
        OpenFile file = use.take(marshaller.subject());
        if (file == null) {
          return notOurs(n, marshaller.subject());
        }
        about = file.object();
        subject = file.handle();
      }
      r = exchange(n, use, marshaller, about, subject);
    } finally {
      hook.calls().end(n);
    }
    // Before the caller knows: what it closes next is closed then, and not when this thread comes
    // on.
    use.end();
    return r < 0 || BpfCommands.makes(command) == BpfObject.Kind.NONE ? r : install(n, use, r);
  }

  /** One call on the device, or more for what one cannot carry. */
  private long exchange(
      Notification n, Use use, BpfHostMarshaller marshaller, BpfObject about, int subject) {
    Call c = n.slot().call();
    for (; ; ) {
      long r = marshaller.encode(BPF, about, subject, use::handle, c);
      if (r < 0) {
        return r;
      }
      r = hook.calls().execute(n, n.slot());
      if (r == DeviceCalls.AGAIN) {
        continue;
      }
      if (r == -Errno.EBADF && use.othersFile) {
        c.result = -Errno.EINVAL;
        r = c.result;
      }
      boolean made = r >= 0 && BpfCommands.makes(n.intArg(0)) != BpfObject.Kind.NONE;
      if (made) {
        use.made = BpfHostMarshaller.made(c);
      }
      long told = marshaller.decode(c);
      if (told < 0 && made) {
        hook.calls().close((int) r);
      }
      if (r == -Errno.ENOSPC && marshaller.logCut()) {
        marshaller.silence();
        continue;
      }
      if (!marshaller.goesOn(c, told)) {
        return marshaller.whole(told);
      }
    }
  }

  private long install(Notification n, Use use, long handle) {
    OpenFile file = new OpenFile((int) handle, use.made);
    hook.files().add(file);
    Placeholder p = hook.placeholders().create(file.handle(), false, false);
    if (p != null && use.made.kind() != BpfObject.Kind.MAP) {
      p.ready(); // a map shows an error to who waits for it
    }
    long r = hook.install(n, file, p, true);
    if (r == -Errno.EMFILE) {
      hook.calls().close(file.handle());
    }
    return r;
  }

  /** Sets an option of a socket that names a program. */
  long attach(Notification n, Placeholder p, OpenFile socket) {
    long[] args = n.args();
    long r = n.memory().read(args[3], n.statScratch(), 0, Integer.BYTES);
    if ((int) args[4] < Integer.BYTES) {
      return -Errno.EINVAL;
    }
    if (r < 0) {
      return hook.calls().memoryError(n, r);
    }
    int fd = n.statScratch().get(JAVA_INT_UNALIGNED, 0);
    try (Use use = new Use(n)) {
      OpenFile program = use.take(fd);
      if (program == null) {
        return notOurs(n, fd);
      }
      return hook.calls().runNaming(n, SETSOCKOPT, socket, p, program, SocketOptions.HANDLE);
    }
  }

  /** What a kernel says to a descriptor of another kind, or to none. */
  private static long notOurs(Notification n, int fd) {
    int borrowed = Descriptors.borrow(n, fd);
    if (borrowed < 0) {
      return -Errno.EBADF;
    }
    Linux.close(borrowed);
    return -Errno.EINVAL;
  }

  /**
   * Puts handles in the place of the descriptors of programs that a message of route netlink names.
   *
   * @param c the call that sends it, encoded
   * @return what keeps their files; to be ended after the call. Null if there is nothing to do
   */
  @Nullable Use translate(Notification n, Row row, OpenFile socket, Call c) {
    if (socket.family() != Socket.AF_NETLINK || socket.protocol() != Socket.NETLINK_ROUTE) {
      return null;
    }
    long at = HostMarshaller.sentAt(row, c);
    if (at < 0 || c.carried != c.wanted) {
      return null;
    }
    Use use = new Use(n);
    BpfNetlink.translate(c.data.asSlice(at, c.carried), use::handle);
    return use;
  }

  /** The files that a call names, in use until it is closed. One thread. */
  final class Use implements AutoCloseable {
    private final Notification n;
    private final List<OpenFile> files = new ArrayList<>(4);
    private BpfObject made = BpfObject.NONE;

    /** A descriptor was open, but the host's. */
    private boolean othersFile;

    Use(Notification n) {
      this.n = n;
    }

    /** The device's file behind a descriptor of the caller's, or null. */
    @Nullable OpenFile take(int fd) {
      Placeholder p = hook.lookupNumber(n, fd);
      OpenFile file = p == null ? null : hook.files().get(p.handle());
      if (file == null || !file.use()) {
        return null;
      }
      files.add(file);
      return file;
    }

    int handle(int fd) {
      OpenFile file = take(fd);
      if (file == null) {
        othersFile |= notOurs(n, fd) == -Errno.EINVAL;
        return BpfCommands.NO_FILE;
      }
      return file.handle();
    }

    /** They are in use no more. */
    void end() {
      for (OpenFile file : files) {
        hook.calls().unuse(file);
      }
      files.clear();
    }

    @Override
    public void close() {
      end();
    }
  }
}
