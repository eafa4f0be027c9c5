// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.outboard.abi.Architecture;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A call slot that a hostile host has filled in, on the device. Usually replays the inputs in
 * {@code src/test/resources}; {@code -Pfuzz} looks for more ({@code SECURITY.md}).
 *
 * <p>An input is a byte for the row, a byte for the seed of the kernel's results, six arguments of
 * eight bytes, and data.
 */
class SlotFuzz {
  private static final int HEAD_BYTES = 2 + 6 * 8;

  private static final List<Row> ROWS = MarshallingTest.deviceRows();

  private final DeviceSpace device = new DeviceSpace();
  private final Call taken = new Call(device.data);
  private final DeviceMarshaller marshaller =
      new DeviceMarshaller(
          device.data.address(),
          DeviceSpace.DATA_BYTES,
          device.scratch,
          PathSet.of(List.of()),
          Architecture.X86_64);
  private final long[] kernelArgs = new long[6];

  /** The kernel touches nothing but the slot's data and the device's own scratch memory. */
  @FuzzTest(maxDuration = "90s")
  void anySlotAsACall(byte[] bytes) {
    if (bytes.length < HEAD_BYTES) {
      return;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    Row row = ROWS.get(Byte.toUnsignedInt(in.get()) % ROWS.size());
    Random results = new Random(in.get());
    taken.number = row.canonical();
    for (int i = 0; i < taken.args.length; i++) {
      taken.args[i] = in.getLong();
    }
    int length = Math.min(in.remaining(), DeviceSpace.DATA_BYTES);
    MemorySegment.copy(bytes, HEAD_BYTES, device.data, ValueLayout.JAVA_BYTE, 0, length);
    long result = marshaller.prepare(row, taken, kernelArgs);
    if (result == 0) {
      result = new ModelKernel(device, results, new ArrayList<>()).call(row, kernelArgs);
      marshaller.finish(row, taken, result);
    }
  }
}
