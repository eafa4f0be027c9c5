// SPDX-License-Identifier: MIT
package dev.outboard.device;

/**
 * asm-generic numbers of the calls that the device makes for itself, and the few constants they
 * need.
 *
 * <p>Source: {@code include/uapi/asm-generic/unistd.h}. All numbers of the program's calls are in
 * the syscall table.
 */
final class Canonical {
  static final int EPOLL_CREATE1 = 20;
  static final int EPOLL_CTL = 21;
  static final int EPOLL_PWAIT = 22;
  static final int FCNTL = 25;
  static final int IOCTL = 29;
  static final int MKNODAT = 33;
  static final int MKDIRAT = 34;
  static final int UNLINKAT = 35;
  static final int UMOUNT2 = 39;
  static final int MOUNT = 40;
  static final int OPENAT = 56;
  static final int CLOSE = 57;
  static final int GETDENTS64 = 61;
  static final int LSEEK = 62;
  static final int READ = 63;
  static final int WRITE = 64;
  static final int READV = 65;
  static final int WRITEV = 66;
  static final int PREAD64 = 67;
  static final int SENDFILE = 71;
  static final int SPLICE = 76;
  static final int PPOLL = 73;
  static final int SYNC = 81;
  static final int CAPGET = 90;
  static final int CAPSET = 91;
  static final int SETRESUID = 147;
  static final int SETRESGID = 149;
  static final int SETFSUID = 151;
  static final int SETFSGID = 152;
  static final int SETGROUPS = 159;
  static final int UNAME = 160;
  static final int UMASK = 166;
  static final int PRCTL = 167;
  static final int GETPPID = 173;
  static final int SOCKET = 198;
  static final int BIND = 200;
  static final int LISTEN = 201;
  static final int ACCEPT = 202;
  static final int CONNECT = 203;
  static final int GETSOCKNAME = 204;
  static final int GETPEERNAME = 205;
  static final int SENDTO = 206;
  static final int RECVFROM = 207;
  static final int SETSOCKOPT = 208;
  static final int GETSOCKOPT = 209;
  static final int SHUTDOWN = 210;
  static final int SENDMSG = 211;
  static final int RECVMSG = 212;
  static final int ACCEPT4 = 242;
  static final int RECVMMSG = 243;

  /** The library kernel's own: {@code asm/ob_xdp.h} of the port. */
  static final int XDP = 244;

  // Its operations.
  static final int XDP_MEMORY = 0;
  static final int XDP_RING = 1;
  static final int XDP_BIND = 2;
  static final int XDP_RECEIVE = 3;
  static final int XDP_SEND = 4;

  static final int PRLIMIT64 = 261;
  static final int NAME_TO_HANDLE_AT = 264;
  static final int SENDMMSG = 269;
  static final int BPF = 280;
  static final int STATX = 291;
  static final int FSOPEN = 430;
  static final int FSCONFIG = 431;
  static final int FSMOUNT = 432;
  static final int OPENAT2 = 437;

  static final int PR_SET_KEEPCAPS = 8;

  private Canonical() {}

  /** Whether a call takes data or connections in, so that SO_RCVTIMEO is what bounds it. */
  static boolean receives(int number) {
    return switch (number) {
      case READ, READV, ACCEPT, ACCEPT4, RECVFROM, RECVMSG, RECVMMSG -> true;
      default -> false;
    };
  }
}
