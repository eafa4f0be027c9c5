// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.ENOSYS;
import static dev.outboard.syscalls.Condition.all;
import static dev.outboard.syscalls.Condition.any;
import static dev.outboard.syscalls.Condition.bits;
import static dev.outboard.syscalls.Condition.is;
import static dev.outboard.syscalls.Condition.isLong;
import static dev.outboard.syscalls.Condition.masked;
import static dev.outboard.syscalls.Condition.not;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Ioctl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Sched;
import dev.outboard.abi.Seccomp;
import dev.outboard.abi.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The system calls of x86-64, one row each: the one place that says what a call's arguments are,
 * where it runs and how well it is supported. The seccomp filter, marshalling on both sides,
 * traces, {@code outboard syscalls} and {@code docs/syscalls.md} are derived from it.
 *
 * <p>Numbers: {@code arch/x86/entry/syscalls/syscall_64.tbl} and {@code
 * include/uapi/asm-generic/unistd.h} up to Linux 6.18. The second number is the canonical one, used
 * between host and device; -1 stands for a call that asm-generic lacks, and {@code via} then names
 * the call that does its work. Every prototype is in the language of {@link Prototype}.
 *
 * <p>A call that is not trapped meets, on a device fd, the placeholder: a socket of the host, which
 * answers as the device's socket would. That is why calls such as {@code pread64} or most {@code
 * mmap} need no trap while a device has no exports; where it has, they trap, too ({@code
 * whenExports}), since a descriptor may be a regular file of the device's then.
 *
 * <p>Immutable; all methods may be called by any thread and allocate nothing.
 */
public final class SyscallTable {
  /** One more than the highest number that a row may have, on either ABI. */
  static final int NUMBERS = 512;

  // What the filter can tell of a call's arguments.

  private static final Condition ALWAYS = new Condition.Always();
  static final Condition NEVER = not(ALWAYS);

  private static final Condition DEVICE_FAMILY =
      all(
          not(is(0, Socket.AF_UNIX, Socket.AF_VSOCK)),
          any(
              not(is(0, Socket.AF_NETLINK)),
              is(
                  2,
                  Socket.NETLINK_ROUTE,
                  Socket.NETLINK_SOCK_DIAG,
                  Socket.NETLINK_NETFILTER,
                  Socket.NETLINK_GENERIC)));

  /** Network requests (0x89xx, 0x8Bxx of wireless, TUN's) and four of the tty's range. */
  private static final Condition NETWORK_REQUEST =
      any(
          masked(1, 0xFF00, 0x8900, 0x8B00),
          masked(1, 0xFFE0, 0x54C0),
          is(1, Ioctl.FIONREAD, Ioctl.SIOCOUTQ, Ioctl.FIONBIO, Ioctl.FIOASYNC));

  /**
   * What {@code fs/ioctl.c} and file systems know: the types f, v, X, 0x15, 0x94, and three more.
   */
  private static final Condition FILE_REQUEST =
      any(
          masked(1, 0xFF00, 0x6600, 0x7600, 0x5800, 0x1500, 0x9400),
          is(1, Ioctl.FIBMAP, Ioctl.FIGETBSZ, Ioctl.FIOQSIZE));

  /** A file's memory, to be written to and shared: rings are mapped so, and little else is. */
  private static final Condition SHARED_MAPPING =
      all(
          bits(2, Memory.PROT_WRITE),
          bits(3, Memory.MAP_SHARED),
          not(bits(3, Memory.MAP_ANONYMOUS)));

  private static final Row[] BY_X86 = new Row[NUMBERS];
  private static final Row[] BY_CANONICAL = new Row[NUMBERS];
  private static final List<Row> ROWS;

  static {
    Builder t = new Builder();
    files(t);
    paths(t);
    descriptors(t);
    sockets(t);
    waiting(t);
    events(t);
    memory(t);
    processes(t);
    identity(t);
    signals(t);
    scheduling(t);
    time(t);
    ipc(t);
    asynchronous(t);
    namespaces(t);
    machine(t);
    absent(t);
    ROWS = t.finish();
    for (Row r : ROWS) {
      BY_X86[r.x86()] = r;
      if (r.canonical() >= 0) {
        BY_CANONICAL[r.canonical()] = r;
      }
    }
  }

  private SyscallTable() {}

  /** The row of an x86-64 number; null for a number that has no call. */
  public static @Nullable Row byX86(int number) {
    return number >= 0 && number < NUMBERS ? BY_X86[number] : null;
  }

  /** The row of an asm-generic number; null for a number that has no call. */
  public static @Nullable Row byCanonical(int number) {
    return number >= 0 && number < NUMBERS ? BY_CANONICAL[number] : null;
  }

  /** The row of that name, or null. Walks the table: not for the hot path. */
  public static @Nullable Row byName(String name) {
    for (Row r : ROWS) {
      if (r.name().equals(name)) {
        return r;
      }
    }
    return null;
  }

  /**
   * The row of a call that is known to be in the table.
   *
   * @throws NullPointerException if it is not: our bug
   */
  public static Row row(String name) {
    return Objects.requireNonNull(byName(name), name);
  }

  /** All rows, by x86-64 number. */
  public static List<Row> rows() {
    return ROWS;
  }

  // spotless:off

  private static void files(Builder t) {
    t.device(  0,  63, "read(fd, out buf[count], count) -> bytes").blocks().overtakes();
    t.device(  1,  64, "write(fd, in buf[count], count) -> bytes").blocks().ahead();
    t.device( 19,  65, "readv(fd, iovout iov[iovcnt], iovcnt) -> bytes").blocks().overtakes();
    t.device( 20,  66, "writev(fd, iovin iov[iovcnt], iovcnt) -> bytes").blocks().ahead();
    t.file  ( 17,  67, "pread64(fd, out buf[count], count, offset) -> bytes").note("on a socket ESPIPE");
    t.file  ( 18,  68, "pwrite64(fd, in buf[count], count, offset) -> bytes").note("on a socket ESPIPE");
    t.file  (295,  69, "preadv(fd, iovout iov[iovcnt], iovcnt, offset, offset_high) -> bytes").note("on a socket ESPIPE");
    t.file  (296,  70, "pwritev(fd, iovin iov[iovcnt], iovcnt, offset, offset_high) -> bytes").note("on a socket ESPIPE");
    t.device(327, 286, "preadv2(fd, iovout iov[iovcnt], iovcnt, offset, offset_high, flags:RWF) -> bytes").blocks().when(isLong(3, -1)).whenExports(ALWAYS).note("without exports it traps only with offset -1, which makes it a readv");
    t.device(328, 287, "pwritev2(fd, iovin iov[iovcnt], iovcnt, offset, offset_high, flags:RWF) -> bytes").blocks().when(isLong(3, -1)).whenExports(ALWAYS).note("without exports it traps only with offset -1, which makes it a writev");
    t.device( 40,  71, "sendfile(fd out_fd, fd in_fd, inout offset[8], count) -> bytes").blocks().note("device to device without a copy; from a file of the host, or to a file, pipe or socket of it, the hook reads and writes; to a terminal or another device of the host EINVAL");
    t.device(275,  76, "splice(fd fd_in, inout off_in[8], fd fd_out, inout off_out[8], len, flags:SPLICE) -> bytes").blocks().note("between the program's pipe and a device fd the hook moves the bytes; a FIFO of the device and a file of the host EINVAL");
    t.file  (276,  77, "tee(fd fd_in, fd fd_out, len, flags:SPLICE) -> bytes").blocks().note("both must be pipes, of one kernel: another device fd is EINVAL as any socket or file");
    t.host  (278,  75, "vmsplice(fd, ptr iov, nr_segs, flags:SPLICE) -> bytes").note("fd must be a pipe: a device fd is EBADF as any socket or file, a FIFO of the device too");
    t.file  (326, 285, "copy_file_range(fd fd_in, inout off_in[8], fd fd_out, inout off_out[8], len, flags) -> bytes").note("between host and device EXDEV");
    t.device( 16,  29, "ioctl(fd, request:IOCTL, ioctl argp) -> value").looked().when(NETWORK_REQUEST).whenExports(any(NETWORK_REQUEST, FILE_REQUEST)).partial("the requests listed below; FIOCLEX and its kin are the host's, others answer ENOTTY. Those about interfaces are the device's on an AF_UNIX socket too; FIOASYNC and owners are the placeholder's");
    t.device(  8,  62, "lseek(fd, offset, whence) -> value");
    t.hookFd(  5,  80, "fstat(fd, out statbuf[stat])").note("by statx; a socket has the placeholder's inode number");
    t.file  ( 77,  46, "ftruncate(fd, length)");
    t.file  (285,  47, "fallocate(fd, mode, offset, len)");
    t.file  ( 74,  82, "fsync(fd)");
    t.file  ( 75,  83, "fdatasync(fd)");
    t.file  (306, 267, "syncfs(fd)");
    t.file  (277,  84, "sync_file_range(fd, offset, nbytes, flags)");
    t.file  (221, 223, "fadvise64(fd, offset, len, advice)");
    t.file  (187, 213, "readahead(fd, offset, count)");
    t.file  ( 73,  32, "flock(fd, operation)").blocks();
    t.host  ( 78,  -1, "getdents(fd, out dirp[count], count) -> bytes").via("getdents64");
    t.device(217,  61, "getdents64(fd, out dirp[count], count) -> bytes");
    t.file  (138,  44, "fstatfs(fd, out buf[statfs])");
    t.hookFd( 81,  50, "fchdir(fd)").note("a directory of the device becomes the working directory in the hook's books");
    t.file  ( 91,  52, "fchmod(fd, mode)");
    t.file  ( 93,  55, "fchown(fd, owner, group)");
    t.file  (190,   7, "fsetxattr(fd, str name, in value[size], size, flags)");
    t.file  (193,  10, "fgetxattr(fd, str name, out value[size], size) -> bytes");
    t.file  (196,  13, "flistxattr(fd, out list[size], size) -> bytes");
    t.file  (199,  16, "fremovexattr(fd, str name)");
    t.file  (451, 451, "cachestat(fd, in range[16], out stat[40], flags)");
  }

  private static void paths(Builder t) {
    t.path  (  2,  -1, "open(path, flags:O, mode:OCTAL) -> fd").via("openat").blocks();
    t.path  (257,  56, "openat(fd dirfd, path, flags:O, mode:OCTAL) -> fd").marshalled().blocks().note("/etc/resolv.conf is the device's text, too");
    t.path  (437, 437, "openat2(fd dirfd, path, in how[open_how], size) -> fd").marshalled().blocks();
    t.path  ( 85,  -1, "creat(path, mode) -> fd").via("openat").blocks();
    t.path  (  4,  -1, "stat(path, out statbuf[stat])").via("statx");
    t.path  (  6,  -1, "lstat(path, out statbuf[stat])").via("statx");
    t.path  (262,  79, "newfstatat(fd dirfd, path, out statbuf[stat], flags)").note("by statx");
    t.path  (332, 291, "statx(fd dirfd, path, flags, mask, out buf[statx])").marshalled();
    t.path  ( 21,  -1, "access(path, mode)").via("faccessat");
    t.path  (269,  48, "faccessat(fd dirfd, path, mode)").marshalled();
    t.path  (439, 439, "faccessat2(fd dirfd, path, mode, flags)").marshalled();
    t.path  ( 89,  -1, "readlink(path, out buf[size], size) -> bytes").via("readlinkat");
    t.path  (267,  78, "readlinkat(fd dirfd, path, out buf[size], size) -> bytes").marshalled();
    t.path  ( 76,  45, "truncate(path, length)").marshalled();
    t.path  (137,  43, "statfs(path, out buf[statfs])").marshalled();
    t.path  ( 79,  17, "getcwd(out buf[size], size) -> bytes");
    t.path  ( 80,  49, "chdir(path)").note("a directory of the device becomes the working directory in the hook's books");
    t.host  (161,  51, "chroot(path)");
    t.path  ( 82,  -1, "rename(path oldpath, path newpath)").via("renameat2");
    t.path  (264,  38, "renameat(fd olddirfd, path oldpath, fd newdirfd, path newpath)").note("crosses as renameat2; between host and device EXDEV");
    t.path  (316, 276, "renameat2(fd olddirfd, path oldpath, fd newdirfd, path newpath, flags)").marshalled().note("between host and device EXDEV");
    t.path  ( 83,  -1, "mkdir(path, mode)").via("mkdirat");
    t.path  (258,  34, "mkdirat(fd dirfd, path, mode)").marshalled();
    t.path  ( 84,  -1, "rmdir(path)").via("unlinkat");
    t.path  ( 86,  -1, "link(path oldpath, path newpath)").via("linkat");
    t.path  (265,  37, "linkat(fd olddirfd, path oldpath, fd newdirfd, path newpath, flags)").marshalled().note("between host and device EXDEV");
    t.path  ( 87,  -1, "unlink(path)").via("unlinkat");
    t.path  (263,  35, "unlinkat(fd dirfd, path, flags)").marshalled();
    t.path  ( 88,  -1, "symlink(str target, path linkpath)").via("symlinkat");
    t.path  (266,  36, "symlinkat(str target, fd newdirfd, path linkpath)").marshalled();
    t.path  (133,  -1, "mknod(path, mode, dev)").via("mknodat");
    t.path  (259,  33, "mknodat(fd dirfd, path, mode, dev)").marshalled();
    t.path  ( 90,  -1, "chmod(path, mode)").via("fchmodat");
    t.path  (268,  53, "fchmodat(fd dirfd, path, mode)").marshalled();
    t.path  (452, 452, "fchmodat2(fd dirfd, path, mode, flags)").marshalled();
    t.path  ( 92,  -1, "chown(path, owner, group)").via("fchownat");
    t.path  ( 94,  -1, "lchown(path, owner, group)").via("fchownat");
    t.path  (260,  54, "fchownat(fd dirfd, path, owner, group, flags)").marshalled();
    t.path  (132,  -1, "utime(path, in times[utimbuf])").via("utimensat");
    t.path  (235,  -1, "utimes(path, in times[32])").via("utimensat");
    t.path  (261,  -1, "futimesat(fd dirfd, path, in times[32])").via("utimensat");
    t.path  (280,  88, "utimensat(fd dirfd, path, in times[32], flags)").marshalled();
    t.path  (188,   5, "setxattr(path, str name, in value[size], size, flags)").marshalled();
    t.path  (189,   6, "lsetxattr(path, str name, in value[size], size, flags)").marshalled();
    t.path  (191,   8, "getxattr(path, str name, out value[size], size) -> bytes").marshalled();
    t.path  (192,   9, "lgetxattr(path, str name, out value[size], size) -> bytes").marshalled();
    t.path  (194,  11, "listxattr(path, out list[size], size) -> bytes").marshalled();
    t.path  (195,  12, "llistxattr(path, out list[size], size) -> bytes").marshalled();
    t.path  (197,  14, "removexattr(path, str name)").marshalled();
    t.path  (198,  15, "lremovexattr(path, str name)").marshalled();
    t.host  (463, 463, "setxattrat(fd dirfd, path, at_flags, ptr name, ptr args, size)");
    t.host  (464, 464, "getxattrat(fd dirfd, path, at_flags, ptr name, ptr args, size) -> bytes");
    t.host  (465, 465, "listxattrat(fd dirfd, path, at_flags, out list[size], size) -> bytes");
    t.host  (466, 466, "removexattrat(fd dirfd, path, at_flags, ptr name)");
    t.host  (468, 468, "file_getattr(fd dirfd, path, ptr attr, size, at_flags)");
    t.host  (469, 469, "file_setattr(fd dirfd, path, ptr attr, size, at_flags)");
    t.host  (303, 264, "name_to_handle_at(fd dirfd, path, ptr handle, ptr mount_id, flags)");
    t.host  (304, 265, "open_by_handle_at(fd mount_fd, ptr handle, flags) -> fd");
    t.host  ( 95, 166, "umask(mask) -> value");
    t.host  (162,  81, "sync()");
    t.host  (136,  -1, "ustat(dev, ptr ubuf)");
    t.host  (139,  -1, "sysfs(option, arg1, arg2) -> value");
  }

  private static void descriptors(Builder t) {
    t.hook  (  3,  57, "close(fd)").marshalled().note("continued; the last close reaches the device before its next call");
    t.hook  (436, 436, "close_range(first, last, flags:CLOSE_RANGE)");
    t.hook  ( 32,  23, "dup(fd oldfd) -> fd").note("the host's kernel shares the placeholder, hence the handle");
    t.hook  ( 33,  -1, "dup2(fd oldfd, newfd) -> fd").via("dup3");
    t.hook  (292,  24, "dup3(fd oldfd, newfd, flags:O) -> fd");
    t.hook  ( 72,  25, "fcntl(fd, cmd:F, fcntl arg) -> value").marshalled().blocks().when(is(1, Fcntl.F_DUPFD, Fcntl.F_DUPFD_CLOEXEC, Fcntl.F_SETFL, Fcntl.F_SETOWN, Fcntl.F_SETOWN_EX)).whenExports(is(1, Fcntl.F_DUPFD, Fcntl.F_DUPFD_CLOEXEC, Fcntl.F_SETFL, Fcntl.F_SETOWN, Fcntl.F_SETOWN_EX, Fcntl.F_GETFL, Fcntl.F_GETLK, Fcntl.F_SETLK, Fcntl.F_SETLKW, Fcntl.F_OFD_GETLK, Fcntl.F_OFD_SETLK, Fcntl.F_OFD_SETLKW, Fcntl.F_GETPIPE_SZ, Fcntl.F_SETPIPE_SZ, Fcntl.F_ADD_SEALS, Fcntl.F_GET_SEALS)).note("F_SETFL goes to both kernels; locks of a device file belong to the open file (as F_OFD_SETLK); O_ASYNC, owner and signal are the placeholder's, whose edges the host's kernel makes signals of");
    t.hook  (438, 438, "pidfd_getfd(fd pidfd, targetfd, flags) -> fd");
    t.host  ( 22,  -1, "pipe(out pipefd[8])").via("pipe2");
    t.host  (293,  59, "pipe2(out pipefd[8], flags)");
    t.host  (319, 279, "memfd_create(ptr name, flags) -> fd");
    t.host  (447, 447, "memfd_secret(flags) -> fd");
  }

  private static void sockets(Builder t) {
    t.family( 41, 198, "socket(domain:AF, type:SOCK, protocol) -> fd").when(DEVICE_FAMILY).note("AF_INET, AF_INET6, AF_PACKET, AF_ALG, AF_NETLINK (route, sock_diag, netfilter, generic); AF_UNIX, AF_VSOCK and other netlink are the host's");
    t.host  ( 53, 199, "socketpair(domain, type, protocol, out sv[8])").note("pairs are AF_UNIX; for other families the host answers EOPNOTSUPP as the device would");
    t.device( 49, 200, "bind(fd, addrin addr[addrlen], addrlen)");
    t.device( 50, 201, "listen(fd, backlog)");
    t.device( 43, 202, "accept(fd, addrout addr[addrlen], socklen addrlen) -> fd").blocks();
    t.device(288, 242, "accept4(fd, addrout addr[addrlen], socklen addrlen, flags:SOCK) -> fd").blocks();
    t.device( 42, 203, "connect(fd, addrin addr[addrlen], addrlen)").blocks();
    t.device( 51, 204, "getsockname(fd, addrout addr[addrlen], socklen addrlen)").overtakes().asks();
    t.device( 52, 205, "getpeername(fd, addrout addr[addrlen], socklen addrlen)").asks();
    t.device( 44, 206, "sendto(fd, in buf[len], len, flags:MSG, addrin addr[addrlen], addrlen) -> bytes").blocks().ahead();
    t.device( 45, 207, "recvfrom(fd, out buf[len], len, flags:MSG, addrout addr[addrlen], socklen addrlen) -> bytes").blocks().overtakes();
    t.device( 46, 211, "sendmsg(fd, msgin msg, flags:MSG) -> bytes").blocks().ahead().note("SCM_RIGHTS on a device fd is EINVAL");
    t.device( 47, 212, "recvmsg(fd, msgout msg, flags:MSG) -> bytes").blocks().overtakes();
    t.hookFd(307, 269, "sendmmsg(fd, ptr msgvec, vlen, flags:MSG) -> count").blocks().note("a loop of sendmsg");
    t.hookFd(299, 243, "recvmmsg(fd, ptr msgvec, vlen, flags:MSG, inout timeout[timespec]) -> count").blocks().note("a loop of recvmsg");
    t.device( 48, 210, "shutdown(fd, how:SHUT)");
    t.device( 54, 208, "setsockopt(fd, level:SOL, optname:SO, optin optval[optlen], optlen)").partial("the options listed below; others answer ENOPROTOOPT");
    t.device( 55, 209, "getsockopt(fd, level:SOL, optname:SO, optout optval[optlen], socklen optlen)").asks().partial("the options listed below; others answer ENOPROTOOPT");
  }

  private static void waiting(Builder t) {
    t.hook  (  7,  -1, "poll(inout fds[nfds*pollfd], nfds, timeout) -> count").via("ppoll").blocks().when(not(is(1, 0)));
    t.hook  (271,  73, "ppoll(inout fds[nfds*pollfd], nfds, inout timeout[timespec], in sigmask[8], sigsetsize) -> count").blocks().when(not(is(1, 0)));
    t.hook  ( 23,  -1, "select(n, inout readfds[fd_set], inout writefds[fd_set], inout exceptfds[fd_set], inout timeout[timeval]) -> count").via("pselect6").blocks().when(not(is(0, 0)));
    t.hook  (270,  72, "pselect6(n, inout readfds[fd_set], inout writefds[fd_set], inout exceptfds[fd_set], inout timeout[timespec], in sigmask[16]) -> count").blocks().when(not(is(0, 0)));
    t.host  (213,  -1, "epoll_create(size) -> fd").via("epoll_create1");
    t.host  (291,  20, "epoll_create1(flags:EPOLL_CREATE) -> fd").note("waits on placeholders, which mirror the device's readiness");
    t.hook  (233,  21, "epoll_ctl(fd epfd, op:EPOLL_CTL, fd, in event[epoll_event])");
    t.hook  (232,  -1, "epoll_wait(fd epfd, out events[maxevents*epoll_event], maxevents, timeout) -> count").via("epoll_pwait").blocks();
    t.hook  (281,  22, "epoll_pwait(fd epfd, out events[maxevents*epoll_event], maxevents, timeout, in sigmask[8], sigsetsize) -> count").blocks();
    t.hook  (441, 441, "epoll_pwait2(fd epfd, out events[maxevents*epoll_event], maxevents, in timeout[timespec], in sigmask[8], sigsetsize) -> count").blocks();
  }

  private static void events(Builder t) {
    t.host  (284,  -1, "eventfd(initval) -> fd").via("eventfd2");
    t.host  (290,  19, "eventfd2(initval, flags) -> fd");
    t.host  (282,  -1, "signalfd(fd, in mask[size], size) -> fd").via("signalfd4");
    t.host  (289,  74, "signalfd4(fd, in mask[size], size, flags) -> fd");
    t.host  (283,  85, "timerfd_create(clockid, flags) -> fd");
    t.host  (286,  86, "timerfd_settime(fd, flags, in new[itimerspec], out old[itimerspec])");
    t.host  (287,  87, "timerfd_gettime(fd, out cur[itimerspec])");
    t.host  (253,  -1, "inotify_init() -> fd").via("inotify_init1");
    t.host  (294,  26, "inotify_init1(flags) -> fd");
    t.path  (254,  27, "inotify_add_watch(fd, path, mask) -> value").partial("ENOSPC for a path of the device, which programs take as a sign to look by themselves");
    t.host  (255,  28, "inotify_rm_watch(fd, wd)");
    t.host  (300, 262, "fanotify_init(flags, event_flags) -> fd");
    t.host  (301, 263, "fanotify_mark(fd, flags, mask, fd dirfd, path)");
    t.host  (298, 241, "perf_event_open(ptr attr, pid, cpu, fd group_fd, flags) -> fd");
    t.host  (323, 282, "userfaultfd(flags) -> fd");
    t.request(321, 280, "bpf(cmd:BPF, ptr attr, size) -> value").blocks().partial("the host's, unless --bpf=device was given; then maps and programs of sockets, tc and XDP are the device's, by the commands listed below");
  }

  private static void memory(Builder t) {
    t.hookFd(  9, 222, "mmap(addr, length, prot, flags, fd, offset) -> address").when(SHARED_MAPPING).whenExports(not(bits(3, Memory.MAP_ANONYMOUS))).partial("a packet socket's PACKET_RX_RING, if shared and writable; a file of an export is mapped by copy: what it was then; ENODEV if the mapping would write to it");
    t.host  ( 11, 215, "munmap(addr, length)");
    t.host  ( 10, 226, "mprotect(addr, length, prot)");
    t.host  ( 25, 216, "mremap(addr, old_size, new_size, flags, new_addr) -> address");
    t.host  ( 26, 227, "msync(addr, length, flags)");
    t.host  ( 27, 232, "mincore(addr, length, ptr vec)");
    t.host  ( 28, 233, "madvise(addr, length, advice)");
    t.host  (440, 440, "process_madvise(fd pidfd, ptr iov, vlen, advice, flags) -> bytes");
    t.host  ( 12, 214, "brk(addr) -> address");
    t.host  (149, 228, "mlock(addr, length)");
    t.host  (325, 284, "mlock2(addr, length, flags)");
    t.host  (150, 229, "munlock(addr, length)");
    t.host  (151, 230, "mlockall(flags)");
    t.host  (152, 231, "munlockall()");
    t.host  (216, 234, "remap_file_pages(addr, size, prot, pgoff, flags)");
    t.host  (237, 235, "mbind(addr, length, mode, ptr nodemask, maxnode, flags)");
    t.host  (238, 237, "set_mempolicy(mode, ptr nodemask, maxnode)");
    t.host  (239, 236, "get_mempolicy(ptr mode, ptr nodemask, maxnode, addr, flags)");
    t.host  (450, 450, "set_mempolicy_home_node(addr, length, home_node, flags)");
    t.host  (256, 238, "migrate_pages(pid, maxnode, ptr old_nodes, ptr new_nodes) -> count");
    t.host  (279, 239, "move_pages(pid, count, ptr pages, ptr nodes, ptr status, flags)");
    t.host  (329, 288, "pkey_mprotect(addr, length, prot, pkey)");
    t.host  (330, 289, "pkey_alloc(flags, rights) -> value");
    t.host  (331, 290, "pkey_free(pkey)");
    t.host  (453, 453, "map_shadow_stack(addr, size, flags) -> address");
    t.host  (462, 462, "mseal(addr, length, flags)");
    t.host  (324, 283, "membarrier(cmd, flags, cpu) -> value");
    t.host  (310, 270, "process_vm_readv(pid, ptr local_iov, liovcnt, ptr remote_iov, riovcnt, flags) -> bytes");
    t.host  (311, 271, "process_vm_writev(pid, ptr local_iov, liovcnt, ptr remote_iov, riovcnt, flags) -> bytes");
    t.host  (448, 448, "process_mrelease(fd pidfd, flags)");
  }

  private static void processes(Builder t) {
    t.hook  ( 56, 220, "clone(flags:CLONE, ptr stack, ptr parent_tid, ptr child_tid, tls) -> pid").when(any(not(bits(0, Sched.CLONE_THREAD)), not(bits(0, Sched.CLONE_FILES)), bits(0, Sched.CLONE_NEWNET))).note("threads need no trap: they are met at their first one; CLONE_NEWNET is EINVAL");
    t.hook  (435, 435, "clone3(in cl_args[size], size) -> pid").note("CLONE_NEWNET is EINVAL");
    t.hook  ( 57,  -1, "fork() -> pid").via("clone").note("the child inherits placeholders, hence handles");
    t.hook  ( 58,  -1, "vfork() -> pid").via("clone");
    t.hook  ( 59, 221, "execve(path, ptr argv, ptr envp)").note("continued; close-on-exec is the host kernel's work; of a file of the device a copy is executed");
    t.hook  (322, 281, "execveat(fd dirfd, path, ptr argv, ptr envp, flags)").note("as execve");
    t.host  ( 60,  93, "exit(status) -> never");
    t.host  (231,  94, "exit_group(status) -> never");
    t.host  ( 61, 260, "wait4(pid, out wstatus[4], options, out rusage[rusage]) -> pid");
    t.host  (247,  95, "waitid(idtype, id, out info[siginfo], options, out rusage[rusage])");
    t.host  ( 39, 172, "getpid() -> pid");
    t.host  (110, 173, "getppid() -> pid");
    t.host  (186, 178, "gettid() -> pid");
    t.host  (218,  96, "set_tid_address(ptr tidptr) -> pid");
    t.host  (434, 434, "pidfd_open(pid, flags) -> fd");
    t.host  (312, 272, "kcmp(pid1, pid2, type, idx1, idx2) -> value");
    t.host  (101, 117, "ptrace(request, pid, addr, data) -> value");
    t.hook  (157, 167, "prctl(option, arg2, arg3, arg4, arg5) -> value").when(is(0, Seccomp.PR_SET_SECCOMP)).note("the host's kernel runs it; the hook takes note of a program's own seccomp filter");
    t.host  (158,  -1, "arch_prctl(code, addr)");
    t.host  (154,  -1, "modify_ldt(func, ptr ptr, bytecount) -> bytes");
    t.host  (205,  -1, "set_thread_area(ptr u_info)");
    t.host  (211,  -1, "get_thread_area(ptr u_info)");
    t.host  (135,  92, "personality(persona) -> value");
    t.hook  (317, 277, "seccomp(operation, flags, ptr args) -> value").when(is(0, Seccomp.SET_MODE_STRICT, Seccomp.SET_MODE_FILTER)).note("a filter of the program's own works, and all its calls trap from then on; one with a listener is EBUSY");
    t.host  (334, 293, "rseq(ptr rseq, len, flags, sig)");
    t.host  (273,  99, "set_robust_list(ptr head, len)");
    t.host  (274, 100, "get_robust_list(pid, ptr head_ptr, ptr len_ptr)");
    t.host  (109, 154, "setpgid(pid, pgid)");
    t.host  (121, 155, "getpgid(pid) -> pid");
    t.host  (111,  -1, "getpgrp() -> pid").via("getpgid");
    t.host  (112, 157, "setsid() -> pid");
    t.host  (124, 156, "getsid(pid) -> pid");
    t.host  (153,  58, "vhangup()");
    t.host  ( 97, 163, "getrlimit(resource, out rlim[rlimit])");
    t.host  (160, 164, "setrlimit(resource, in rlim[rlimit])");
    t.host  (302, 261, "prlimit64(pid, resource, in new[rlimit], out old[rlimit])");
    t.host  ( 98, 165, "getrusage(who, out usage[rusage])");
    t.host  (163,  89, "acct(path)");
    t.host  (444, 444, "landlock_create_ruleset(ptr attr, size, flags) -> fd").note("network rules do not reach the device");
    t.host  (445, 445, "landlock_add_rule(fd ruleset_fd, type, ptr attr, flags)");
    t.host  (446, 446, "landlock_restrict_self(fd ruleset_fd, flags)");
    t.host  (459, 459, "lsm_get_self_attr(attr, ptr ctx, ptr size, flags) -> count");
    t.host  (460, 460, "lsm_set_self_attr(attr, ptr ctx, size, flags)");
    t.host  (461, 461, "lsm_list_modules(ptr ids, ptr size, flags) -> count");
    t.host  (335,  -1, "uretprobe() -> value");
    t.host  (336,  -1, "uprobe() -> value");
  }

  private static void identity(Builder t) {
    t.host  (102, 174, "getuid() -> value");
    t.host  (107, 175, "geteuid() -> value");
    t.host  (104, 176, "getgid() -> value");
    t.host  (108, 177, "getegid() -> value");
    t.host  (118, 148, "getresuid(out ruid[4], out euid[4], out suid[4])");
    t.host  (120, 150, "getresgid(out rgid[4], out egid[4], out sgid[4])");
    t.host  (115, 158, "getgroups(size, out list[size*4]) -> count");
    t.host  (125,  90, "capget(ptr hdrp, ptr datap)");
    t.hook  (105, 146, "setuid(uid)").note("the shadow thread takes the new identity before its next call");
    t.hook  (106, 144, "setgid(gid)");
    t.hook  (113, 145, "setreuid(ruid, euid)");
    t.hook  (114, 143, "setregid(rgid, egid)");
    t.hook  (117, 147, "setresuid(ruid, euid, suid)");
    t.hook  (119, 149, "setresgid(rgid, egid, sgid)");
    t.hook  (122, 151, "setfsuid(uid) -> value");
    t.hook  (123, 152, "setfsgid(gid) -> value");
    t.hook  (116, 159, "setgroups(size, in list[size*4])");
    t.hook  (126,  91, "capset(in hdrp[user_cap_header], in datap[user_cap_data])");
  }

  private static void signals(Builder t) {
    t.hook  ( 13, 134, "rt_sigaction(signum, in act[sigaction], out oldact[sigaction], sigsetsize)").note("the host's kernel runs it, with an entry of the hook's before a handler that lacks SA_RESTART; a program that is about to cancel threads by glibc's signal does without the shim from then on");
    t.host  ( 14, 135, "rt_sigprocmask(how, in set[8], out oldset[8], sigsetsize)");
    t.host  ( 15, 139, "rt_sigreturn() -> value");
    t.host  (127, 136, "rt_sigpending(out set[8], sigsetsize)");
    t.host  (128, 137, "rt_sigtimedwait(in set[8], out info[siginfo], in timeout[timespec], sigsetsize) -> value");
    t.host  (129, 138, "rt_sigqueueinfo(pid, sig, in info[siginfo])");
    t.host  (297, 240, "rt_tgsigqueueinfo(tgid, tid, sig, in info[siginfo])");
    t.host  (130, 133, "rt_sigsuspend(in mask[8], sigsetsize)");
    t.host  (131, 132, "sigaltstack(in ss[stack_t], out old_ss[stack_t])");
    t.host  ( 62, 129, "kill(pid, sig)");
    t.host  (200, 130, "tkill(tid, sig)");
    t.host  (234, 131, "tgkill(tgid, tid, sig)");
    t.host  (424, 424, "pidfd_send_signal(fd pidfd, sig, in info[siginfo], flags)");
    t.host  ( 34,  -1, "pause()").via("ppoll");
    t.host  (219, 128, "restart_syscall() -> value");
  }

  private static void scheduling(Builder t) {
    t.host  ( 24, 124, "sched_yield()");
    t.host  (142, 118, "sched_setparam(pid, in param[sched_param])");
    t.host  (143, 121, "sched_getparam(pid, out param[sched_param])");
    t.host  (144, 119, "sched_setscheduler(pid, policy, in param[sched_param])");
    t.host  (145, 120, "sched_getscheduler(pid) -> value");
    t.host  (146, 125, "sched_get_priority_max(policy) -> value");
    t.host  (147, 126, "sched_get_priority_min(policy) -> value");
    t.host  (148, 127, "sched_rr_get_interval(pid, out tp[timespec])");
    t.host  (203, 122, "sched_setaffinity(pid, size, in mask[size])");
    t.host  (204, 123, "sched_getaffinity(pid, size, out mask[size]) -> bytes");
    t.host  (314, 274, "sched_setattr(pid, in attr[sched_attr], flags)");
    t.host  (315, 275, "sched_getattr(pid, out attr[size], size, flags)");
    t.host  (140, 141, "getpriority(which, who) -> value");
    t.host  (141, 140, "setpriority(which, who, prio)");
    t.host  (251,  30, "ioprio_set(which, who, ioprio)");
    t.host  (252,  31, "ioprio_get(which, who) -> value");
    t.host  (309, 168, "getcpu(out cpu[4], out node[4], ptr unused)");
    t.host  (202,  98, "futex(ptr uaddr, op, val, ptr timeout, ptr uaddr2, val3) -> value");
    t.host  (449, 449, "futex_waitv(ptr waiters, count, flags, in timeout[timespec], clockid) -> value");
    t.host  (454, 454, "futex_wake(ptr uaddr, mask, count, flags) -> count");
    t.host  (455, 455, "futex_wait(ptr uaddr, val, mask, flags, in timeout[timespec], clockid) -> value");
    t.host  (456, 456, "futex_requeue(ptr waiters, flags, nr_wake, nr_requeue) -> count");
  }

  private static void time(Builder t) {
    t.host  ( 35, 101, "nanosleep(in req[timespec], out rem[timespec])");
    t.host  (230, 115, "clock_nanosleep(clockid, flags, in req[timespec], out rem[timespec])");
    t.host  (228, 113, "clock_gettime(clockid, out tp[timespec])");
    t.host  (227, 112, "clock_settime(clockid, in tp[timespec])");
    t.host  (229, 114, "clock_getres(clockid, out res[timespec])");
    t.host  (305, 266, "clock_adjtime(clockid, inout buf[timex]) -> value");
    t.host  (159, 171, "adjtimex(inout buf[timex]) -> value");
    t.host  ( 96, 169, "gettimeofday(out tv[timeval], out tz[timezone])");
    t.host  (164, 170, "settimeofday(in tv[timeval], in tz[timezone])");
    t.host  (201,  -1, "time(out tloc[8]) -> value").via("clock_gettime");
    t.host  (100, 153, "times(out buf[tms]) -> value");
    t.host  ( 37,  -1, "alarm(seconds) -> value").via("setitimer");
    t.host  ( 36, 102, "getitimer(which, out cur[itimerval])");
    t.host  ( 38, 103, "setitimer(which, in new[itimerval], out old[itimerval])");
    t.host  (222, 107, "timer_create(clockid, in sevp[sigevent], out timerid[4])");
    t.host  (223, 110, "timer_settime(timerid, flags, in new[itimerspec], out old[itimerspec])");
    t.host  (224, 108, "timer_gettime(timerid, out cur[itimerspec])");
    t.host  (225, 109, "timer_getoverrun(timerid) -> count");
    t.host  (226, 111, "timer_delete(timerid)");
  }

  private static void ipc(Builder t) {
    t.host  ( 29, 194, "shmget(key, size, flags) -> value");
    t.host  ( 30, 196, "shmat(shmid, addr, flags) -> address");
    t.host  ( 31, 195, "shmctl(shmid, cmd, ptr buf) -> value");
    t.host  ( 67, 197, "shmdt(addr)");
    t.host  ( 64, 190, "semget(key, nsems, flags) -> value");
    t.host  ( 65, 193, "semop(semid, in sops[nsops*sembuf], nsops)");
    t.host  (220, 192, "semtimedop(semid, in sops[nsops*sembuf], nsops, in timeout[timespec])");
    t.host  ( 66, 191, "semctl(semid, semnum, cmd, ptr arg) -> value");
    t.host  ( 68, 186, "msgget(key, flags) -> value");
    t.host  ( 69, 189, "msgsnd(msqid, ptr msgp, size, flags)");
    t.host  ( 70, 188, "msgrcv(msqid, ptr msgp, size, type, flags) -> bytes");
    t.host  ( 71, 187, "msgctl(msqid, cmd, ptr buf) -> value");
    t.host  (240, 180, "mq_open(ptr name, flags, mode, in attr[mq_attr]) -> fd");
    t.host  (241, 181, "mq_unlink(ptr name)");
    t.host  (242, 182, "mq_timedsend(fd, in msg[len], len, prio, in timeout[timespec])");
    t.host  (243, 183, "mq_timedreceive(fd, out msg[len], len, out prio[4], in timeout[timespec]) -> bytes");
    t.host  (244, 184, "mq_notify(fd, in sevp[sigevent])").note("a socket for SIGEV_THREAD must be netlink of the host");
    t.host  (245, 185, "mq_getsetattr(fd, in new[mq_attr], out old[mq_attr])");
    t.host  (248, 217, "add_key(ptr type, ptr description, in payload[len], len, keyring) -> value");
    t.host  (249, 218, "request_key(ptr type, ptr description, ptr callout, keyring) -> value");
    t.host  (250, 219, "keyctl(operation, arg2, arg3, arg4, arg5) -> value");
  }

  private static void asynchronous(Builder t) {
    String hidden = "its operations would pass the hook unseen; programs fall back";
    t.told  (425, 425, "io_uring_setup(entries, ptr params) -> fd",                                       ENOSYS, hidden);
    t.refuse(426, 426, "io_uring_enter(fd, to_submit, min_complete, flags, ptr arg, argsz) -> count",     ENOSYS, hidden);
    t.refuse(427, 427, "io_uring_register(fd, opcode, ptr arg, nr_args) -> value",                        ENOSYS, hidden);
    t.told  (206,   0, "io_setup(nr_events, ptr ctx_idp)",                                                ENOSYS, hidden);
    t.refuse(207,   1, "io_destroy(ctx_id)",                                                              ENOSYS, hidden);
    t.refuse(209,   2, "io_submit(ctx_id, nr, ptr iocbpp) -> count",                                      ENOSYS, hidden);
    t.refuse(210,   3, "io_cancel(ctx_id, ptr iocb, ptr result)",                                         ENOSYS, hidden);
    t.refuse(208,   4, "io_getevents(ctx_id, min_nr, nr, ptr events, ptr timeout) -> count",              ENOSYS, hidden);
    t.refuse(333, 292, "io_pgetevents(ctx_id, min_nr, nr, ptr events, ptr timeout, ptr usig) -> count",   ENOSYS, hidden);
  }

  private static void namespaces(Builder t) {
    t.hook  (272,  97, "unshare(flags:CLONE)").when(bits(0, Sched.CLONE_FILES | Sched.CLONE_NEWUSER | Sched.CLONE_NEWNET)).partial("CLONE_NEWNET is EINVAL: a device has one network");
    t.hook  (308, 268, "setns(fd, nstype:CLONE)").partial("to a network namespace it is EINVAL: a device has one network");
    t.host  (165,  40, "mount(path source, path target, ptr type, flags, ptr data)");
    t.host  (166,  39, "umount2(path target, flags)");
    t.host  (155,  41, "pivot_root(path new_root, path put_old)");
    t.host  (428, 428, "open_tree(fd dirfd, path, flags) -> fd");
    t.host  (467, 467, "open_tree_attr(fd dirfd, path, flags, ptr attr, size) -> fd");
    t.host  (429, 429, "move_mount(fd from_dirfd, path from_path, fd to_dirfd, path to_path, flags)");
    t.host  (430, 430, "fsopen(ptr fsname, flags) -> fd");
    t.host  (431, 431, "fsconfig(fd, cmd, ptr key, ptr value, aux)");
    t.host  (432, 432, "fsmount(fd, flags, attr_flags) -> fd");
    t.host  (433, 433, "fspick(fd dirfd, path, flags) -> fd");
    t.host  (442, 442, "mount_setattr(fd dirfd, path, flags, ptr attr, size)");
    t.host  (457, 457, "statmount(ptr req, ptr buf, bufsize, flags)");
    t.host  (458, 458, "listmount(ptr req, ptr ids, count, flags) -> count");
    t.host  (179,  60, "quotactl(cmd, path special, id, ptr addr)");
    t.host  (443, 443, "quotactl_fd(fd, cmd, id, ptr addr)");
  }

  private static void machine(Builder t) {
    t.host  ( 63, 160, "uname(out buf[utsname])").note("the host's: programs take it for the machine they run on");
    t.host  (170, 161, "sethostname(ptr name, len)");
    t.host  (171, 162, "setdomainname(ptr name, len)");
    t.host  ( 99, 179, "sysinfo(out info[sysinfo])");
    t.host  (103, 116, "syslog(type, ptr bufp, len) -> value");
    t.host  (318, 278, "getrandom(out buf[buflen], buflen, flags) -> bytes");
    t.host  (169, 142, "reboot(magic, magic2, cmd, ptr arg)");
    t.host  (167, 224, "swapon(path, flags)");
    t.host  (168, 225, "swapoff(path)");
    t.host  (172,  -1, "iopl(level)");
    t.host  (173,  -1, "ioperm(from, num, turn_on)");
    t.host  (175, 105, "init_module(ptr image, len, ptr params)");
    t.host  (313, 273, "finit_module(fd, ptr params, flags)");
    t.host  (176, 106, "delete_module(ptr name, flags)");
    t.host  (246, 104, "kexec_load(entry, nr_segments, ptr segments, flags)");
    t.host  (320, 294, "kexec_file_load(fd kernel_fd, fd initrd_fd, cmdline_len, ptr cmdline, flags)");
  }

  /** Numbers that have a name but, in any kernel that can be the host's, no call. */
  private static void absent(Builder t) {
    t.host  (134,  -1, "uselib(path)").note("no longer in Linux: ENOSYS");
    t.host  (156,  -1, "_sysctl(ptr args)").note("no longer in Linux: ENOSYS");
    t.host  (174,  -1, "create_module()").note("no longer in Linux: ENOSYS");
    t.host  (177,  -1, "get_kernel_syms()").note("no longer in Linux: ENOSYS");
    t.host  (178,  -1, "query_module()").note("no longer in Linux: ENOSYS");
    t.host  (180,  42, "nfsservctl()").note("no longer in Linux: ENOSYS");
    t.host  (181,  -1, "getpmsg()").note("never in Linux: ENOSYS");
    t.host  (182,  -1, "putpmsg()").note("never in Linux: ENOSYS");
    t.host  (183,  -1, "afs_syscall()").note("never in Linux: ENOSYS");
    t.host  (184,  -1, "tuxcall()").note("never in Linux: ENOSYS");
    t.host  (185,  -1, "security()").note("never in Linux: ENOSYS");
    t.host  (212,  18, "lookup_dcookie(cookie, out buf[len], len) -> bytes").note("no longer in Linux: ENOSYS");
    t.host  (214,  -1, "epoll_ctl_old()").note("never in Linux: ENOSYS");
    t.host  (215,  -1, "epoll_wait_old()").note("never in Linux: ENOSYS");
    t.host  (236,  -1, "vserver()").note("never in Linux: ENOSYS");
  }

  // spotless:on

  /** Collects rows; lives while the class is initialised. */
  private static final class Builder {
    private final List<Draft> drafts = new ArrayList<>(NUMBERS);

    private Draft add(int x86, int canonical, String prototype, Route route, Support support) {
      Draft d = new Draft(x86, canonical, Prototype.parse(prototype), route, support);
      drafts.add(d);
      return d;
    }

    /** The host's kernel runs it, untrapped. */
    Draft host(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.HOST, Support.HOST);
    }

    /** The device runs it on a device fd. */
    Draft device(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.FD, Support.SUPPORTED).marshalled();
    }

    /** The hook serves it on a device fd, by other calls if need be. */
    Draft hookFd(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.FD, Support.SUPPORTED);
    }

    /** The hook takes note of it, or serves it. */
    Draft hook(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.PROCESS, Support.SUPPORTED);
    }

    /** As {@link #device}, but trapped only where the device has exports. */
    Draft file(int x86, int canonical, String prototype) {
      return device(x86, canonical, prototype).when(NEVER).whenExports(ALWAYS);
    }

    /** The device runs it if the session asks for it; marshallers of its own know it. */
    Draft request(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.REQUEST, Support.SUPPORTED);
    }

    /** Its path decides. */
    Draft path(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.PATH, Support.SUPPORTED);
    }

    /** Its socket family decides. */
    Draft family(int x86, int canonical, String prototype) {
      return add(x86, canonical, prototype, Route.FAMILY, Support.SUPPORTED).marshalled();
    }

    /** The hook refuses it, and counts how often. */
    void told(int x86, int canonical, String prototype, int errno, String why) {
      add(x86, canonical, prototype, Route.PROCESS, Support.REFUSED).errno(errno).note(why);
    }

    /** Nobody runs it, and nobody knows. */
    void refuse(int x86, int canonical, String prototype, int errno, String why) {
      add(x86, canonical, prototype, Route.REFUSED, Support.REFUSED).errno(errno).note(why);
    }

    List<Row> finish() {
      Row[] rows = new Row[drafts.size()];
      for (int i = 0; i < rows.length; i++) {
        rows[i] = drafts.get(i).row();
      }
      Arrays.sort(rows, (a, b) -> Integer.compare(a.x86(), b.x86()));
      return List.of(rows);
    }
  }

  /** A row that is being written. */
  private static final class Draft {
    private final int x86;
    private final int canonical;
    private final Prototype prototype;
    private final Route route;
    private Support support;
    private boolean device;
    private boolean mayBlock;
    private boolean mayGoAhead;
    private boolean overtakes;
    private boolean asks;
    private boolean looked;
    private int errno;
    private Condition trapWhen = ALWAYS;
    private @Nullable Condition trapWhenExports;
    private String carrier = "";
    private String note = "";

    Draft(int x86, int canonical, Prototype prototype, Route route, Support support) {
      this.x86 = x86;
      this.canonical = canonical;
      this.prototype = prototype;
      this.route = route;
      this.support = support;
    }

    /** Both marshallers know it. */
    Draft marshalled() {
      device = true;
      return this;
    }

    /** It may wait for what others do. */
    Draft blocks() {
      mayBlock = true;
      return this;
    }

    /** It sends what a stream may send later. */
    Draft ahead() {
      mayGoAhead = true;
      return this;
    }

    /** It is not about what its file sends. */
    Draft overtakes() {
      overtakes = true;
      return this;
    }

    /** It only asks what there is to know of a socket. */
    Draft asks() {
      asks = true;
      return this;
    }

    /** The hook has something to do even if the descriptor is the host's. */
    Draft looked() {
      looked = true;
      return this;
    }

    /** It traps only then. */
    Draft when(Condition c) {
      trapWhen = c;
      return this;
    }

    /** Where the device has exports it traps then instead. */
    Draft whenExports(Condition c) {
      trapWhenExports = c;
      return this;
    }

    /** The asm-generic call that does its work. */
    Draft via(String name) {
      carrier = name;
      return this;
    }

    Draft note(String text) {
      note = text;
      return this;
    }

    /** It works but for what the text says. */
    Draft partial(String text) {
      support = Support.PARTIAL;
      return note(text);
    }

    Draft errno(int number) {
      errno = number;
      return this;
    }

    Row row() {
      return new Row(
          prototype.name(),
          x86,
          canonical,
          prototype.args(),
          prototype.result(),
          route,
          device,
          mayBlock,
          mayGoAhead,
          overtakes,
          asks,
          !looked,
          support,
          errno,
          trapWhen,
          trapWhenExports == null ? trapWhen : trapWhenExports,
          carrier,
          note);
    }
  }
}
