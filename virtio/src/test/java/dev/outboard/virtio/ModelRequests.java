// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static dev.outboard.abi.Virtio.F_VERSION_1;
import static dev.outboard.abi.Virtio.RING_F_EVENT_IDX;
import static dev.outboard.abi.Virtio.RING_F_INDIRECT_DESC;
import static dev.outboard.abi.Virtio.STATUS_ACKNOWLEDGE;
import static dev.outboard.abi.Virtio.STATUS_DRIVER;
import static dev.outboard.abi.Virtio.STATUS_DRIVER_OK;
import static dev.outboard.abi.Virtio.STATUS_FEATURES_OK;
import static dev.outboard.abi.Virtio.bit;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** A driver in Java of a device that answers requests, one at a time. */
final class ModelRequests implements AutoCloseable {
  static final int LINE = 9;

  /** Where requests and replies lie in the memory. */
  private static final int OUT = 1 << 20;

  private static final int IN = 2 << 20;

  /** Largest request and largest reply. */
  static final int MOST = 1 << 20;

  private static final int QUEUE_SIZE = 128;
  private static final int NEEDED = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

  final Arena arena = Arena.ofShared();
  final MemorySegment memory = arena.allocate(ModelDriver.MEMORY_BYTES, 4096);
  final GuestMemory guest = new GuestMemory(memory, ModelDriver.BASE);
  final Queue<String> notices = new ConcurrentLinkedQueue<>();
  private final Semaphore interrupts = new Semaphore(0);
  private final List<ModelDriver> queues = new ArrayList<>();

  @SuppressWarnings("NullAway.Init") // set by plug()
  private RequestDevice device;

  @SuppressWarnings("NullAway.Init") // set by plug()
  RegisterPage page;

  /** Into how many parts requests and replies are cut. */
  int parts = 3;

  /** Whether chains lie in tables of their own. */
  boolean indirect;

  final GuestKernel kernel =
      new ModelKernel(guest) {
        @Override
        public void raiseInterrupt(int line) {
          assertThat(line).isEqualTo(LINE);
          interrupts.release();
        }
      };

  /** Starts a device, which this object closes, and takes it into use. */
  void plug(RequestDevice device) {
    this.device = device;
    page =
        new RegisterPage(
            MemorySegment.ofAddress(device.pageAddress()).reinterpret(RegisterPage.BYTES));
    device.start();
    assertThat(status(STATUS_ACKNOWLEDGE)).isEqualTo(STATUS_ACKNOWLEDGE);
    assertThat(status(NEEDED)).isEqualTo(NEEDED);
    page.setLong(
        RegisterPage.DRIVER_FEATURES,
        page.getLong(RegisterPage.DEVICE_FEATURES)
            & ~(indirect ? 0 : bit(RING_F_INDIRECT_DESC))
            & ~bit(RING_F_EVENT_IDX));
    assertThat(page.getLong(RegisterPage.DEVICE_FEATURES) & bit(F_VERSION_1)).isNotZero();
    assertThat(status(NEEDED | STATUS_FEATURES_OK)).isEqualTo(NEEDED | STATUS_FEATURES_OK);
    for (int i = 0; i < page.get(RegisterPage.QUEUE_COUNT); i++) {
      ModelDriver queue = new ModelDriver(memory, QUEUE_SIZE, (i + 1) * (16L << 10));
      queues.add(queue);
      queue.offer(page, i);
    }
    int all = NEEDED | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    assertThat(status(all)).isEqualTo(all);
  }

  /** Asks for a status; what the device made of it. */
  int status(int value) {
    page.set(RegisterPage.STATUS, value);
    page.set(RegisterPage.STATUS_SERIAL, page.get(RegisterPage.STATUS_SERIAL) + 1);
    kick(page.get(RegisterPage.CONTROL_KICK));
    await(
        "an answer",
        () -> page.get(RegisterPage.ACK_SERIAL) == page.get(RegisterPage.STATUS_SERIAL));
    return page.get(RegisterPage.ACK_STATUS);
  }

  private static void kick(int fd) {
    try (Arena a = Arena.ofConfined()) {
      assertThat(Linux.write(fd, a.allocateFrom(ValueLayout.JAVA_LONG, 1L).address(), 8))
          .isEqualTo(8);
    }
  }

  void await(String what, BooleanSupplier condition) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime()).as("waited for %s; %s", what, notices).isLessThan(deadline);
      try {
        interrupts.tryAcquire(1, TimeUnit.MILLISECONDS);
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  /**
   * Sends a request and waits for its end.
   *
   * @param room bytes for the reply
   * @return what the device wrote
   */
  byte[] request(int queue, byte[] out, int room) {
    submit(queue, out, room);
    List<ModelDriver.Used> used = new ArrayList<>();
    await(
        "a reply",
        () -> {
          ModelDriver.Used u = queues.get(queue).take();
          return u != null && used.add(u);
        });
    return memory.asSlice(IN, used.getFirst().length()).toArray(ValueLayout.JAVA_BYTE);
  }

  /** Sends a request only. */
  void submit(int queue, byte[] out, int room) {
    assertThat(out.length).isLessThanOrEqualTo(MOST);
    MemorySegment.copy(out, 0, memory, ValueLayout.JAVA_BYTE, OUT, out.length);
    memory.asSlice(IN, room).fill((byte) 0x5a);
    List<ModelDriver.Buffer> chain = new ArrayList<>();
    cut(chain, OUT, out.length, false);
    cut(chain, IN, room, true);
    if (indirect) {
      table(queue, chain);
    } else {
      queues.get(queue).add(chain);
    }
    kick(page.queue(queue, RegisterPage.QUEUE_KICK));
  }

  private void table(int queue, List<ModelDriver.Buffer> chain) {
    ModelDriver table = new ModelDriver(memory, 256, 512 << 10);
    for (int i = 0; i < chain.size(); i++) {
      ModelDriver.Buffer b = chain.get(i);
      boolean last = i == chain.size() - 1;
      table.descriptor(i, b.address(), b.length(), (b.write() ? 2 : 0) | (last ? 0 : 1), i + 1);
    }
    ModelDriver q = queues.get(queue);
    q.descriptor(0, ModelDriver.BASE + (512 << 10), 16L * chain.size(), 4, 0);
    q.offer(0);
  }

  private void cut(List<ModelDriver.Buffer> chain, long at, int length, boolean write) {
    int done = 0;
    for (int i = 0; i < parts && done < length; i++) {
      // Odd lengths, so that no part ends where a header does.
      int part = i == parts - 1 ? length - done : Math.min(length - done, length / parts | 1);
      chain.add(new ModelDriver.Buffer(ModelDriver.BASE + at + done, part, write));
      done += part;
    }
  }

  @Override
  public void close() {
    if (device != null) {
      device.close();
    }
    arena.close();
  }
}
