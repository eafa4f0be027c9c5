// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

/** Numbers of the asm-generic ABI that the tests use. Source: asm-generic/unistd.h. */
final class Nr {
  static final int EVENTFD2 = 19;
  static final int EPOLL_CREATE1 = 20;
  static final int EPOLL_CTL = 21;
  static final int EPOLL_PWAIT = 22;
  static final int DUP = 23;
  static final int FCNTL = 25;
  static final int INOTIFY_INIT1 = 26;
  static final int INOTIFY_ADD_WATCH = 27;
  static final int IOCTL = 29;
  static final int MKDIRAT = 34;
  static final int UNLINKAT = 35;
  static final int UMOUNT2 = 39;
  static final int MOUNT = 40;
  static final int OPENAT = 56;
  static final int CLOSE = 57;
  static final int PIPE2 = 59;
  static final int GETDENTS64 = 61;
  static final int LSEEK = 62;
  static final int READ = 63;
  static final int WRITE = 64;
  static final int SENDFILE = 71;
  static final int PPOLL = 73;
  static final int SIGNALFD4 = 74;
  static final int VMSPLICE = 75;
  static final int SPLICE = 76;
  static final int TIMERFD_CREATE = 85;
  static final int TIMERFD_SETTIME = 86;
  static final int CAPGET = 90;
  static final int CAPSET = 91;
  static final int EXIT = 93;
  static final int UNSHARE = 97;
  static final int FUTEX = 98;
  static final int NANOSLEEP = 101;
  static final int TGKILL = 131;
  static final int RT_SIGACTION = 134;
  static final int RT_SIGPROCMASK = 135;
  static final int REBOOT = 142;
  static final int SETRESUID = 147;
  static final int SETGROUPS = 159;
  static final int UNAME = 160;
  static final int GETPID = 172;
  static final int GETPPID = 173;
  static final int GETUID = 174;
  static final int GETTID = 178;
  static final int SOCKET = 198;
  static final int SOCKETPAIR = 199;
  static final int BIND = 200;
  static final int LISTEN = 201;
  static final int ACCEPT = 202;
  static final int CONNECT = 203;
  static final int GETSOCKNAME = 204;
  static final int SENDTO = 206;
  static final int RECVFROM = 207;
  static final int SETSOCKOPT = 208;
  static final int GETSOCKOPT = 209;
  static final int SHUTDOWN = 210;
  static final int SENDMSG = 211;
  static final int RECVMSG = 212;
  static final int CLONE = 220;
  static final int EXECVE = 221;
  static final int MMAP = 222;
  static final int MUNMAP = 215;
  static final int CLOCK_GETTIME = 113;
  static final int SETNS = 268;
  static final int IO_SETUP = 0;
  static final int IO_URING_SETUP = 425;
  static final int BPF = 280;

  private Nr() {}
}
