// SPDX-License-Identifier: MIT
package dev.outboard.abi;

import java.util.Arrays;

/**
 * What a Linux machine's processor decides of its ABI, as far as the product meets it.
 *
 * <p>Everything that crosses between host and device, and everything that the library kernel is
 * asked for, has one ABI whatever the machine: numbers of asm-generic, flags and structures of
 * x86-64 (see {@code docs/architectures.md}). What differs elsewhere is turned here and nowhere
 * else, and only for calls to the kernel of a machine: those that the product makes for itself, and
 * those of a device that has no kernel of its own.
 *
 * <p>Source: {@code arch/arm64/include/uapi/asm/fcntl.h}, {@code include/uapi/asm-generic}, {@code
 * include/uapi/linux/eventpoll.h}. A test compares all of it with the headers of both machines.
 */
public enum Architecture {
  /** x86-64. */
  X86_64("amd64", 12),
  /** 64-bit Arm, little-endian: AArch64. */
  ARM64("aarch64", 16);

  /** Of the machine that this JVM runs on. */
  public static final Architecture MACHINE = of(System.getProperty("os.arch", "unknown"));

  /** arm64's bit for each canonical flag of {@code open(2)} that has another one there. */
  private static final int[][] OPEN_FLAGS = {
    {Fcntl.O_DIRECTORY, 0x4000},
    {Fcntl.O_NOFOLLOW, 0x8000},
    {Fcntl.O_DIRECT, 0x10000},
    {Fcntl.O_LARGEFILE, 0x20000},
  };

  private static final int OPEN_FLAGS_MOVED =
      Fcntl.O_DIRECTORY | Fcntl.O_NOFOLLOW | Fcntl.O_DIRECT | Fcntl.O_LARGEFILE;

  /** asm-generic numbers by those of x86-64, -1 where there is none. */
  private static final short[] GENERIC = generic();

  private final String property;
  private final int epollEventBytes;

  Architecture(String property, int epollEventBytes) {
    this.property = property;
    this.epollEventBytes = epollEventBytes;
  }

  /**
   * That of a JVM's property {@code os.arch}.
   *
   * @throws IllegalStateException if it is none of these
   */
  public static Architecture of(String property) {
    for (Architecture a : values()) {
      if (a.property.equals(property)) {
        return a;
      }
    }
    throw new IllegalStateException(
        "outboard runs on amd64 and, as a device, on aarch64: not on " + property);
  }

  /**
   * The number of a call that the product itself makes.
   *
   * @param x86 one of {@link SyscallNumbers}
   * @return -1 if there is no such call here
   */
  public int number(int x86) {
    return this == X86_64 ? x86 : x86 < 0 || x86 >= GENERIC.length ? -1 : GENERIC[x86];
  }

  /** Flags of {@code open(2)} as this machine's kernel has them; the rest of the bits stay. */
  public int openFlags(int canonical) {
    if (this == X86_64 || (canonical & OPEN_FLAGS_MOVED) == 0) {
      return canonical;
    }
    int flags = canonical & ~OPEN_FLAGS_MOVED;
    for (int[] pair : OPEN_FLAGS) {
      flags |= (canonical & pair[0]) != 0 ? pair[1] : 0;
    }
    return flags;
  }

  /** The opposite of {@link #openFlags}. */
  public int canonicalOpenFlags(int own) {
    if (this == X86_64) {
      return own;
    }
    int flags = own;
    for (int[] pair : OPEN_FLAGS) {
      flags &= ~pair[1];
    }
    for (int[] pair : OPEN_FLAGS) {
      flags |= (own & pair[1]) != 0 ? pair[0] : 0;
    }
    return flags;
  }

  /** The bytes of a {@code struct epoll_event}, which is packed on x86-64 only. */
  public int epollEventBytes() {
    return epollEventBytes;
  }

  /** Where its data are. */
  public int epollEventData() {
    return epollEventBytes - Long.BYTES;
  }

  private static short[] generic() {
    short[] n = new short[512];
    Arrays.fill(n, (short) -1);
    put(n, SyscallNumbers.SETXATTR, 5);
    put(n, SyscallNumbers.GETXATTR, 8);
    put(n, SyscallNumbers.LISTXATTR, 11);
    put(n, SyscallNumbers.REMOVEXATTR, 14);
    put(n, SyscallNumbers.EVENTFD2, 19);
    put(n, SyscallNumbers.EPOLL_CREATE1, 20);
    put(n, SyscallNumbers.EPOLL_CTL, 21);
    put(n, SyscallNumbers.EPOLL_PWAIT, 22);
    put(n, SyscallNumbers.DUP, 23);
    put(n, SyscallNumbers.DUP3, 24);
    put(n, SyscallNumbers.FCNTL, 25);
    put(n, SyscallNumbers.INOTIFY_INIT1, 26);
    put(n, SyscallNumbers.INOTIFY_ADD_WATCH, 27);
    put(n, SyscallNumbers.INOTIFY_RM_WATCH, 28);
    put(n, SyscallNumbers.IOCTL, 29);
    put(n, SyscallNumbers.FLOCK, 32);
    put(n, SyscallNumbers.MKNODAT, 33);
    put(n, SyscallNumbers.MKDIRAT, 34);
    put(n, SyscallNumbers.UNLINKAT, 35);
    put(n, SyscallNumbers.SYMLINKAT, 36);
    put(n, SyscallNumbers.LINKAT, 37);
    put(n, SyscallNumbers.MOUNT, 40);
    put(n, SyscallNumbers.FSTATFS, 44);
    put(n, SyscallNumbers.FTRUNCATE, 46);
    put(n, SyscallNumbers.FALLOCATE, 47);
    put(n, SyscallNumbers.FCHMOD, 52);
    put(n, SyscallNumbers.FCHMODAT, 53);
    put(n, SyscallNumbers.FCHOWNAT, 54);
    put(n, SyscallNumbers.OPENAT, 56);
    put(n, SyscallNumbers.CLOSE, 57);
    put(n, SyscallNumbers.PIPE2, 59);
    put(n, SyscallNumbers.GETDENTS64, 61);
    put(n, SyscallNumbers.LSEEK, 62);
    put(n, SyscallNumbers.READ, 63);
    put(n, SyscallNumbers.WRITE, 64);
    put(n, SyscallNumbers.READV, 65);
    put(n, SyscallNumbers.WRITEV, 66);
    put(n, SyscallNumbers.PREAD64, 67);
    put(n, SyscallNumbers.PWRITE64, 68);
    put(n, SyscallNumbers.SENDFILE, 71);
    put(n, SyscallNumbers.PSELECT6, 72);
    put(n, SyscallNumbers.PPOLL, 73);
    put(n, SyscallNumbers.SIGNALFD4, 74);
    put(n, SyscallNumbers.SPLICE, 76);
    put(n, SyscallNumbers.TEE, 77);
    put(n, SyscallNumbers.READLINKAT, 78);
    put(n, SyscallNumbers.NEWFSTATAT, 79);
    put(n, SyscallNumbers.FSTAT, 80);
    put(n, SyscallNumbers.FSYNC, 82);
    put(n, SyscallNumbers.FDATASYNC, 83);
    put(n, SyscallNumbers.TIMERFD_CREATE, 85);
    put(n, SyscallNumbers.TIMERFD_SETTIME, 86);
    put(n, SyscallNumbers.UTIMENSAT, 88);
    put(n, SyscallNumbers.CAPGET, 90);
    put(n, SyscallNumbers.CAPSET, 91);
    put(n, SyscallNumbers.WAITID, 95);
    put(n, SyscallNumbers.UNSHARE, 97);
    put(n, SyscallNumbers.FUTEX, 98);
    put(n, SyscallNumbers.CLOCK_GETTIME, 113);
    put(n, SyscallNumbers.PTRACE, 117);
    put(n, SyscallNumbers.SCHED_SETAFFINITY, 122);
    put(n, SyscallNumbers.SCHED_GETAFFINITY, 123);
    put(n, SyscallNumbers.KILL, 129);
    put(n, SyscallNumbers.TGKILL, 131);
    put(n, SyscallNumbers.RT_SIGACTION, 134);
    put(n, SyscallNumbers.SETRESUID, 147);
    put(n, SyscallNumbers.SETRESGID, 149);
    put(n, SyscallNumbers.SETFSUID, 151);
    put(n, SyscallNumbers.SETFSGID, 152);
    put(n, SyscallNumbers.SETGROUPS, 159);
    put(n, SyscallNumbers.UNAME, 160);
    put(n, SyscallNumbers.UMASK, 166);
    put(n, SyscallNumbers.PRCTL, 167);
    put(n, SyscallNumbers.GETPID, 172);
    put(n, SyscallNumbers.GETPPID, 173);
    put(n, SyscallNumbers.GETUID, 174);
    put(n, SyscallNumbers.GETEUID, 175);
    put(n, SyscallNumbers.GETTID, 178);
    put(n, SyscallNumbers.SOCKET, 198);
    put(n, SyscallNumbers.SOCKETPAIR, 199);
    put(n, SyscallNumbers.BIND, 200);
    put(n, SyscallNumbers.LISTEN, 201);
    put(n, SyscallNumbers.CONNECT, 203);
    put(n, SyscallNumbers.GETSOCKNAME, 204);
    put(n, SyscallNumbers.SENDTO, 206);
    put(n, SyscallNumbers.RECVFROM, 207);
    put(n, SyscallNumbers.SETSOCKOPT, 208);
    put(n, SyscallNumbers.GETSOCKOPT, 209);
    put(n, SyscallNumbers.SHUTDOWN, 210);
    put(n, SyscallNumbers.SENDMSG, 211);
    put(n, SyscallNumbers.RECVMSG, 212);
    put(n, SyscallNumbers.MUNMAP, 215);
    put(n, SyscallNumbers.MREMAP, 216);
    put(n, SyscallNumbers.MMAP, 222);
    put(n, SyscallNumbers.MPROTECT, 226);
    put(n, SyscallNumbers.MADVISE, 233);
    put(n, SyscallNumbers.ACCEPT4, 242);
    put(n, SyscallNumbers.RECVMMSG, 243);
    put(n, SyscallNumbers.WAIT4, 260);
    put(n, SyscallNumbers.PRLIMIT64, 261);
    put(n, SyscallNumbers.SYNCFS, 267);
    put(n, SyscallNumbers.SETNS, 268);
    put(n, SyscallNumbers.SENDMMSG, 269);
    put(n, SyscallNumbers.PROCESS_VM_READV, 270);
    put(n, SyscallNumbers.PROCESS_VM_WRITEV, 271);
    put(n, SyscallNumbers.KCMP, 272);
    put(n, SyscallNumbers.RENAMEAT2, 276);
    put(n, SyscallNumbers.SECCOMP, 277);
    put(n, SyscallNumbers.GETRANDOM, 278);
    put(n, SyscallNumbers.MEMFD_CREATE, 279);
    put(n, SyscallNumbers.EXECVEAT, 281);
    put(n, SyscallNumbers.COPY_FILE_RANGE, 285);
    put(n, SyscallNumbers.PREADV2, 286);
    put(n, SyscallNumbers.PWRITEV2, 287);
    put(n, SyscallNumbers.STATX, 291);
    put(n, SyscallNumbers.PIDFD_SEND_SIGNAL, 424);
    put(n, SyscallNumbers.PIDFD_OPEN, 434);
    put(n, SyscallNumbers.CLOSE_RANGE, 436);
    put(n, SyscallNumbers.OPENAT2, 437);
    put(n, SyscallNumbers.PIDFD_GETFD, 438);
    put(n, SyscallNumbers.FACCESSAT2, 439);
    put(n, SyscallNumbers.LANDLOCK_CREATE_RULESET, 444);
    put(n, SyscallNumbers.LANDLOCK_ADD_RULE, 445);
    put(n, SyscallNumbers.LANDLOCK_RESTRICT_SELF, 446);
    return n;
  }

  private static void put(short[] numbers, int x86, int generic) {
    numbers[x86] = (short) generic;
  }
}
