// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/**
 * Looks at files of the host that are about to be executed, and tells the user of programs that do
 * not get what they need when they are executed under the hook: 32-bit ones, of whose calls none is
 * made, and set-user-ID ones that keep the caller's identity. Any thread may call.
 */
final class Executables {
  /** Of an ELF file: {@code e_ident} and {@code e_type}, {@code e_machine}. */
  private static final int HEAD_BYTES = 20;

  /** What a kernel looks at: {@code BINPRM_BUF_SIZE}. */
  static final int LOOKED_BYTES = 256;

  static final int MAGIC = 'F' << 24 | 'L' << 16 | 'E' << 8 | 0x7f;
  static final int CLASS = 4;
  static final int CLASS_32 = 1;

  private final Messages messages;
  private final boolean scripts;

  /** Whether the kernel ignores the bits of set-user-ID files, which natively it would not. */
  private volatile boolean identityStays;

  private volatile boolean said32;
  private volatile boolean saidIdentity;

  private static final byte[] NOTHING = {};

  /**
   * @param scripts whether the interpreter of a script may be the device's
   */
  Executables(Messages messages, boolean scripts) {
    this.messages = messages;
    this.scripts = scripts;
  }

  /** From now on set-user-ID programs get no other identity: {@code no_new_privs} is set. */
  void keepIdentity() {
    identityStays = true;
  }

  /**
   * Looks at a file of the host that is about to be executed.
   *
   * @param directory the descriptor that a relative path starts from, or AT_FDCWD
   * @param path as the program wrote it
   * @return how it begins, if that may matter and can be read
   */
  byte[] executing(Notification n, int directory, byte[] path) {
    boolean identity = identityStays && !saidIdentity;
    if (path.length == 0 || (said32 && !identity && !scripts)) {
      return NOTHING;
    }
    String from =
        path[0] == '/' ? "root" : directory == Fcntl.AT_FDCWD ? "cwd/" : "fd/" + directory + "/";
    String name = new String(path, StandardCharsets.ISO_8859_1);
    try (Arena a = Arena.ofConfined()) {
      MemorySegment text = a.allocateFrom(from + name, StandardCharsets.ISO_8859_1);
      MemorySegment stat = a.allocate(Processes.STAT_BYTES, 8);
      int process = n.process().directory();
      if (Processes.fstatat(process, text.address(), stat.address(), 0) < 0) {
        return NOTHING; // the kernel will say the same
      }
      int mode = stat.get(JAVA_INT_UNALIGNED, Processes.STAT_MODE);
      if ((mode & Stat.S_IFMT) != Stat.S_IFREG) {
        return NOTHING;
      }
      if (identity && (mode & (Stat.S_ISUID | Stat.S_ISGID)) != 0) {
        tellIdentity(n, stat, mode, path);
      }
      if (said32 && !scripts) {
        return NOTHING;
      }
      byte[] head = head(a, process, text);
      looked(head, path);
      return head;
    }
  }

  /** Looks at how a file begins, of the host or of the device, that is about to be executed. */
  void looked(byte[] head, byte[] path) {
    if (!said32 && is32(head)) {
      said32 = true;
      messages.say(
          new String(path, StandardCharsets.UTF_8)
              + " is a 32-bit program: none of its system calls is made here (ENOSYS), and it will"
              + " end with a fault. A 64-bit build of it can be offloaded.");
    }
  }

  private void tellIdentity(Notification n, MemorySegment stat, int mode, byte[] path) {
    TaskStatus status = n.statusScratch();
    try (Arena a = Arena.ofConfined()) {
      if (status.read(a, n.tid()) < 0) {
        return;
      }
    }
    boolean user =
        (mode & Stat.S_ISUID) != 0
            && stat.get(JAVA_INT, Processes.STAT_UID) != status.credentials(true).euid();
    boolean group =
        (mode & Stat.S_ISGID) != 0
            && stat.get(JAVA_INT, Processes.STAT_GID) != status.credentials(true).egid();
    if (user || group) {
      saidIdentity = true;
      messages.say(
          new String(path, StandardCharsets.UTF_8)
              + " is a set-"
              + (user ? "user" : "group")
              + "-ID program and runs with its caller's rights: programs are under no_new_privs,"
              + " as outboard has no CAP_SYS_ADMIN. Run outboard as root to give it its own.");
    }
  }

  private static byte[] head(Arena a, int process, MemorySegment path) {
    // A file that was no regular one a moment ago might be opened: it must not wait.
    long fd =
        Processes.openat(
            process, path.address(), Fcntl.O_RDONLY | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC);
    if (fd < 0) {
      return NOTHING;
    }
    MemorySegment head = a.allocate(LOOKED_BYTES, 8);
    long got = Linux.read((int) fd, head.address(), LOOKED_BYTES);
    Linux.close((int) fd);
    return got <= 0 ? NOTHING : head.asSlice(0, got).toArray(JAVA_BYTE);
  }

  private static boolean is32(byte[] head) {
    return head.length >= HEAD_BYTES
        && MemorySegment.ofArray(head).get(JAVA_INT_UNALIGNED, 0) == MAGIC
        && head[CLASS] == CLASS_32;
  }
}
