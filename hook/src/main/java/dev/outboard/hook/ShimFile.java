// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A file in memory that the hook has mapped and programs map, too. Close it once. One thread at a
 * time closes it, or its descriptor.
 */
final class ShimFile implements AutoCloseable {
  private int fd;
  private final MemorySegment memory;

  /**
   * Makes one of zeros; pages take room when they are touched.
   *
   * @throws IllegalStateException without memory or descriptors
   */
  ShimFile(String name, long bytes) {
    try (Arena a = Arena.ofConfined()) {
      long r = Linux.memfdCreate(Linux.cString(a, name).address(), Memory.MFD_CLOEXEC);
      fd = (int) check(r, "memfd_create");
      try {
        check(Linux.ftruncate(fd, bytes), "ftruncate");
        long address =
            Linux.mmap(
                0,
                bytes,
                Memory.PROT_READ | Memory.PROT_WRITE,
                Memory.MAP_SHARED | Memory.MAP_NORESERVE,
                fd,
                0);
        memory = Linux.at(check(address, "mmap"), bytes);
      } catch (IllegalStateException e) {
        Linux.close(fd);
        throw e;
      }
    }
  }

  /** A descriptor of it, owned by this object; -1 after {@link #closeDescriptor}. */
  int fd() {
    return fd;
  }

  /**
   * Replaces the descriptor by one that only reads: whoever maps that cannot make his mapping
   * writable.
   *
   * @throws IllegalStateException without descriptors
   */
  void makeReadOnly() {
    try (Arena a = Arena.ofConfined()) {
      long r =
          Processes.openat(
              Fcntl.AT_FDCWD,
              Linux.cString(a, "/proc/self/fd/" + fd).address(),
              Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
      check(r, "open");
      Linux.close(fd);
      fd = (int) r;
    }
  }

  /** Nobody else is to map it any more. */
  void closeDescriptor() {
    if (fd >= 0) {
      Linux.close(fd);
      fd = -1;
    }
  }

  /** All of it, until {@link #close}. */
  MemorySegment memory() {
    return memory;
  }

  @Override
  public void close() {
    Linux.munmap(memory.address(), memory.byteSize());
    closeDescriptor();
  }

  private static long check(long r, String what) {
    if (r < 0 && r >= -4095) {
      throw new IllegalStateException(what + ": " + Errno.name((int) -r));
    }
    return r;
  }
}
