// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * User notification of seccomp: operations, ioctls and structure offsets.
 *
 * <p>Source: {@code include/uapi/linux/seccomp.h}, {@code seccomp_unotify(2)}. The same on every
 * 64-bit architecture.
 */
public final class Seccomp {
  /** {@code prctl(2)}: installs a filter or strict mode. */
  public static final int PR_SET_SECCOMP = 22;

  public static final int SET_MODE_STRICT = 0;
  public static final int SET_MODE_FILTER = 1;
  public static final int GET_NOTIF_SIZES = 3;

  public static final int FILTER_FLAG_NEW_LISTENER = 1 << 3;
  public static final int FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5;

  public static final long IOCTL_NOTIF_RECV = 0xC0502100L;
  public static final long IOCTL_NOTIF_SEND = 0xC0182101L;
  public static final long IOCTL_NOTIF_ID_VALID = 0x40082102L;
  public static final long IOCTL_NOTIF_ADDFD = 0x40182103L;
  public static final long IOCTL_NOTIF_SET_FLAGS = 0x40082104L;

  /** {@link #IOCTL_NOTIF_SET_FLAGS}: a wake-up hands the CPU over (Linux 6.6). */
  public static final long USER_NOTIF_FD_SYNC_WAKE_UP = 1;

  /** A response: the kernel executes the call itself. */
  public static final int USER_NOTIF_FLAG_CONTINUE = 1;

  public static final int ADDFD_FLAG_SETFD = 1;
  public static final int ADDFD_FLAG_SEND = 2;

  /** {@code struct seccomp_notif}: bytes and offsets. */
  public static final int NOTIF_BYTES = 80;

  public static final int NOTIF_ID = 0;
  public static final int NOTIF_PID = 8;
  public static final int NOTIF_FLAGS = 12;
  public static final int NOTIF_NR = 16;
  public static final int NOTIF_ARCH = 20;
  public static final int NOTIF_INSTRUCTION_POINTER = 24;
  public static final int NOTIF_ARGS = 32;

  /** {@code struct seccomp_notif_resp}: bytes and offsets. */
  public static final int RESPONSE_BYTES = 24;

  public static final int RESPONSE_ID = 0;
  public static final int RESPONSE_VALUE = 8;
  public static final int RESPONSE_ERROR = 16;
  public static final int RESPONSE_FLAGS = 20;

  /** {@code struct seccomp_notif_addfd}: bytes and offsets. */
  public static final int ADDFD_BYTES = 24;

  public static final int ADDFD_ID = 0;
  public static final int ADDFD_FLAGS = 8;
  public static final int ADDFD_SRCFD = 12;
  public static final int ADDFD_NEWFD = 16;
  public static final int ADDFD_NEWFD_FLAGS = 20;

  private Seccomp() {}
}
