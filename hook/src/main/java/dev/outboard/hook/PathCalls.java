// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.Arg;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/**
 * Opens: {@code /etc/resolv.conf} is the device's, for the program's name look-ups go out there.
 * All other paths are continued.
 *
 * <p>The program gets a file of its own (a new open file on one memfd), read-only, with the text
 * that the device sent. Owns the memfd.
 */
final class PathCalls implements AutoCloseable {
  private static final byte[] RESOLV_CONF =
      "/etc/resolv.conf\0".getBytes(StandardCharsets.US_ASCII);
  private static final int MFD_CLOEXEC = 1;
  private static final int MFD_ALLOW_SEALING = 2;
  private static final int F_ADD_SEALS = 1033;
  private static final int ALL_SEALS = 0xf;
  private static final int MODE = 0444;

  private final Hook.Services hook;
  private final Arena arena = Arena.ofShared();
  private final int memfd;
  private final MemorySegment memfdPath;

  /**
   * @param text the device's resolv.conf; if empty, the host's is used
   */
  PathCalls(Hook.Services hook, String text) {
    this.hook = hook;
    this.memfd = text.isEmpty() ? -1 : file(text);
    this.memfdPath = arena.allocateFrom("/proc/self/fd/" + memfd);
  }

  /** Serves one call of route PATH. */
  void open(Notification n) {
    int path = pathIndex(n);
    if (memfd < 0 || path < 0 || !isResolvConf(n, n.args()[path])) {
      hook.onHost(n);
      return;
    }
    long flags = openFlags(n);
    if (flags < 0 || (flags & Fcntl.O_ACCMODE) != Fcntl.O_RDONLY) {
      hook.onHost(n);
      return;
    }
    long own =
        Processes.openat(Processes.AT_FDCWD, memfdPath.address(), Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
    if (own < 0) {
      n.answerErrno(Errno.ENFILE);
      return;
    }
    long fd = n.addFd((int) own, (int) flags & Fcntl.O_CLOEXEC);
    Linux.close((int) own);
    n.answer(fd == -Errno.ENOENT ? -Errno.EINTR : fd);
  }

  private static int pathIndex(Notification n) {
    for (int i = 0; i < n.row().argCount(); i++) {
      if (n.row().arg(i).kind() == Arg.Kind.PATH) {
        return i;
      }
    }
    return -1;
  }

  /** The open flags, or -errno: an argument after the path, or the first word of open_how. */
  private static long openFlags(Notification n) {
    int i = pathIndex(n) + 1;
    if (n.row().arg(i).kind() == Arg.Kind.FLAGS) {
      return n.args()[i] & 0xffffffffL;
    }
    MemorySegment how = n.statScratch();
    long r = n.memory().read(n.args()[i], how, 0, Long.BYTES);
    return r < 0 ? r : how.get(JAVA_LONG_UNALIGNED, 0);
  }

  private static boolean isResolvConf(Notification n, long address) {
    MemorySegment text = n.pathScratch();
    if (n.memory().readString(address, text, 0, RESOLV_CONF.length) != RESOLV_CONF.length - 1) {
      return false;
    }
    for (int i = 0; i < RESOLV_CONF.length; i++) {
      if (text.get(JAVA_BYTE, i) != RESOLV_CONF[i]) {
        return false;
      }
    }
    return true;
  }

  private static int file(String text) {
    try (Arena a = Arena.ofConfined()) {
      long fd =
          Linux.memfdCreate(
              a.allocateFrom("resolv.conf").address(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
      if (fd < 0) {
        throw new IllegalStateException("memfd_create: " + Errno.name((int) -fd));
      }
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      MemorySegment from = a.allocate(Math.max(1, bytes.length));
      MemorySegment.copy(bytes, 0, from, JAVA_BYTE, 0, bytes.length);
      long written = Linux.write((int) fd, from.address(), bytes.length);
      if (written != bytes.length) {
        throw new IllegalStateException("a memfd takes no " + bytes.length + " bytes");
      }
      Linux.fchmod((int) fd, MODE);
      Linux.fcntl((int) fd, F_ADD_SEALS, ALL_SEALS);
      return (int) fd;
    }
  }

  @Override
  public void close() {
    if (memfd >= 0) {
      Linux.close(memfd);
    }
    arena.close();
  }
}
