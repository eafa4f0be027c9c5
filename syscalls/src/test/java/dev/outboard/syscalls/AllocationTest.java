// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import dev.outboard.abi.Architecture;
import dev.outboard.abi.MessageHeader;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Once warm, no call makes garbage in a marshaller: there may be 100,000 calls a second. */
class AllocationTest {
  private static final int WARM = 30_000;
  private static final int CALLS = 20_000;

  private final FakeProgram program = new FakeProgram();
  private final DeviceSpace device = new DeviceSpace();
  private final Call call = new Call(device.data);
  private final DeviceMarshaller marshaller =
      new DeviceMarshaller(
          device.data.address(),
          DeviceSpace.DATA_BYTES,
          device.scratch,
          PathSet.of(List.of()),
          Architecture.X86_64);
  private final long[] kernelArgs = new long[6];
  private long sum; // keeps the calls from being optimised away

  private void repeat(Row r, long[] args, int times) {
    for (int i = 0; i < times; i++) {
      sum += HostMarshaller.encode(r, args, program, call);
      sum += marshaller.prepare(r, call, kernelArgs);
      sum += marshaller.finish(r, call, 64);
      call.result = 64;
      sum += HostMarshaller.decode(r, args, call, program);
    }
  }

  private void assertNoGarbage(String name, long... args) {
    Row r = MarshallingTest.row(name);
    long[] all = Arrays.copyOf(args, 6);
    assertThat(HostMarshaller.encode(r, all, program, call)).as(name).isZero();
    assertThat(marshaller.prepare(r, call, kernelArgs)).as(name).isZero();
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long id = Thread.currentThread().threadId();
    repeat(r, all, WARM);
    // A compilation that ends meanwhile may cost a few objects: one clean round is proof enough.
    long least = Long.MAX_VALUE;
    for (int round = 0; round < 20 && least > 0; round++) {
      long before = threads.getThreadAllocatedBytes(id);
      repeat(r, all, CALLS);
      least = Math.min(least, threads.getThreadAllocatedBytes(id) - before);
    }
    assertThat(least).as("bytes of garbage in %d calls of %s", CALLS, name).isZero();
  }

  @Test
  void callsMakeNoGarbage() {
    program.reset(new Random(1));
    long buffer = program.allocate(4096);
    long address = program.allocate(128);
    long length = program.allocate(4);
    program.put(length, 128);
    long iov = program.allocate(16);
    program.put(iov, buffer);
    program.put(iov + 8, 1000L);
    long message = program.allocate(MessageHeader.BYTES);
    long control = program.allocate(64);
    program.put(control, 64L);
    program.put(control + 8, 0L);
    program.put(message + MessageHeader.NAME, address);
    program.put(message + MessageHeader.NAME_BYTES, 16);
    program.put(message + MessageHeader.IOV, iov);
    program.put(message + MessageHeader.IOV_COUNT, 1L);
    program.put(message + MessageHeader.CONTROL, control);
    program.put(message + MessageHeader.CONTROL_BYTES, 64L);
    assertNoGarbage("read", 3, buffer, 1000);
    assertNoGarbage("write", 3, buffer, 1000);
    assertNoGarbage("readv", 3, iov, 1);
    assertNoGarbage("writev", 3, iov, 1);
    assertNoGarbage("sendto", 3, buffer, 1000, 0, address, 16);
    assertNoGarbage("recvfrom", 3, buffer, 1000, 0, address, length);
    assertNoGarbage("sendmsg", 3, message, 0);
    assertNoGarbage("accept4", 3, address, length, 0);
    assertNoGarbage("setsockopt", 3, 6, 1, buffer, 4);
    assertNoGarbage("getsockopt", 3, 263, 6, buffer, length);
    assertNoGarbage("ioctl", 3, 0x541B, buffer);
    assertNoGarbage("ioctl", 3, 0x8913, buffer);
    program.put(control, 64L);
    assertNoGarbage("recvmsg", 3, message, 0);
    assertThat(sum).isNotZero();
  }
}
