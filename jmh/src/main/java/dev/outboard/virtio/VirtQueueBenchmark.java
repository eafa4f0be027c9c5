// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Virtio;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** Taking a chain of buffers off a queue, checks included, and giving it back. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class VirtQueueBenchmark {
  private static final int SIZE = 512;
  private static final long BASE = 0x10_0000;
  private static final long DRIVER_AREA = 16L * SIZE;
  private static final long DEVICE_AREA = 16 * 1024;
  private static final long BUFFERS = 32 * 1024;
  private static final int BUFFER_BYTES = 4096;

  /** Buffers of a chain: a small packet, and a segment of 64 KiB in pages. */
  @Param({"2", "17"})
  private int buffers;

  private final Arena arena = Arena.ofShared();
  private MemorySegment memory;
  private VirtQueue queue;
  private IoVectors vectors;
  private short available;

  @Setup
  public void prepare() throws RingViolation {
    memory = arena.allocate(BUFFERS + 32L * BUFFER_BYTES, 4096);
    for (int i = 0; i < buffers; i++) {
      long at = 16L * i;
      memory.set(ValueLayout.JAVA_LONG, at, BASE + BUFFERS + (long) i * BUFFER_BYTES);
      memory.set(ValueLayout.JAVA_INT, at + 8, BUFFER_BYTES);
      boolean last = i == buffers - 1;
      memory.set(ValueLayout.JAVA_SHORT, at + 12, (short) (last ? 0 : Virtio.DESC_F_NEXT));
      memory.set(ValueLayout.JAVA_SHORT, at + 14, (short) (i + 1));
    }
    // Every entry of the driver's ring names the one chain, which is at 0.
    queue =
        new VirtQueue(
            "benchmark",
            new GuestMemory(memory, BASE),
            SIZE,
            BASE,
            BASE + DRIVER_AREA,
            BASE + DEVICE_AREA,
            false,
            true);
    vectors = new IoVectors(arena, SIZE);
  }

  @Benchmark
  public int popAndPush() throws RingViolation {
    memory.set(ValueLayout.JAVA_SHORT, DRIVER_AREA + 2, ++available);
    vectors.clear();
    int head = queue.next(vectors);
    queue.push(head, 0);
    queue.publish();
    return vectors.count();
  }
}
