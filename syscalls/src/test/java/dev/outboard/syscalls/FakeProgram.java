// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Errno.EFAULT;
import static dev.outboard.abi.Errno.EINVAL;
import static dev.outboard.abi.Errno.ENAMETOOLONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/** A program's memory for tests: one range of addresses that exists, the others fault. */
final class FakeProgram implements ProgramMemory, Space {
  static final long BASE = 0x7000_0000_0000L;
  static final int BYTES = 1 << 19;

  final MemorySegment bytes = Arena.ofAuto().allocate(BYTES, 4096);
  private long next = BASE;
  private @Nullable List<Samples.Range> writable;
  private Runnable before = () -> {};

  /** Forgets all allocations and fills the memory. */
  void reset(Random random) {
    next = BASE;
    byte[] noise = new byte[4096];
    random.nextBytes(noise);
    for (int at = 0; at < BYTES; at += noise.length) {
      MemorySegment.copy(noise, 0, bytes, Wire.BYTE, at, noise.length);
    }
  }

  /** Forgets all allocations and what was in them. */
  void restart() {
    bytes.asSlice(0, next - BASE).fill((byte) 0);
    next = BASE;
  }

  /**
   * Has every write fail that is not inside of these ranges, until {@link #unwatch}.
   *
   * @param each is run before each access of the hook's
   */
  void watch(List<Samples.Range> ranges, Runnable each) {
    writable = ranges;
    before = each;
  }

  void unwatch() {
    writable = null;
    before = () -> {};
  }

  private void check(long address, long n) {
    List<Samples.Range> ranges = writable;
    long at = address;
    while (ranges != null && at < address + n) {
      long end = at;
      for (Samples.Range r : ranges) {
        if (at >= r.from() && at < r.from() + r.bytes()) {
          end = Math.max(end, r.from() + r.bytes());
        }
      }
      if (end == at) {
        throw new AssertionError(n + " bytes at " + (address - BASE) + ", which no call may write");
      }
      at = end;
    }
  }

  /** An address with {@code n} bytes behind it, and a gap after them. */
  long allocate(long n) {
    long address = next;
    next += (n + 31) & ~15L;
    if (next > BASE + BYTES) {
      throw new IllegalStateException("out of fake memory");
    }
    return address;
  }

  /** An address where {@code n} bytes end at the end of memory. */
  static long atTheEnd(long n) {
    return BASE + BYTES - n;
  }

  long getLong(long address) {
    return bytes.get(Wire.LONG, address - BASE);
  }

  int getInt(long address) {
    return bytes.get(Wire.INT, address - BASE);
  }

  /** A string in memory of its own; its address. */
  long string(String text) {
    byte[] ascii = text.getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    long address = allocate(ascii.length + 1);
    MemorySegment.copy(ascii, 0, bytes, Wire.BYTE, address - BASE, ascii.length);
    bytes.set(Wire.BYTE, address - BASE + ascii.length, (byte) 0);
    return address;
  }

  void put(long address, long value) {
    bytes.set(Wire.LONG, address - BASE, value);
  }

  void put(long address, int value) {
    bytes.set(Wire.INT, address - BASE, value);
  }

  private static boolean mapped(long address, long n) {
    return n >= 0 && n <= BYTES && address >= BASE && address - BASE <= BYTES - n;
  }

  // ---- as the hook sees it ----

  @Override
  public long read(long address, MemorySegment to, long offset, long n) {
    before.run();
    if (n == 0) {
      return 0;
    }
    if (!mapped(address, n)) {
      return -EFAULT;
    }
    MemorySegment.copy(bytes, address - BASE, to, offset, n);
    return 0;
  }

  @Override
  public long write(long address, MemorySegment from, long offset, long n) {
    before.run();
    if (n == 0) {
      return 0;
    }
    if (!mapped(address, n)) {
      return -EFAULT;
    }
    check(address, n);
    MemorySegment.copy(from, offset, bytes, address - BASE, n);
    return 0;
  }

  @Override
  public long readVector(
      long iov, int count, long skip, MemorySegment to, long offset, long maxBytes) {
    return vector(iov, count, skip, to, offset, maxBytes, true);
  }

  @Override
  public long writeVector(long iov, int count, long skip, MemorySegment from, long offset, long n) {
    return vector(iov, count, skip, from, offset, n, false);
  }

  private long vector(
      long iov, int count, long skip, MemorySegment s, long offset, long most, boolean read) {
    long moved = 0;
    long left = skip;
    for (int i = 0; i < count && moved < most; i++) {
      if (!mapped(iov + 16L * i, 16)) {
        return -EFAULT;
      }
      long base = getLong(iov + 16L * i);
      long length = getLong(iov + 16L * i + 8);
      long from = Math.min(left, length);
      left -= from;
      long n = Math.min(length - from, most - moved);
      long error =
          read ? read(base + from, s, offset + moved, n) : write(base + from, s, offset + moved, n);
      if (error < 0) {
        return error;
      }
      moved += n;
    }
    return moved;
  }

  @Override
  public long vectorLength(long iov, int count) {
    if (count < 0 || count > 1024) {
      return -EINVAL;
    }
    long sum = 0;
    for (int i = 0; i < count; i++) {
      if (!mapped(iov + 16L * i, 16)) {
        return -EFAULT;
      }
      long length = getLong(iov + 16L * i + 8);
      sum += length;
      if (length < 0 || sum < 0) {
        return -EINVAL;
      }
    }
    return sum;
  }

  @Override
  public long readString(long address, MemorySegment to, long offset, long max) {
    for (long n = 0; n < max; n++) {
      if (read(address + n, to, offset + n, 1) < 0) {
        return -EFAULT;
      }
      if (to.get(Wire.BYTE, offset + n) == 0) {
        return n;
      }
    }
    return -ENAMETOOLONG;
  }

  // ---- as a kernel sees it ----

  @Override
  public byte[] get(long address, long n) throws Fault {
    byte[] copy = new byte[(int) n];
    if (n > 0 && !mapped(address, n)) {
      throw new Fault();
    }
    if (n > 0) {
      MemorySegment.copy(bytes, Wire.BYTE, address - BASE, copy, 0, (int) n);
    }
    return copy;
  }

  @Override
  public void put(long address, byte[] from) throws Fault {
    if (from.length > 0 && !mapped(address, from.length)) {
      throw new Fault();
    }
    if (from.length > 0) {
      MemorySegment.copy(from, 0, bytes, Wire.BYTE, address - BASE, from.length);
    }
  }
}
