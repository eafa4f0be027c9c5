// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * {@code struct statx}, file types and the directory entries of {@code getdents64(2)}, which are
 * alike on all architectures.
 *
 * <p>Source: {@code include/uapi/linux/stat.h}, {@code include/linux/dirent.h}.
 */
public final class Stat {
  public static final int STATX_BYTES = 256;
  public static final int STATX_BLOCK_SIZE = 4;
  public static final int STATX_LINKS = 16;
  public static final int STATX_UID = 20;
  public static final int STATX_GID = 24;
  public static final int STATX_MODE = 28;
  public static final int STATX_INO = 32;
  public static final int STATX_SIZE = 40;
  public static final int STATX_BLOCKS = 48;
  public static final int STATX_ATIME = 64;
  public static final int STATX_CTIME = 96;
  public static final int STATX_MTIME = 112;
  public static final int STATX_RDEV_MAJOR = 128;
  public static final int STATX_RDEV_MINOR = 132;
  public static final int STATX_DEV_MAJOR = 136;
  public static final int STATX_DEV_MINOR = 140;
  public static final int STATX_MOUNT = 144;

  /** The offset of nanoseconds in a time of it. */
  public static final int STATX_NANOS = 8;

  /** The type bits of the mode alone. */
  public static final int STATX_TYPE = 1;

  /** The size and the type bits of the mode. */
  public static final int STATX_TYPE_AND_SIZE = 0x201;

  /** All that {@code stat(2)} gives. */
  public static final int STATX_BASIC = 0x7ff;

  /** All that {@code stat(2)} gives, the time of birth, and the mount. */
  public static final int STATX_WANTED = 0x1fff;

  public static final int S_IFMT = 0170000;
  public static final int S_IFSOCK = 0140000;
  public static final int S_IFLNK = 0120000;
  public static final int S_IFREG = 0100000;
  public static final int S_IFBLK = 0060000;
  public static final int S_IFDIR = 0040000;
  public static final int S_IFCHR = 0020000;
  public static final int S_IFIFO = 0010000;
  public static final int S_ISUID = 04000;
  public static final int S_ISGID = 02000;

  // struct linux_dirent64
  public static final int DIRENT_INO = 0;
  public static final int DIRENT_OFFSET = 8;
  public static final int DIRENT_LENGTH = 16;
  public static final int DIRENT_TYPE = 18;
  public static final int DIRENT_NAME = 19;

  private Stat() {}
}
