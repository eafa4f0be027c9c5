// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Flags of {@code open(2)} and commands of {@code fcntl(2)}, as asm-generic and x86-64 have them.
 *
 * <p>Source: {@code include/uapi/asm-generic/fcntl.h}, {@code include/uapi/linux/fcntl.h}.
 */
public final class Fcntl {
  public static final int O_RDONLY = 0;
  public static final int O_WRONLY = 1;
  public static final int O_RDWR = 2;
  public static final int O_ACCMODE = 3;
  public static final int O_CREAT = 0x40;
  public static final int O_EXCL = 0x80;
  public static final int O_NOCTTY = 0x100;
  public static final int O_TRUNC = 0x200;
  public static final int O_APPEND = 0x400;
  public static final int O_NONBLOCK = 0x800;
  public static final int O_DSYNC = 0x1000;
  public static final int O_ASYNC = 0x2000;
  public static final int O_DIRECT = 0x4000;
  public static final int O_LARGEFILE = 0x8000;
  public static final int O_DIRECTORY = 0x10000;
  public static final int O_NOFOLLOW = 0x20000;
  public static final int O_NOATIME = 0x40000;
  public static final int O_CLOEXEC = 0x80000;
  public static final int O_PATH = 0x200000;

  /** The bit that tells O_TMPFILE from O_DIRECTORY: {@code __O_TMPFILE}. */
  public static final int O_TMPFILE_ALONE = 0x400000;

  public static final int O_TMPFILE = O_TMPFILE_ALONE | O_DIRECTORY;

  public static final int AT_FDCWD = -100;
  public static final int AT_SYMLINK_NOFOLLOW = 0x100;
  public static final int AT_REMOVEDIR = 0x200;
  public static final int AT_SYMLINK_FOLLOW = 0x400;
  public static final int AT_EMPTY_PATH = 0x1000;

  /** Of {@code faccessat2(2)}. */
  public static final int AT_EACCESS = 0x200;

  public static final int R_OK = 4;

  /** Of {@code name_to_handle_at(2)}: a handle that tells files apart, not to be opened by. */
  public static final int AT_HANDLE_FID = 0x200;

  /** Of {@code statx(2)}: a network file system asks its server. */
  public static final int AT_STATX_FORCE_SYNC = 0x2000;

  /** The same: what it knows is said, however old it is. */
  public static final int AT_STATX_DONT_SYNC = 0x4000;

  /** Of {@code execveat(2)}, since Linux 6.14. */
  public static final int AT_EXECVE_CHECK = 0x10000;

  /** Of {@code access(2)} and its kin. */
  public static final int X_OK = 1;

  /** Of {@code openat2(2)}: {@code include/uapi/linux/openat2.h}. */
  public static final int RESOLVE_BENEATH = 0x08;

  public static final int RESOLVE_IN_ROOT = 0x10;

  public static final int F_DUPFD = 0;
  public static final int F_GETFD = 1;
  public static final int F_SETFD = 2;
  public static final int F_GETFL = 3;
  public static final int F_SETFL = 4;
  public static final int F_GETLK = 5;
  public static final int F_SETLK = 6;
  public static final int F_SETLKW = 7;
  public static final int F_SETOWN = 8;
  public static final int F_GETOWN = 9;
  public static final int F_SETSIG = 10;
  public static final int F_GETSIG = 11;
  public static final int F_SETOWN_EX = 15;
  public static final int F_GETOWN_EX = 16;
  public static final int F_OFD_GETLK = 36;
  public static final int F_OFD_SETLK = 37;
  public static final int F_OFD_SETLKW = 38;
  public static final int F_DUPFD_CLOEXEC = 1030;
  public static final int F_SETPIPE_SZ = 1031;
  public static final int F_GETPIPE_SZ = 1032;
  public static final int F_ADD_SEALS = 1033;
  public static final int F_GET_SEALS = 1034;

  public static final int FD_CLOEXEC = 1;

  private Fcntl() {}
}
