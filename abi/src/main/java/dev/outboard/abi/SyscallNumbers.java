// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * System call numbers of x86-64 that the product itself makes.
 *
 * <p>Source: {@code arch/x86/entry/syscalls/syscall_64.tbl}. The numbers of all calls, for both
 * ABIs, stand in the syscall table.
 */
public final class SyscallNumbers {
  public static final int READ = 0;
  public static final int WRITE = 1;
  public static final int CLOSE = 3;
  public static final int FSTAT = 5;
  public static final int POLL = 7;
  public static final int INOTIFY_ADD_WATCH = 254;
  public static final int INOTIFY_RM_WATCH = 255;
  public static final int INOTIFY_INIT1 = 294;
  public static final int MMAP = 9;
  public static final int MPROTECT = 10;
  public static final int MUNMAP = 11;
  public static final int RT_SIGACTION = 13;
  public static final int MREMAP = 25;
  public static final int MADVISE = 28;
  public static final int IOCTL = 16;
  public static final int PREAD64 = 17;
  public static final int PWRITE64 = 18;
  public static final int PIPE2 = 293;
  public static final int READV = 19;
  public static final int WRITEV = 20;
  public static final int SOCKET = 41;
  public static final int CONNECT = 42;
  public static final int ACCEPT4 = 288;
  public static final int SENDTO = 44;
  public static final int RECVFROM = 45;
  public static final int SENDMSG = 46;
  public static final int RECVMSG = 47;
  public static final int SHUTDOWN = 48;
  public static final int BIND = 49;
  public static final int LISTEN = 50;
  public static final int GETSOCKNAME = 51;
  public static final int SOCKETPAIR = 53;
  public static final int SETSOCKOPT = 54;
  public static final int GETSOCKOPT = 55;
  public static final int KILL = 62;
  public static final int EXECVEAT = 322;
  public static final int FACCESSAT2 = 439;
  public static final int FCNTL = 72;
  public static final int FTRUNCATE = 77;
  public static final int FCHMOD = 91;
  public static final int UMASK = 95;
  public static final int GETUID = 102;
  public static final int UNAME = 63;
  public static final int GETEUID = 107;
  public static final int GETPPID = 110;
  public static final int PRCTL = 157;
  public static final int FUTEX = 202;
  public static final int CLOCK_GETTIME = 228;
  public static final int EPOLL_CREATE1 = 291;
  public static final int EPOLL_CTL = 233;
  public static final int SENDFILE = 40;
  public static final int EPOLL_WAIT = 232;
  public static final int EPOLL_PWAIT = 281;
  public static final int NEWFSTATAT = 262;
  public static final int UNLINKAT = 263;
  public static final int OPENAT = 257;
  public static final int READLINKAT = 267;
  public static final int PSELECT6 = 270;
  public static final int PPOLL = 271;
  public static final int TIMERFD_CREATE = 283;
  public static final int TIMERFD_SETTIME = 286;
  public static final int EVENTFD2 = 290;
  public static final int SIGNALFD4 = 289;
  public static final int LSEEK = 8;
  public static final int DUP = 32;
  public static final int DUP3 = 292;
  public static final int GETPID = 39;
  public static final int GETTID = 186;
  public static final int TGKILL = 234;
  public static final int WAIT4 = 61;
  public static final int WAITID = 247;
  public static final int SECCOMP = 317;
  public static final int MEMFD_CREATE = 319;
  public static final int PROCESS_VM_READV = 310;
  public static final int PROCESS_VM_WRITEV = 311;
  public static final int PIDFD_OPEN = 434;
  public static final int PIDFD_GETFD = 438;
  public static final int PIDFD_SEND_SIGNAL = 424;
  public static final int KCMP = 312;
  public static final int SETNS = 308;
  public static final int UNSHARE = 272;
  public static final int SETRESUID = 117;
  public static final int SETRESGID = 119;
  public static final int SETGROUPS = 116;
  public static final int CAPSET = 126;
  public static final int PRLIMIT64 = 302;
  public static final int SENDMMSG = 307;
  public static final int RECVMMSG = 299;
  public static final int SCHED_SETAFFINITY = 203;
  public static final int SCHED_GETAFFINITY = 204;
  public static final int GETRANDOM = 318;
  public static final int PTRACE = 101;
  public static final int CLOSE_RANGE = 436;

  public static final int FLOCK = 73;
  public static final int FSYNC = 74;
  public static final int FDATASYNC = 75;
  public static final int SETFSUID = 122;
  public static final int SETFSGID = 123;
  public static final int CAPGET = 125;
  public static final int FSTATFS = 138;
  public static final int MOUNT = 165;
  public static final int SETXATTR = 188;
  public static final int GETXATTR = 191;
  public static final int LISTXATTR = 194;
  public static final int REMOVEXATTR = 197;
  public static final int GETDENTS64 = 217;
  public static final int MKDIRAT = 258;
  public static final int MKNODAT = 259;
  public static final int FCHOWNAT = 260;
  public static final int LINKAT = 265;
  public static final int SYMLINKAT = 266;
  public static final int FCHMODAT = 268;
  public static final int SPLICE = 275;
  public static final int TEE = 276;
  public static final int UTIMENSAT = 280;
  public static final int FALLOCATE = 285;
  public static final int SYNCFS = 306;
  public static final int RENAMEAT2 = 316;
  public static final int COPY_FILE_RANGE = 326;
  public static final int PREADV2 = 327;
  public static final int PWRITEV2 = 328;
  public static final int STATX = 332;
  public static final int OPENAT2 = 437;

  private SyscallNumbers() {}
}
