// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.CFunction;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.SystemCallFilter;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What a device's process gives up once it has all that it needs, and before it serves anybody: for
 * the case that somebody gets hold of it by way of its kernel.
 *
 * <p>It becomes nobody if it was root; it cannot execute, open for writing, change or name files,
 * look into other processes, make sockets, or come by privileges. What it has open it may use. All
 * threads are concerned: libc tells the others of a new user, and seccomp has a flag for them.
 */
final class Confinement {
  private static final int NOBODY = 65534;
  private static final int RLIMIT_CORE = 4;
  private static final int CLONE_THREAD = 0x0001_0000;
  private static final int WRITING = Fcntl.O_WRONLY | Fcntl.O_RDWR | Fcntl.O_CREAT;

  /** Calls that a device's process has no use for. */
  private static final List<String> REFUSED =
      List.of(
          ("execve execveat fork vfork ptrace process_vm_readv process_vm_writev pidfd_open"
                  + " pidfd_getfd pidfd_send_signal kcmp mount umount2 pivot_root chroot move_mount"
                  + " open_tree fsopen fsconfig fsmount fspick mount_setattr setns unshare"
                  + " init_module finit_module delete_module kexec_load kexec_file_load bpf"
                  + " perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register"
                  + " keyctl add_key request_key reboot swapon swapoff sethostname setdomainname"
                  + " settimeofday clock_settime adjtimex clock_adjtime acct quotactl ioperm iopl"
                  + " name_to_handle_at open_by_handle_at creat unlink unlinkat rename renameat"
                  + " renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat"
                  + " chmod fchmodat chown lchown fchownat truncate setxattr lsetxattr removexattr"
                  + " lremovexattr utime utimes utimensat futimesat rt_sigqueueinfo tkill")
              .split(" ", -1));

  private static final List<String> SOCKETS = List.of("socket", "connect", "bind", "listen");

  private Confinement() {}

  /**
   * Confines this process.
   *
   * @param sockets it will need sockets of the machine
   * @return what is not as it should be; null if all is
   */
  static @Nullable String apply(boolean sockets) {
    if (Architecture.MACHINE != Architecture.X86_64) {
      return "this machine's calls are not known, so the device keeps what privileges it has";
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment none = arena.allocate(16, 8);
      Processes.prlimit(0, RLIMIT_CORE, none.address(), 0);
    }
    String notice = null;
    if (Linux.syscall(SyscallNumbers.GETEUID, 0) == 0) {
      Path missing = unreadable();
      if (missing != null) {
        notice = "the device stays root: user nobody cannot read " + missing + ", which it needs";
      } else {
        CFunction.ofLibc("setgroups").callInt(0, 0);
        CFunction.ofLibc("setresgid").callInt(NOBODY, NOBODY, NOBODY);
        CFunction.ofLibc("setresuid").callInt(NOBODY, NOBODY, NOBODY);
      }
    }
    // Also for those of the same user: nobody looks into this process.
    Processes.prctl(Processes.PR_SET_DUMPABLE, 0);
    long r = filter(sockets).install();
    return r == 0 ? notice : "the device's calls are not filtered: " + Errno.name((int) -r);
  }

  private static SystemCallFilter filter(boolean sockets) {
    SystemCallFilter filter = new SystemCallFilter();
    for (String name : REFUSED) {
      refuse(filter, name, Errno.EPERM);
    }
    if (!sockets) {
      for (String name : SOCKETS) {
        refuse(filter, name, Errno.EPERM);
      }
    }
    // Their arguments lie in memory, where a filter does not look; libc does without them.
    refuse(filter, "clone3", Errno.ENOSYS);
    refuse(filter, "openat2", Errno.ENOSYS);
    int self = Processes.getpid();
    filter
        .refuseUnlessAny(number("clone"), 0, CLONE_THREAD)
        .refuseIfAny(number("open"), 1, WRITING)
        .refuseIfAny(number("openat"), 2, WRITING)
        .refuseUnless(number("kill"), 0, self)
        .refuseUnless(number("tgkill"), 0, self)
        .refuseUnless(number("rt_tgsigqueueinfo"), 0, self);
    return filter;
  }

  private static void refuse(SystemCallFilter filter, String name, int errno) {
    filter.refuse(number(name), errno);
  }

  private static int number(String name) {
    Row row = SyscallTable.byName(name);
    if (row == null) {
      throw new IllegalStateException("no call " + name);
    }
    return row.x86();
  }

  /** A file of this program that user nobody cannot read; null if there is none. */
  private static @Nullable Path unreadable() {
    Path[] found = new Path[1];
    // Of a thread that ends then: the user for files is each thread's own.
    Thread look =
        Thread.ofPlatform()
            .start(() -> {
              Linux.syscall(SyscallNumbers.SETFSUID, NOBODY);
              for (String part :
                  (System.getProperty("jdk.module.path", "")
                          + ":"
                          + System.getProperty("java.class.path", ""))
                      .split(":", -1)) {
                if (!part.isEmpty() && !readable(Path.of(part))) {
                  found[0] = Path.of(part);
                }
              }
              Path runtime = Path.of(System.getProperty("java.home"), "lib", "modules");
              if (!readable(runtime)) {
                found[0] = runtime;
              }
            });
    Threads.join(look);
    return found[0];
  }

  private static boolean readable(Path path) {
    try {
      if (!Files.isDirectory(path)) {
        Files.newInputStream(path).close();
        return true;
      }
      try (Stream<Path> list = Files.list(path)) {
        return list.filter(Files::isRegularFile).allMatch(Confinement::readable);
      }
    } catch (IOException e) {
      return false;
    }
  }
}
