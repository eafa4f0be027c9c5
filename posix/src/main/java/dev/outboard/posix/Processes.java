// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Calls on other processes: their memory, descriptors, signals and ends.
 *
 * <p>Same rules as {@link Linux}: results or {@code -errno}, any platform thread, caller-owned
 * memory.
 */
public final class Processes {
  public static final int SIG_INT = 2;
  public static final int SIG_QUIT = 3;
  public static final int SIG_KILL = 9;
  public static final int SIG_PIPE = 13;
  public static final int SIG_TERM = 15;
  public static final int SIG_CONT = 18;
  public static final int SIG_STOP = 19;
  public static final int SIG_TSTP = 20;
  public static final int SIG_TTIN = 21;
  public static final int SIG_TTOU = 22;

  public static final int P_ALL = 0;
  public static final int P_PID = 1;
  public static final int WNOHANG = 1;
  public static final int WSTOPPED = 2;
  public static final int WEXITED = 4;
  public static final int WCONTINUED = 8;
  public static final int WNOWAIT = 0x01000000;

  /** {@code siginfo_t} as {@code waitid(2)} fills it: bytes, and the offsets of what it fills. */
  public static final int SIGINFO_BYTES = 128;

  public static final int SIGINFO_CODE = 8;
  public static final int SIGINFO_PID = 16;
  public static final int SIGINFO_STATUS = 24;

  public static final int CLD_EXITED = 1;
  public static final int CLD_KILLED = 2;
  public static final int CLD_DUMPED = 3;
  public static final int CLD_STOPPED = 5;
  public static final int CLD_CONTINUED = 6;

  public static final int PR_SET_DUMPABLE = 4;
  public static final int PR_SET_CHILD_SUBREAPER = 36;
  public static final int PR_SET_NO_NEW_PRIVS = 38;

  public static final int RLIMIT_NOFILE = 7;

  public static final int PTRACE_GETREGS = 12;
  public static final int PTRACE_SETREGS = 13;
  public static final int PTRACE_DETACH = 17;
  public static final int PTRACE_SYSCALL = 24;
  public static final int PTRACE_GETSIGINFO = 0x4202;
  public static final int PTRACE_SEIZE = 0x4206;
  public static final int PTRACE_INTERRUPT = 0x4207;
  public static final int PTRACE_O_TRACESYSGOOD = 1;
  public static final int PTRACE_GETSIGMASK = 0x420A;
  public static final int PTRACE_SETSIGMASK = 0x420B;
  public static final int PTRACE_GET_SYSCALL_INFO = 0x420E;

  /** Above a stop's {@code si_code} if it is one that was asked for, or of the whole group. */
  private static final int PTRACE_EVENT_STOP = 128;

  private static final int WALL = 0x40000000;

  private Processes() {}

  /** {@code process_vm_readv(2)} with one iovec array here and one there; bytes or -errno. */
  public static long readMemory(int pid, long here, int hereCount, long there, int thereCount) {
    return Linux.syscall(
        SyscallNumbers.PROCESS_VM_READV, pid, here, hereCount, there, thereCount, 0);
  }

  /** {@code process_vm_writev(2)} with one iovec array here and one there; bytes or -errno. */
  public static long writeMemory(int pid, long here, int hereCount, long there, int thereCount) {
    return Linux.syscall(
        SyscallNumbers.PROCESS_VM_WRITEV, pid, here, hereCount, there, thereCount, 0);
  }

  /** {@code pidfd_open(2)} of a process; always close-on-exec. */
  public static long pidfdOpen(int pid) {
    return Linux.syscall(SyscallNumbers.PIDFD_OPEN, pid);
  }

  /** {@code pidfd_getfd(2)}: a copy of another process's descriptor; close-on-exec. */
  public static long pidfdGetfd(int pidfd, int theirFd) {
    return Linux.syscall(SyscallNumbers.PIDFD_GETFD, pidfd, theirFd, 0);
  }

  /** {@code pidfd_send_signal(2)}. */
  public static long pidfdSendSignal(int pidfd, int signal) {
    return Linux.syscall(SyscallNumbers.PIDFD_SEND_SIGNAL, pidfd, signal, 0);
  }

  /** {@code kill(2)}. */
  public static long kill(int pid, int signal) {
    return Linux.syscall(SyscallNumbers.KILL, pid, signal, 0);
  }

  /** {@code tgkill(2)}; signal 0 asks whether the thread is alive and of that process. */
  public static long tgkill(int pid, int tid, int signal) {
    return Linux.syscall(SyscallNumbers.TGKILL, pid, tid, signal);
  }

  /** {@code getpid(2)}. */
  public static int getpid() {
    return (int) Linux.syscall(SyscallNumbers.GETPID, 0);
  }

  /** {@code gettid(2)}. */
  public static int gettid() {
    return (int) Linux.syscall(SyscallNumbers.GETTID, 0);
  }

  /** {@code prctl(2)} with one argument. */
  public static long prctl(int option, long argument) {
    return Linux.syscall(SyscallNumbers.PRCTL, option, argument, 0);
  }

  /** {@code prlimit(2)}; either address may be 0. */
  public static long prlimit(int pid, int resource, long newLimit, long oldLimit) {
    return Linux.syscall(SyscallNumbers.PRLIMIT64, pid, resource, newLimit, oldLimit, 0, 0);
  }

  /** {@code waitid(2)}; {@code info} is {@link #SIGINFO_BYTES} bytes or 0. */
  public static long waitid(int idType, int id, long info, int options) {
    return Linux.syscall(SyscallNumbers.WAITID, idType, id, info, options, 0, 0);
  }

  /** {@code wait4(2)} for one task of any kind, traced threads included. */
  public static long waitTask(int tid, long status, int options) {
    return Linux.syscall(SyscallNumbers.WAIT4, tid, status, options | WALL, 0, 0, 0);
  }

  /** {@code ptrace(2)}. */
  public static long ptrace(int request, int tid, long address, long data) {
    return Linux.syscall(SyscallNumbers.PTRACE, request, tid, address, data, 0, 0);
  }

  /**
   * The signal for whose delivery a thread traced by the caller has stopped.
   *
   * @param info of {@link #SIGINFO_BYTES} bytes, overwritten
   * @return 0 if it has stopped for something else, or {@code -errno} if it has not
   */
  public static long stoppedFor(int tid, MemorySegment info) {
    long r = ptrace(PTRACE_GETSIGINFO, tid, 0, info.address());
    if (r < 0) {
      return r;
    }
    boolean event = info.get(ValueLayout.JAVA_INT, SIGINFO_CODE) >> 8 == PTRACE_EVENT_STOP;
    return event ? 0 : info.get(ValueLayout.JAVA_INT, 0);
  }

  /**
   * Lets go of a thread traced by the caller, once it has stopped. A signal for whose delivery it
   * did is delivered: without its number {@code PTRACE_DETACH} would drop it.
   *
   * @param info as of {@link #stoppedFor}
   * @return 0 or {@code -errno}: ESRCH if it has not stopped
   */
  public static long detach(int tid, MemorySegment info) {
    long signal = stoppedFor(tid, info);
    return signal < 0 ? signal : ptrace(PTRACE_DETACH, tid, 0, signal);
  }

  /** {@code openat(2)}. */
  public static long openat(int dirFd, long path, int flags) {
    return Linux.syscall(SyscallNumbers.OPENAT, dirFd, path, flags);
  }

  /** {@code pread(2)}. */
  public static long pread(int fd, long address, long bytes, long offset) {
    return Linux.syscall(SyscallNumbers.PREAD64, fd, address, bytes, offset, 0, 0);
  }

  /** {@code fstatat(2)} into a {@code struct stat} of {@link #STAT_BYTES}. */
  public static long fstatat(int dirFd, long path, long stat, int flags) {
    return Linux.syscall(SyscallNumbers.NEWFSTATAT, dirFd, path, stat, flags, 0, 0);
  }

  /** {@code struct stat} of x86-64: bytes, and the offsets of what is used. */
  public static final int STAT_BYTES = 144;

  public static final int STAT_DEV = 0;
  public static final int STAT_INO = 8;
  public static final int STAT_MODE = 24;
  public static final int STAT_UID = 28;
  public static final int STAT_GID = 32;

  /** The address of this process's environment: {@code environ(7)}. */
  static long environ() {
    return Linker.nativeLinker()
        .defaultLookup()
        .findOrThrow("environ")
        .reinterpret(ValueLayout.JAVA_LONG.byteSize())
        .get(ValueLayout.JAVA_LONG, 0);
  }
}
