// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Seccomp;
import java.lang.foreign.MemorySegment;

/**
 * The listener of a seccomp filter: receives the trapped calls of every thread under the filter and
 * answers them. Owns its descriptor.
 *
 * <p>Any platform thread may call; {@link #receive} blocks. Source: {@code seccomp_unotify(2)},
 * {@code kernel/seccomp.c}.
 */
public final class SeccompListener implements AutoCloseable {
  private final int fd;

  private SeccompListener(int fd) {
    this.fd = fd;
  }

  /**
   * Installs a filter on the calling thread (and whatever it starts from now on).
   *
   * <p>The calling thread's own trapped calls wait for an answer from now on: it must do nothing
   * but start the program and end.
   *
   * @param program a {@code struct sock_fprog}
   * @return the listener's descriptor, to be given to {@link #of}, or {@code -errno}: EINVAL where
   *     the kernel lacks WAIT_KILLABLE_RECV (before Linux 5.19), EBUSY where a filter above has a
   *     listener already, EACCES without no_new_privs and CAP_SYS_ADMIN
   */
  public static long install(MemorySegment program) {
    return Linux.syscall(
        dev.outboard.abi.SyscallNumbers.SECCOMP,
        Seccomp.SET_MODE_FILTER,
        Seccomp.FILTER_FLAG_NEW_LISTENER | Seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV,
        program.address());
  }

  /** Takes ownership of a descriptor that {@link #install} returned. */
  public static SeccompListener of(int fd) {
    return new SeccompListener(fd);
  }

  /** Asks for wake-ups that hand the CPU over; 0, or -EINVAL before Linux 6.6. */
  public long setSyncWakeUp() {
    return Linux.ioctl(fd, Seccomp.IOCTL_NOTIF_SET_FLAGS, Seccomp.USER_NOTIF_FD_SYNC_WAKE_UP);
  }

  /**
   * Waits for a trapped call.
   *
   * @param notification {@link Seccomp#NOTIF_BYTES} bytes; zeroed here first, as the kernel demands
   * @return 0; -ENOENT if the caller died before it was received, or no thread is left under the
   *     (POLLHUP on the descriptor tells); -EINTR
   */
  public long receive(MemorySegment notification) {
    notification.fill((byte) 0);
    return Linux.ioctl(fd, Seccomp.IOCTL_NOTIF_RECV, notification.address());
  }

  /**
   * Sends an answer.
   *
   * @return 0, or -ENOENT if the caller is gone
   */
  public long send(MemorySegment response) {
    return Linux.ioctl(fd, Seccomp.IOCTL_NOTIF_SEND, response.address());
  }

  /** Whether the call is still waiting for its answer; {@code cell} is 8 bytes of scratch. */
  public boolean valid(long id, MemorySegment cell) {
    cell.set(JAVA_LONG_UNALIGNED, 0, id);
    return Linux.ioctl(fd, Seccomp.IOCTL_NOTIF_ID_VALID, cell.address()) == 0;
  }

  /**
   * Installs a copy of {@code sourceFd} in the caller, at the lowest free number.
   *
   * @param scratch {@link Seccomp#ADDFD_BYTES} bytes
   * @param flags {@link Seccomp#ADDFD_FLAG_SEND} answers the call with the number at once
   * @param newFdFlags O_CLOEXEC or 0
   * @return the number in the caller, or {@code -errno}: EMFILE as in the caller, ENOENT if it is
   *     gone
   */
  public long addFd(MemorySegment scratch, long id, int sourceFd, int flags, int newFdFlags) {
    scratch.set(JAVA_LONG_UNALIGNED, Seccomp.ADDFD_ID, id);
    scratch.set(JAVA_INT_UNALIGNED, Seccomp.ADDFD_FLAGS, flags);
    scratch.set(JAVA_INT_UNALIGNED, Seccomp.ADDFD_SRCFD, sourceFd);
    scratch.set(JAVA_INT_UNALIGNED, Seccomp.ADDFD_NEWFD, 0);
    scratch.set(JAVA_INT_UNALIGNED, Seccomp.ADDFD_NEWFD_FLAGS, newFdFlags);
    long r;
    do {
      r = Linux.ioctl(fd, Seccomp.IOCTL_NOTIF_ADDFD, scratch.address());
    } while (r == -Errno.EINTR);
    return r;
  }

  /** The descriptor, for {@code poll(2)}: POLLIN a call waits, POLLHUP nobody is left. */
  public int fd() {
    return fd;
  }

  @Override
  public void close() {
    Linux.close(fd);
  }
}
