// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Constants of {@code lseek(2)}, {@code eventfd(2)} and {@code inotify(7)}; those of {@code
 * open(2)} are {@link Fcntl}'s.
 *
 * <p>Source: {@code include/uapi/linux/fs.h}, {@code include/linux/eventfd.h}, {@code
 * include/uapi/linux/inotify.h}.
 */
public final class File {
  public static final int SEEK_SET = 0;
  public static final int SEEK_CUR = 1;
  public static final int SEEK_END = 2;

  public static final int EFD_SEMAPHORE = 1;
  public static final int EFD_NONBLOCK = Fcntl.O_NONBLOCK;
  public static final int EFD_CLOEXEC = Fcntl.O_CLOEXEC;

  public static final int IN_CLOSE_WRITE = 0x08;
  public static final int IN_CLOSE_NOWRITE = 0x10;
  public static final int IN_CLOSE = IN_CLOSE_WRITE | IN_CLOSE_NOWRITE;

  private File() {}
}
