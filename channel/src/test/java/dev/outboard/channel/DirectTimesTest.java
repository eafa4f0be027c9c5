// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.syscalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

class DirectTimesTest {
  private final MemorySegment header = Arena.ofAuto().allocate(SlotLayout.DATA, 64);

  @Test
  void percentilesAreRightToAFifth() {
    DirectTimes device = new DirectTimes();
    for (int i = 1; i <= 1000; i++) {
      device.record(header, SyscallNumbers.SENDTO, i * 1000L);
    }
    DirectTimes host = new DirectTimes();
    host.add(header);
    assertThat(host.percentile(SyscallNumbers.SENDTO, 50)).isBetween(500_000 * 4L / 5, 500_000L);
    assertThat(host.percentile(SyscallNumbers.SENDTO, 99)).isBetween(990_000 * 4L / 5, 990_000L);
    assertThat(host.percentile(SyscallNumbers.RECVFROM, 50)).isZero();
    DirectTimes sum = new DirectTimes();
    sum.add(host);
    sum.add(host);
    assertThat(sum.percentile(SyscallNumbers.SENDTO, 50))
        .isEqualTo(host.percentile(SyscallNumbers.SENDTO, 50));
  }

  @Test
  void anyTimeOfAnyCallStaysInItsPlace() {
    DirectTimes device = new DirectTimes();
    MemorySegment before = header.asSlice(0, SlotLayout.TIMES);
    Random random = new Random(5);
    for (int i = 0; i < 100_000; i++) {
      int number = i % 2 == 0 ? random.nextInt() : random.nextInt(512);
      device.record(header, number, random.nextLong() >>> random.nextInt(64));
    }
    assertThat(before.mismatch(MemorySegment.ofArray(new byte[(int) SlotLayout.TIMES])))
        .as("what stands before the times")
        .isEqualTo(-1);
    assertThat(device.percentile(SyscallNumbers.READ, 100)).isGreaterThan(500_000);
    assertThat(device.percentile(-1, 50)).isZero();
    assertThat(device.percentile(SyscallNumbers.CLOSE, 50)).isZero();
  }

  @Test
  void aSlotCountsByTheCallersNumber() {
    MemorySegment slot = Arena.ofAuto().allocate(SlotLayout.BYTES, 64);
    DeviceSlot device = new DeviceSlot(slot, true);
    device.reset();
    slot.set(ValueLayout.JAVA_INT, SlotLayout.CALLER, SyscallNumbers.WRITEV);
    device.take(new Call(device.data()));
    device.timed(5_000);
    DirectTimes host = new DirectTimes();
    host.add(slot);
    assertThat(host.percentile(SyscallNumbers.WRITEV, 50)).isBetween(4_000L, 5_000L);
    assertThat(host.percentile(SyscallNumbers.SENDTO, 50)).isZero();
  }
}
