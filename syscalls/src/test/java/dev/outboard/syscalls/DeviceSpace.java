// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * The device's user memory: a slot's data area, which the host shares, and scratch memory, which it
 * does not. Any access outside of both is a failed test, save at the one address that is meant to
 * fault.
 */
final class DeviceSpace implements Space {
  static final int DATA_BYTES = 160 * 1024;

  final MemorySegment data = Arena.ofAuto().allocate(DATA_BYTES, 64);
  final MemorySegment scratch = Arena.ofAuto().allocate(DeviceMarshaller.SCRATCH_BYTES, 64);

  /** If set, a host that changes the data area before every access of the kernel. */
  @Nullable Random hostile;

  private MemorySegment whole(long address, long n) throws Fault {
    if (address == 0 || address == 8) {
      throw new Fault();
    }
    Random h = hostile;
    if (h != null) {
      scramble(h, data, 600);
    }
    if (inside(data, address, n)) {
      return data.asSlice(address - data.address(), n);
    }
    if (inside(scratch, address, n)) {
      return scratch.asSlice(address - scratch.address(), n);
    }
    throw new AssertionError("the kernel would touch " + n + " bytes at " + address);
  }

  private static boolean inside(MemorySegment s, long address, long n) {
    return n >= 0
        && address >= s.address()
        && n <= s.byteSize()
        && address - s.address() <= s.byteSize() - n;
  }

  /** Overwrites a few words near the start with numbers that tend to hurt. */
  static void scramble(Random random, MemorySegment s, int bytes) {
    long[] nasty = {
      0,
      1,
      -1,
      -2,
      8,
      127,
      129,
      4096,
      DATA_BYTES,
      DATA_BYTES - 1,
      DATA_BYTES + 1,
      1L << 31,
      -1L << 31,
      Integer.MAX_VALUE,
      Long.MAX_VALUE,
      Long.MIN_VALUE,
      0xffffffffL,
      0x1b,
      0x1d,
      0x20,
      0x3a,
      0x4c
    };
    for (int i = random.nextInt(6); i > 0; i--) {
      long at = random.nextInt(bytes / 4) * 4L;
      if (random.nextBoolean()) {
        s.set(Wire.INT, at, (int) nasty[random.nextInt(nasty.length)]);
      } else {
        s.set(Wire.LONG, at, nasty[random.nextInt(nasty.length)]);
      }
    }
  }

  @Override
  public byte[] get(long address, long n) throws Fault {
    return n == 0 ? new byte[0] : whole(address, n).toArray(Wire.BYTE);
  }

  @Override
  public void put(long address, byte[] from) throws Fault {
    if (from.length > 0) {
      MemorySegment.copy(
          MemorySegment.ofArray(from), 0, whole(address, from.length), 0, from.length);
    }
  }
}
