// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.outboard.abi.Errno;
import dev.outboard.posix.Processes;
import dev.outboard.syscalls.ProgramMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The memory of a thread that waits in a notification, by {@code process_vm_readv(2)} and {@code
 * process_vm_writev(2)}.
 *
 * <p>One instance serves one notifier thread, which binds it to the caller of each notification. A
 * copy that meets an unmapped page is -EFAULT; -EPERM says that the program is not dumpable, and
 * -ESRCH that it is gone.
 */
final class ProcessMemory implements ProgramMemory {
  /** {@code IOV_MAX}: more iovecs are EINVAL, as {@code readv(2)} has it. */
  private static final int IOV_MAX = 1024;

  private static final int IOVEC_BYTES = 16;
  private static final long PAGE_BYTES = 4096;

  /** {@code MAX_RW_COUNT}: what the kernel clips a vector's total to. */
  private static final long MAX_TOTAL = 0x7ffff000L;

  /**
   * Where the hook's own text stands in for the program's memory: addresses of the kernel's half,
   * which no program has.
   */
  static final long SUBSTITUTE = 0xffff_8000_0000_0000L;

  /** A string is read in a piece of this size first: most are shorter. */
  private static final long FIRST_PIECE_BYTES = 256;

  private @Nullable MemorySegment substitute;
  private final MemorySegment here;
  private final MemorySegment there;
  private int tid;
  private boolean denied;
  private long loadedBytes;

  ProcessMemory(Arena arena) {
    here = arena.allocate(IOVEC_BYTES, 8);
    there = arena.allocate((long) IOV_MAX * IOVEC_BYTES, 8);
  }

  /** Serves the memory of {@code tid} from now on. */
  void bind(int tid) {
    this.tid = tid;
    this.denied = false;
    this.substitute = null;
  }

  /** The caller is gone; another program may have its number, and memory of its own. */
  void unbind() {
    tid = 0;
  }

  /** Lets reads at {@link #SUBSTITUTE} find {@code text}, until the next {@link #bind}. */
  void substitute(MemorySegment text) {
    substitute = text;
  }

  /** Whether an access since {@link #bind} was refused: the program is not dumpable. */
  boolean denied() {
    return denied;
  }

  @Override
  public long read(long address, MemorySegment to, long offset, long bytes) {
    return copy(false, address, to, offset, bytes);
  }

  @Override
  public long write(long address, MemorySegment from, long offset, long bytes) {
    return copy(true, address, from, offset, bytes);
  }

  private long copy(boolean out, long address, MemorySegment segment, long offset, long bytes) {
    if (bytes == 0) {
      return 0;
    }
    checkRange(segment, offset, bytes);
    MemorySegment own = substitute;
    if (own != null && !out && address < 0 && address >= SUBSTITUTE) {
      long at = address - SUBSTITUTE;
      if (at > own.byteSize() - bytes) {
        return -Errno.EFAULT;
      }
      MemorySegment.copy(own, at, segment, offset, bytes);
      return 0;
    }
    setHere(segment.address() + offset, bytes);
    setThere(0, address, bytes);
    long r =
        out
            ? Processes.writeMemory(tid, here.address(), 1, there.address(), 1)
            : Processes.readMemory(tid, here.address(), 1, there.address(), 1);
    if (r < 0) {
      return refused(r);
    }
    return r == bytes ? 0 : -Errno.EFAULT;
  }

  private long refused(long r) {
    denied |= r == -Errno.EPERM;
    return r;
  }

  @Override
  public long readVector(
      long iovAddress, int iovCount, long skip, MemorySegment to, long offset, long maxBytes) {
    long n = loadVector(iovAddress, iovCount, skip, maxBytes);
    if (n <= 0) {
      return n;
    }
    return transfer(false, to, offset, loadedBytes, (int) n);
  }

  @Override
  public long writeVector(
      long iovAddress, int iovCount, long skip, MemorySegment from, long offset, long bytes) {
    long n = loadVector(iovAddress, iovCount, skip, bytes);
    if (n <= 0) {
      return n;
    }
    return transfer(true, from, offset, loadedBytes, (int) n);
  }

  @Override
  public long vectorLength(long iovAddress, int iovCount) {
    long n = fetchVector(iovAddress, iovCount);
    if (n <= 0) {
      return n;
    }
    long total = 0;
    for (int i = 0; i < n; i++) {
      long length = there.get(JAVA_LONG_UNALIGNED, (long) i * IOVEC_BYTES + 8);
      if (length < 0) {
        return -Errno.EINVAL;
      }
      // As access_ok(): memory of the kernel.
      long base = there.get(JAVA_LONG_UNALIGNED, (long) i * IOVEC_BYTES);
      if (base < 0 || base + length < 0) {
        return -Errno.EFAULT;
      }
      // As import_iovec() does: what is too long is cut.
      total = Math.min(MAX_TOTAL, total + Math.min(length, MAX_TOTAL));
    }
    return total;
  }

  private long transfer(boolean out, MemorySegment segment, long offset, long bytes, int count) {
    checkRange(segment, offset, bytes);
    setHere(segment.address() + offset, bytes);
    long r =
        out
            ? Processes.writeMemory(tid, here.address(), 1, there.address(), count)
            : Processes.readMemory(tid, here.address(), 1, there.address(), count);
    if (r < 0) {
      return refused(r);
    }
    // A vector that faults after its first bytes is a short transfer for a stream, but for a
    // datagram it must fail as a whole; so it fails as a whole for both.
    return r == bytes ? r : -Errno.EFAULT;
  }

  /** Leaves in {@link #there} what the vector names after the skip, at most maxBytes; a count. */
  private long loadVector(long iovAddress, int iovCount, long skipBytes, long maxBytes) {
    long n = fetchVector(iovAddress, iovCount);
    loadedBytes = 0;
    if (n <= 0) {
      return n;
    }
    long skip = skipBytes;
    int kept = 0;
    for (int i = 0; i < n && loadedBytes < maxBytes; i++) {
      long base = there.get(JAVA_LONG_UNALIGNED, (long) i * IOVEC_BYTES);
      long length = there.get(JAVA_LONG_UNALIGNED, (long) i * IOVEC_BYTES + 8);
      if (length < 0) {
        return -Errno.EINVAL;
      }
      if (skip >= length) {
        skip -= length;
        continue;
      }
      long take = Math.min(length - skip, maxBytes - loadedBytes);
      setThere(kept++, base + skip, take);
      skip = 0;
      loadedBytes += take;
    }
    return kept;
  }

  /** Copies the program's iovec array to {@link #there}; the count, or -errno. */
  private long fetchVector(long iovAddress, int iovCount) {
    if (iovCount < 0 || iovCount > IOV_MAX) {
      return -Errno.EINVAL;
    }
    long r = read(iovAddress, there, 0, (long) iovCount * IOVEC_BYTES);
    return r < 0 ? r : iovCount;
  }

  @Override
  public long readString(long address, MemorySegment to, long offset, long max) {
    // Page by page: a string may end right before an unmapped page.
    long done = 0;
    while (done < max) {
      long at = address + done;
      long part = Math.min(max - done, PAGE_BYTES - (at & (PAGE_BYTES - 1)));
      part = done == 0 ? Math.min(part, FIRST_PIECE_BYTES) : part;
      long r = read(at, to, offset + done, part);
      if (r < 0) {
        return r;
      }
      for (long i = 0; i < part; i++) {
        if (to.get(JAVA_BYTE, offset + done + i) == 0) {
          return done + i;
        }
      }
      done += part;
    }
    return -Errno.ENAMETOOLONG;
  }

  private static void checkRange(MemorySegment segment, long offset, long bytes) {
    if (offset < 0 || bytes < 0 || offset > segment.byteSize() - bytes) {
      throw new IndexOutOfBoundsException(
          bytes + " bytes at " + offset + " of " + segment.byteSize());
    }
  }

  private void setHere(long address, long bytes) {
    here.set(JAVA_LONG_UNALIGNED, 0, address);
    here.set(JAVA_LONG_UNALIGNED, 8, bytes);
  }

  private void setThere(int index, long address, long bytes) {
    there.set(JAVA_LONG_UNALIGNED, (long) index * IOVEC_BYTES, address);
    there.set(JAVA_LONG_UNALIGNED, (long) index * IOVEC_BYTES + 8, bytes);
  }
}
