// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Architecture;
import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/**
 * System calls of the kernel that this process runs on.
 *
 * <p>Every method returns what the kernel returned: a result that is zero or more, or {@code
 * -errno} (see {@code errno(3)}). No method throws, blocks longer than the call itself, or
 * allocates on the Java heap once its thread has made one call. All methods may be called by any
 * platform thread; a call that blocks pins its carrier, so virtual threads must not make it.
 *
 * <p>Addresses are plain {@code long}s: the owner of the memory is the caller, who keeps it alive
 * for the length of the call.
 */
public final class Linux {
  /** {@code long syscall(long nr, ...)} of libc: the kernel's calls, whatever libc wraps. */
  private static final CFunction SYSCALL = CFunction.ofLibc("syscall");

  private static final boolean AS_ON_X86 = Architecture.MACHINE == Architecture.X86_64;

  /** Bytes of the kernel's {@code sigset_t}, the same on all machines. */
  private static final int SIGSET_BYTES = 8;

  private Linux() {}

  /**
   * Makes a system call of {@link SyscallNumbers}, on any machine: its number, and flags of {@code
   * open(2)} in its registers, are turned into the machine's. What lies in memory is the caller's
   * to turn ({@link Architecture}).
   *
   * @return the result, or {@code -errno}
   */
  public static long syscall(int nr, long a0, long a1, long a2, long a3, long a4, long a5) {
    return AS_ON_X86
        ? SYSCALL.callOrErrno(nr, a0, a1, a2, a3, a4, a5)
        : turned(nr, a0, a1, a2, a3, a4, a5);
  }

  private static long turned(int nr, long a0, long a1, long a2, long a3, long a4, long a5) {
    Architecture machine = Architecture.MACHINE;
    int own = machine.number(nr);
    return switch (nr) {
      // Not there: libc's make others of them.
      case SyscallNumbers.POLL -> LibcPoll.FUNCTION.callIntOrErrno(a0, a1, a2);
      case SyscallNumbers.EPOLL_WAIT ->
          machineSyscall(
              machine.number(SyscallNumbers.EPOLL_PWAIT), a0, a1, a2, a3, 0, SIGSET_BYTES);
      case SyscallNumbers.OPENAT ->
          machineSyscall(own, a0, a1, machine.openFlags((int) a2), a3, a4, a5);
      case SyscallNumbers.FCNTL -> {
        boolean sets = a1 == Fcntl.F_SETFL;
        long r = machineSyscall(own, a0, a1, sets ? machine.openFlags((int) a2) : a2, 0, 0, 0);
        yield a1 == Fcntl.F_GETFL && r >= 0 ? machine.canonicalOpenFlags((int) r) : r;
      }
      default -> own < 0 ? -Errno.ENOSYS : machineSyscall(own, a0, a1, a2, a3, a4, a5);
    };
  }

  /** Looked up where it is needed. */
  private static final class LibcPoll {
    static final CFunction FUNCTION = CFunction.ofLibc("poll");
  }

  /**
   * Makes a system call with this machine's own number and arguments.
   *
   * @return the result, or {@code -errno}
   */
  public static long machineSyscall(int nr, long a0, long a1, long a2, long a3, long a4, long a5) {
    return SYSCALL.callOrErrno(nr, a0, a1, a2, a3, a4, a5);
  }

  public static long syscall(int nr, long a0, long a1, long a2) {
    return syscall(nr, a0, a1, a2, 0, 0, 0);
  }

  public static long syscall(int nr, long a0) {
    return syscall(nr, a0, 0, 0, 0, 0, 0);
  }

  /** {@code read(2)} of at most {@code count} bytes to {@code address}. */
  public static long read(int fd, long address, long count) {
    return syscall(SyscallNumbers.READ, fd, address, count);
  }

  /** {@code write(2)} of at most {@code count} bytes from {@code address}. */
  public static long write(int fd, long address, long count) {
    return syscall(SyscallNumbers.WRITE, fd, address, count);
  }

  /** {@code readv(2)} into the {@code count} of {@code struct iovec} at {@code vectors}. */
  public static long readv(int fd, long vectors, int count) {
    return syscall(SyscallNumbers.READV, fd, vectors, count);
  }

  /** {@code writev(2)} of the {@code count} of {@code struct iovec} at {@code vectors}. */
  public static long writev(int fd, long vectors, int count) {
    return syscall(SyscallNumbers.WRITEV, fd, vectors, count);
  }

  /** {@code eventfd2(2)}: a counter that starts at zero; its descriptor, or {@code -errno}. */
  public static long eventfd(int flags) {
    return syscall(SyscallNumbers.EVENTFD2, 0, flags, 0);
  }

  /** {@code openat(2)} relative to the working directory; {@code path} is a C string's address. */
  public static long open(long path, int flags) {
    return syscall(SyscallNumbers.OPENAT, -100, path, flags);
  }

  /** {@code pipe2(2)}; the two descriptors go to the two {@code int}s at {@code address}. */
  public static long pipe2(long address, int flags) {
    return syscall(SyscallNumbers.PIPE2, address, flags, 0);
  }

  /** {@code splice(2)} at the files' own positions; {@code flags} are {@code Splice}'s. */
  public static long splice(int from, int to, long count, int flags) {
    return syscall(SyscallNumbers.SPLICE, from, 0, to, 0, count, flags);
  }

  /** {@code tee(2)}: copies from one pipe to another without taking anything out. */
  public static long tee(int from, int to, long count, int flags) {
    return syscall(SyscallNumbers.TEE, from, to, count, flags, 0, 0);
  }

  /** {@code wait4(2)} for one child; its status goes to {@code statusAddress}, which may be 0. */
  public static long wait4(int pid, long statusAddress, int options) {
    return syscall(SyscallNumbers.WAIT4, pid, statusAddress, options, 0, 0, 0);
  }

  /** {@code kill(2)}. */
  public static long kill(int pid, int signal) {
    return syscall(SyscallNumbers.KILL, pid, signal, 0);
  }

  /** {@code close(2)}. The descriptor is gone whatever the result. */
  public static long close(int fd) {
    return syscall(SyscallNumbers.CLOSE, fd);
  }

  /** {@code fcntl(2)} with an integer argument. */
  public static long fcntl(int fd, int command, long argument) {
    return syscall(SyscallNumbers.FCNTL, fd, command, argument);
  }

  /** {@code ioctl(2)}. */
  public static long ioctl(int fd, long request, long argument) {
    return syscall(SyscallNumbers.IOCTL, fd, request, argument);
  }

  /** {@code socket(2)}; a descriptor, or {@code -errno}. */
  public static long socket(int family, int type, int protocol) {
    return syscall(SyscallNumbers.SOCKET, family, type, protocol);
  }

  /** {@code socketpair(2)}; the two descriptors go to the two {@code int}s at {@code address}. */
  public static long socketpair(int family, int type, int protocol, long address) {
    return syscall(SyscallNumbers.SOCKETPAIR, family, type, protocol, address, 0, 0);
  }

  /** {@code bind(2)}. */
  public static long bind(int fd, long address, int length) {
    return syscall(SyscallNumbers.BIND, fd, address, length);
  }

  /** {@code listen(2)}. */
  public static long listen(int fd, int backlog) {
    return syscall(SyscallNumbers.LISTEN, fd, backlog, 0);
  }

  /** {@code connect(2)}. */
  public static long connect(int fd, long address, int length) {
    return syscall(SyscallNumbers.CONNECT, fd, address, length);
  }

  /** {@code accept4(2)} without the peer's address; blocks if the socket does. */
  public static long accept4(int fd, int flags) {
    return syscall(SyscallNumbers.ACCEPT4, fd, 0, 0, flags, 0, 0);
  }

  /** {@code shutdown(2)}. */
  public static long shutdown(int fd, int how) {
    return syscall(SyscallNumbers.SHUTDOWN, fd, how, 0);
  }

  /** {@code sendmsg(2)} of the {@code struct msghdr} at {@code message}. */
  public static long sendmsg(int fd, long message, int flags) {
    return syscall(SyscallNumbers.SENDMSG, fd, message, flags);
  }

  /** {@code recvmsg(2)} into the {@code struct msghdr} at {@code message}. */
  public static long recvmsg(int fd, long message, int flags) {
    return syscall(SyscallNumbers.RECVMSG, fd, message, flags);
  }

  /** {@code setsockopt(2)}. */
  public static long setsockopt(int fd, int level, int name, long address, int length) {
    return syscall(SyscallNumbers.SETSOCKOPT, fd, level, name, address, length, 0);
  }

  /** {@code getsockopt(2)}; {@code lengthAddress} is that of an {@code int}, in and out. */
  public static long getsockopt(int fd, int level, int name, long address, long lengthAddress) {
    return syscall(SyscallNumbers.GETSOCKOPT, fd, level, name, address, lengthAddress, 0);
  }

  /** {@code sendto(2)} without an address. */
  public static long send(int fd, long address, long count, int flags) {
    return syscall(SyscallNumbers.SENDTO, fd, address, count, flags, 0, 0);
  }

  /** {@code recvfrom(2)} without an address. */
  public static long recv(int fd, long address, long count, int flags) {
    return syscall(SyscallNumbers.RECVFROM, fd, address, count, flags, 0, 0);
  }

  /** {@code fstat(2)} into the {@code struct stat} (144 bytes on x86-64) at {@code address}. */
  public static long fstat(int fd, long address) {
    return syscall(SyscallNumbers.FSTAT, fd, address, 0);
  }

  /** {@code pidfd_getfd(2)}: a copy of descriptor {@code fd} of the process, close-on-exec. */
  public static long pidfdGetfd(int pidfd, int fd) {
    return syscall(SyscallNumbers.PIDFD_GETFD, pidfd, fd, 0);
  }

  /**
   * {@code clock_gettime(2)} for CLOCK_THREAD_CPUTIME_ID: what the calling thread has used.
   *
   * @param scratch 16 aligned bytes of the caller's, which are overwritten
   * @return nanoseconds, or {@code -errno}
   */
  public static long threadCpuNanos(MemorySegment scratch) {
    long r = syscall(SyscallNumbers.CLOCK_GETTIME, 3, scratch.address(), 0);
    return r < 0
        ? r
        : scratch.get(ValueLayout.JAVA_LONG, 0) * 1_000_000_000L
            + scratch.get(ValueLayout.JAVA_LONG, 8);
  }

  /**
   * Fills {@code bytes} with random numbers that are fit for secrets, by {@code getrandom(2)}.
   * SecureRandom gives the same ones, and takes 10 ms of each start to find its provider.
   */
  public static void random(byte[] bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment to = arena.allocate(Math.max(1, bytes.length));
      for (long done = 0; done < bytes.length; ) {
        long r = syscall(SyscallNumbers.GETRANDOM, to.address() + done, bytes.length - done, 0);
        if (r < 0 && r != -Errno.EINTR) {
          throw new IllegalStateException("getrandom: " + Errno.name((int) -r));
        }
        done += Math.max(0, r);
      }
      MemorySegment.copy(to, ValueLayout.JAVA_BYTE, 0, bytes, 0, bytes.length);
    }
  }

  /** {@code eventfd2(2)}. */
  public static long eventfd(int initial, int flags) {
    return syscall(SyscallNumbers.EVENTFD2, initial, flags, 0);
  }

  /** {@code epoll_create1(2)}. */
  public static long epollCreate(int flags) {
    return syscall(SyscallNumbers.EPOLL_CREATE1, flags);
  }

  /**
   * {@code epoll_ctl(2)}; {@code event} is the address of a {@code struct epoll_event}, whose
   * layout is the machine's ({@link Architecture#epollEventBytes}).
   */
  public static long epollCtl(int epfd, int operation, int fd, long event) {
    return syscall(SyscallNumbers.EPOLL_CTL, epfd, operation, fd, event, 0, 0);
  }

  /** {@code epoll_wait(2)} for at most {@code count} such events; -1 ms waits without end. */
  public static long epollWait(int epfd, long events, int count, int timeoutMillis) {
    return syscall(SyscallNumbers.EPOLL_WAIT, epfd, events, count, timeoutMillis, 0, 0);
  }

  /** {@code poll(2)} over {@code count} of {@code struct pollfd}; -1 ms waits without end. */
  public static long poll(long address, int count, int timeoutMillis) {
    return syscall(SyscallNumbers.POLL, address, count, timeoutMillis);
  }

  /** {@code memfd_create(2)}; {@code name} is the address of a C string. */
  public static long memfdCreate(long name, int flags) {
    return syscall(SyscallNumbers.MEMFD_CREATE, name, flags, 0);
  }

  /** {@code ftruncate(2)}. */
  public static long ftruncate(int fd, long length) {
    return syscall(SyscallNumbers.FTRUNCATE, fd, length, 0);
  }

  /** {@code lseek(2)}. */
  public static long lseek(int fd, long offset, int whence) {
    return syscall(SyscallNumbers.LSEEK, fd, offset, whence);
  }

  /** {@code fchmod(2)}; on a socket before {@code bind(2)} it sets the mode of the file made. */
  public static long fchmod(int fd, int mode) {
    return syscall(SyscallNumbers.FCHMOD, fd, mode, 0);
  }

  /** {@code mmap(2)}; an address, or {@code -errno}. */
  public static long mmap(long address, long length, int prot, int flags, int fd, long offset) {
    return syscall(SyscallNumbers.MMAP, address, length, prot, flags, fd, offset);
  }

  /** {@code munmap(2)}. */
  public static long munmap(long address, long length) {
    return syscall(SyscallNumbers.MUNMAP, address, length, 0);
  }

  /**
   * {@code futex(FUTEX_WAIT)}, shared between processes; {@code timeout} is a timespec or 0. Why it
   * ended is not said: whoever waits looks at the word.
   */
  public static void futexWait(long address, int expected, long timeoutAddress) {
    futex(address, 0, expected, timeoutAddress);
  }

  /** {@code futex(FUTEX_WAKE)}, shared between processes. */
  public static void futexWake(long address, int waiters) {
    futex(address, 1, waiters, 0);
  }

  private static void futex(long address, int operation, int value, long timeoutAddress) {
    int nr = AS_ON_X86 ? SyscallNumbers.FUTEX : Architecture.MACHINE.number(SyscallNumbers.FUTEX);
    // Nobody asks for errno, and where a thread keeps its own takes time to find.
    SYSCALL.call(nr, address, operation, value, timeoutAddress, 0, 0);
  }

  /** The memory at a native address, for the length given; the caller vouches for its life. */
  public static MemorySegment at(long address, long bytes) {
    return MemorySegment.ofAddress(address).reinterpret(bytes);
  }

  /** A NUL-terminated UTF-8 copy of {@code s} in {@code arena}. */
  public static MemorySegment cString(Arena arena, String s) {
    return arena.allocateFrom(s, StandardCharsets.UTF_8);
  }
}
