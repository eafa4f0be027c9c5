// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * The FUSE protocol as its server sees it: operations, flags, and offsets into what a request and a
 * reply hold behind their headers.
 *
 * <p>Source: {@code include/uapi/linux/fuse.h}, protocol 7.41. All fields are of the machine's byte
 * order.
 */
public final class Fuse {
  public static final int KERNEL_VERSION = 7;
  public static final int KERNEL_MINOR_VERSION = 41;

  /** The node id of the root. */
  public static final long ROOT_ID = 1;

  // enum fuse_opcode
  public static final int LOOKUP = 1;
  public static final int FORGET = 2;
  public static final int GETATTR = 3;
  public static final int SETATTR = 4;
  public static final int READLINK = 5;
  public static final int SYMLINK = 6;
  public static final int MKNOD = 8;
  public static final int MKDIR = 9;
  public static final int UNLINK = 10;
  public static final int RMDIR = 11;
  public static final int RENAME = 12;
  public static final int LINK = 13;
  public static final int OPEN = 14;
  public static final int READ = 15;
  public static final int WRITE = 16;
  public static final int STATFS = 17;
  public static final int RELEASE = 18;
  public static final int FSYNC = 20;
  public static final int SETXATTR = 21;
  public static final int GETXATTR = 22;
  public static final int LISTXATTR = 23;
  public static final int REMOVEXATTR = 24;
  public static final int INIT = 26;
  public static final int OPENDIR = 27;
  public static final int READDIR = 28;
  public static final int RELEASEDIR = 29;
  public static final int FSYNCDIR = 30;
  public static final int CREATE = 35;
  public static final int DESTROY = 38;
  public static final int BATCH_FORGET = 42;
  public static final int FALLOCATE = 43;
  public static final int READDIRPLUS = 44;
  public static final int RENAME2 = 45;
  public static final int LSEEK = 46;
  public static final int COPY_FILE_RANGE = 47;
  public static final int SYNCFS = 50;
  public static final int TMPFILE = 51;
  public static final int STATX = 52;

  // struct fuse_in_header
  public static final int IN_HEADER_BYTES = 40;
  public static final int IN_LENGTH = 0;
  public static final int IN_OPCODE = 4;
  public static final int IN_UNIQUE = 8;
  public static final int IN_NODE = 16;
  public static final int IN_UID = 24;
  public static final int IN_GID = 28;

  // struct fuse_out_header
  public static final int OUT_HEADER_BYTES = 16;
  public static final int OUT_LENGTH = 0;
  public static final int OUT_ERROR = 4;
  public static final int OUT_UNIQUE = 8;

  // struct fuse_attr
  public static final int ATTR_BYTES = 88;
  public static final int ATTR_INO = 0;
  public static final int ATTR_SIZE = 8;
  public static final int ATTR_BLOCKS = 16;
  public static final int ATTR_ATIME = 24;
  public static final int ATTR_MTIME = 32;
  public static final int ATTR_CTIME = 40;
  public static final int ATTR_ATIME_NANOS = 48;
  public static final int ATTR_MTIME_NANOS = 52;
  public static final int ATTR_CTIME_NANOS = 56;
  public static final int ATTR_MODE = 60;
  public static final int ATTR_LINKS = 64;
  public static final int ATTR_UID = 68;
  public static final int ATTR_GID = 72;
  public static final int ATTR_RDEV = 76;
  public static final int ATTR_BLOCK_SIZE = 80;

  // struct fuse_entry_out
  public static final int ENTRY_BYTES = 128;
  public static final int ENTRY_NODE = 0;
  public static final int ENTRY_VALID = 16;
  public static final int ENTRY_ATTR_VALID = 24;
  public static final int ENTRY_ATTR = 40;

  // struct fuse_attr_out
  public static final int ATTR_OUT_BYTES = 104;
  public static final int ATTR_OUT_VALID = 0;
  public static final int ATTR_OUT_ATTR = 16;

  // struct fuse_statx_in, fuse_statx_out
  public static final int STATX_IN_BYTES = 24;
  public static final int STATX_OUT_BYTES = 288;
  public static final int STATX_OUT_STATX = 32;

  // struct fuse_getattr_in
  public static final int GETATTR_IN_BYTES = 16;
  public static final int GETATTR_FLAGS = 0;
  public static final int GETATTR_HANDLE = 8;
  public static final int GETATTR_F_HANDLE = 1;

  // struct fuse_setattr_in
  public static final int SETATTR_IN_BYTES = 88;
  public static final int SETATTR_VALID = 0;
  public static final int SETATTR_HANDLE = 8;
  public static final int SETATTR_SIZE = 16;
  public static final int SETATTR_ATIME = 32;
  public static final int SETATTR_MTIME = 40;
  public static final int SETATTR_ATIME_NANOS = 56;
  public static final int SETATTR_MTIME_NANOS = 60;
  public static final int SETATTR_MODE = 68;
  public static final int SETATTR_UID = 76;
  public static final int SETATTR_GID = 80;
  public static final int FATTR_MODE = 1;
  public static final int FATTR_UID = 1 << 1;
  public static final int FATTR_GID = 1 << 2;
  public static final int FATTR_SIZE = 1 << 3;
  public static final int FATTR_ATIME = 1 << 4;
  public static final int FATTR_MTIME = 1 << 5;
  public static final int FATTR_HANDLE = 1 << 6;
  public static final int FATTR_ATIME_NOW = 1 << 7;
  public static final int FATTR_MTIME_NOW = 1 << 8;

  // struct fuse_mknod_in, fuse_mkdir_in, fuse_rename_in, fuse_rename2_in, fuse_link_in
  public static final int MKNOD_IN_BYTES = 16;
  public static final int MKNOD_MODE = 0;
  public static final int MKNOD_RDEV = 4;
  public static final int MKNOD_UMASK = 8;
  public static final int MKDIR_IN_BYTES = 8;
  public static final int MKDIR_MODE = 0;
  public static final int MKDIR_UMASK = 4;
  public static final int RENAME_IN_BYTES = 8;
  public static final int RENAME2_IN_BYTES = 16;
  public static final int RENAME2_FLAGS = 8;
  public static final int LINK_IN_BYTES = 8;

  // struct fuse_open_in, fuse_create_in, fuse_open_out
  public static final int OPEN_IN_BYTES = 8;
  public static final int CREATE_IN_BYTES = 16;
  public static final int CREATE_MODE = 4;
  public static final int CREATE_UMASK = 8;
  public static final int OPEN_OUT_BYTES = 16;
  public static final int OPEN_OUT_FLAGS = 8;
  public static final int FOPEN_KEEP_CACHE = 1 << 1;

  // struct fuse_release_in
  public static final int RELEASE_IN_BYTES = 24;

  // struct fuse_read_in and fuse_write_in, which are alike, and fuse_write_out
  public static final int IO_IN_BYTES = 40;
  public static final int IO_HANDLE = 0;
  public static final int IO_OFFSET = 8;
  public static final int IO_SIZE = 16;
  public static final int IO_FLAGS = 32;
  public static final int WRITE_OUT_BYTES = 8;

  // struct fuse_statfs_out
  public static final int STATFS_OUT_BYTES = 80;

  // struct fuse_fsync_in
  public static final int FSYNC_IN_BYTES = 16;
  public static final int FSYNC_FLAGS = 8;
  public static final int FSYNC_F_DATA_ONLY = 1;

  // struct fuse_setxattr_in without its extension, fuse_getxattr_in, fuse_getxattr_out
  public static final int SETXATTR_IN_BYTES = 8;
  public static final int SETXATTR_FLAGS = 4;
  public static final int GETXATTR_IN_BYTES = 8;
  public static final int GETXATTR_OUT_BYTES = 8;

  // struct fuse_init_in, fuse_init_out
  public static final int INIT_IN_BYTES = 16;
  public static final int INIT_MINOR = 4;
  public static final int INIT_FLAGS = 12;
  public static final int INIT_OUT_BYTES = 64;
  public static final int INIT_OUT_MAX_READAHEAD = 8;
  public static final int INIT_OUT_FLAGS = 12;
  public static final int INIT_OUT_MAX_BACKGROUND = 16;
  public static final int INIT_OUT_CONGESTION = 18;
  public static final int INIT_OUT_MAX_WRITE = 20;
  public static final int INIT_OUT_TIME_GRANULARITY = 24;
  public static final int INIT_OUT_MAX_PAGES = 28;
  public static final int ASYNC_READ = 1;
  public static final int BIG_WRITES = 1 << 5;
  public static final int DONT_MASK = 1 << 6;
  public static final int AUTO_INVAL_DATA = 1 << 12;
  public static final int DO_READDIRPLUS = 1 << 13;
  public static final int READDIRPLUS_AUTO = 1 << 14;
  public static final int NO_OPEN_SUPPORT = 1 << 17;
  public static final int PARALLEL_DIROPS = 1 << 18;
  public static final int POSIX_ACL = 1 << 20;
  public static final int MAX_PAGES = 1 << 22;
  public static final int CACHE_SYMLINKS = 1 << 23;

  // struct fuse_forget_in, fuse_batch_forget_in
  public static final int FORGET_IN_BYTES = 8;
  public static final int BATCH_FORGET_IN_BYTES = 8;
  public static final int FORGET_ONE_BYTES = 16;

  // struct fuse_fallocate_in
  public static final int FALLOCATE_IN_BYTES = 32;
  public static final int FALLOCATE_OFFSET = 8;
  public static final int FALLOCATE_LENGTH = 16;
  public static final int FALLOCATE_MODE = 24;

  // struct fuse_lseek_in, fuse_lseek_out
  public static final int LSEEK_IN_BYTES = 24;
  public static final int LSEEK_OFFSET = 8;
  public static final int LSEEK_WHENCE = 16;
  public static final int LSEEK_OUT_BYTES = 8;

  // struct fuse_copy_file_range_in
  public static final int COPY_IN_BYTES = 56;
  public static final int COPY_IN_OFFSET = 8;
  public static final int COPY_OUT_HANDLE = 24;
  public static final int COPY_OUT_OFFSET = 32;
  public static final int COPY_LENGTH = 40;

  // struct fuse_dirent, fuse_direntplus
  public static final int DIRENT_INO = 0;
  public static final int DIRENT_OFFSET = 8;
  public static final int DIRENT_NAME_LENGTH = 16;
  public static final int DIRENT_TYPE = 20;
  public static final int DIRENT_NAME = 24;

  private Fuse() {}
}
