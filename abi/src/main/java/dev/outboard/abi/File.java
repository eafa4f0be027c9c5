// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Constants of {@code open(2)}, {@code fcntl(2)}, {@code pipe2(2)} and {@code eventfd(2)}.
 *
 * <p>Source: {@code include/uapi/asm-generic/fcntl.h}; those on which x86-64 and others differ are
 * not here.
 */
public final class File {
  public static final int O_RDONLY = 0;
  public static final int O_WRONLY = 1;
  public static final int O_RDWR = 2;
  public static final int O_NONBLOCK = 0x800;
  public static final int O_CLOEXEC = 0x80000;

  public static final int EFD_SEMAPHORE = 1;
  public static final int EFD_NONBLOCK = O_NONBLOCK;
  public static final int EFD_CLOEXEC = O_CLOEXEC;

  private File() {}
}
