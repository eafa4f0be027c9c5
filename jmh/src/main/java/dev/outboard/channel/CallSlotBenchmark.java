// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import dev.outboard.syscalls.Call;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** A call through a call slot to another thread and back: what the channel costs by itself. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class CallSlotBenchmark {
  private final Arena arena = Arena.ofShared();
  private CallSlot host;
  private DeviceSlot device;
  private Thread shadow;

  @Setup
  public void start() {
    MemorySegment memory = arena.allocate(SlotLayout.BYTES, 4096);
    device = new DeviceSlot(memory);
    device.reset();
    host = new CallSlot(0, memory, arena.allocate(CallSlot.TIMEOUT_BYTES, 8), new Traffic());
    shadow = Thread.ofPlatform().start(this::answer);
  }

  private void answer() {
    Call call = new Call(device.data());
    while (device.await() != DeviceSlot.CLOSED) {
      device.take(call);
      device.complete(call.args[0], -1, 0, 0);
    }
  }

  @Benchmark
  public long roundTrip() {
    host.call().start(1);
    host.call().args[0] = 42;
    host.submit();
    host.await(Long.MAX_VALUE);
    return host.result();
  }

  @TearDown
  public void stop() throws InterruptedException {
    device.close();
    shadow.join();
    arena.close();
  }
}
