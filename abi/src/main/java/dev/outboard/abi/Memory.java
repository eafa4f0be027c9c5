// SPDX-License-Identifier: MIT
package dev.outboard.abi;

/**
 * Constants of {@code mmap(2)}, {@code memfd_create(2)} and file seals.
 *
 * <p>Source: {@code include/uapi/asm-generic/mman-common.h}, {@code include/uapi/linux/memfd.h},
 * {@code include/uapi/linux/fcntl.h}.
 */
public final class Memory {
  public static final int PROT_NONE = 0;
  public static final int PROT_READ = 1;
  public static final int PROT_WRITE = 2;
  public static final int PROT_EXEC = 4;

  public static final int MAP_SHARED = 0x01;
  public static final int MAP_PRIVATE = 0x02;
  public static final int MAP_FIXED = 0x10;
  public static final int MAP_ANONYMOUS = 0x20;
  public static final int MAP_NORESERVE = 0x4000;
  public static final int MAP_FIXED_NOREPLACE = 0x10_0000;

  public static final int MREMAP_MAYMOVE = 1;
  public static final int MREMAP_FIXED = 2;

  public static final int MADV_DONTFORK = 10;
  public static final int MADV_WIPEONFORK = 18;

  public static final int MFD_CLOEXEC = 1;
  public static final int MFD_ALLOW_SEALING = 2;
  public static final int MFD_EXEC = 0x10;

  public static final int F_ADD_SEALS = 1033;
  public static final int F_GET_SEALS = 1034;
  public static final int F_SEAL_SEAL = 1;
  public static final int F_SEAL_SHRINK = 2;
  public static final int F_SEAL_GROW = 4;
  public static final int F_SEAL_WRITE = 8;

  private Memory() {}
}
