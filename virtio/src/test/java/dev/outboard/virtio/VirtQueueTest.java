// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VirtQueueTest {
  private static final long BUFFERS = 64 << 10;

  private final Arena arena = Arena.ofShared();
  private final long seed = Long.getLong("tests.seed", System.nanoTime());
  private final Random random = new Random(seed);

  @AfterEach
  void free() {
    arena.close();
  }

  private ModelDriver driver(int size) {
    return new ModelDriver(arena, size, 4096);
  }

  private static ModelDriver.Buffer buffer(long offset, long length, boolean write) {
    return new ModelDriver.Buffer(ModelDriver.BASE + BUFFERS + offset, length, write);
  }

  /** Chains of any shape come out in order, and go back in any order, over many wraps. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void carriesWhatADriverOffers(boolean eventIndex) throws RingViolation {
    System.out.println("seed " + seed);
    ModelDriver driver = driver(16);
    VirtQueue queue = driver.queue(false, eventIndex);
    Deque<List<ModelDriver.Buffer>> offered = new ArrayDeque<>();
    Deque<Integer> heads = new ArrayDeque<>();
    Deque<Integer> taken = new ArrayDeque<>();
    Deque<ModelDriver.Used> pushed = new ArrayDeque<>();
    Deque<Integer> chainLengths = new ArrayDeque<>();
    int free = 16;
    int completed = 0;
    IoVectors out = new IoVectors(arena, 16);
    while (completed < 200_000) {
      switch (random.nextInt(4)) {
        case 0 -> {
          int n = 1 + random.nextInt(5);
          if (n <= free) {
            List<ModelDriver.Buffer> chain = new ArrayList<>();
            for (int i = 0; i < n; i++) {
              chain.add(buffer(random.nextInt(100_000), random.nextInt(3000), false));
            }
            heads.add(driver.add(chain));
            offered.add(chain);
            chainLengths.add(n);
            free -= n;
          }
        }
        case 1 -> {
          out.clear();
          int head = queue.next(out);
          if (offered.isEmpty()) {
            assertThat(head).isEqualTo(VirtQueue.EMPTY);
          } else {
            List<ModelDriver.Buffer> chain = offered.remove();
            assertThat(head).isEqualTo(heads.remove());
            List<ModelDriver.Buffer> parts = chain.stream().filter(b -> b.length() > 0).toList();
            assertThat(out.count()).isEqualTo(parts.size());
            for (int i = 0; i < parts.size(); i++) {
              long address = driver.memory.address() + parts.get(i).address() - ModelDriver.BASE;
              assertThat(out.base(i)).isEqualTo(address);
              assertThat(out.length(i)).isEqualTo(parts.get(i).length());
            }
            assertThat(queue.chainBytes())
                .isEqualTo(chain.stream().mapToLong(ModelDriver.Buffer::length).sum());
            taken.add(head);
          }
        }
        case 2 -> {
          if (!taken.isEmpty()) {
            int head = taken.remove();
            long bytes = random.nextInt(1 << 20);
            queue.push(head, bytes);
            pushed.add(new ModelDriver.Used(head, bytes));
          }
        }
        default -> {
          assertThat(driver.take()).isNull();
          queue.publish();
          while (!pushed.isEmpty()) {
            assertThat(driver.take()).isEqualTo(pushed.remove());
            free += chainLengths.remove();
            completed++;
          }
        }
      }
    }
  }

  @Test
  void asksForInterruptsByIndex() throws RingViolation {
    ModelDriver driver = driver(8);
    VirtQueue queue = driver.queue(false, true);
    driver.setUsedEvent(1);
    use(driver, queue);
    assertThat(queue.interruptWanted()).as("entry 0, the driver wants one after entry 1").isFalse();
    use(driver, queue);
    assertThat(queue.interruptWanted()).as("entry 1").isTrue();
    assertThat(queue.interruptWanted()).as("nothing new").isFalse();
    use(driver, queue);
    assertThat(queue.interruptWanted()).as("entry 2, the event is past").isFalse();
  }

  @Test
  void asksForInterruptsByFlag() throws RingViolation {
    ModelDriver driver = driver(8);
    VirtQueue queue = driver.queue(false, false);
    driver.setNoInterrupt(true);
    use(driver, queue);
    assertThat(queue.interruptWanted()).isFalse();
    driver.setNoInterrupt(false);
    use(driver, queue);
    assertThat(queue.interruptWanted()).isTrue();
  }

  /** 2.7.10: the same answer as the specification's vring_need_event for all distances. */
  @Test
  void crossesEventsModulo65536() {
    for (int i = 0; i < 1_000_000; i++) {
      int before = random.nextInt(1 << 16);
      int step = random.nextInt(1 << 15);
      int event = random.nextInt(1 << 16);
      boolean passed = false;
      int distance = (event - before) & 0xffff;
      passed = distance < step;
      assertThat(VirtQueue.crossed((short) event, (short) (before + step), (short) before))
          .as("event %d from %d by %d", event, before, step)
          .isEqualTo(passed);
    }
  }

  private static void use(ModelDriver driver, VirtQueue queue) throws RingViolation {
    driver.add(List.of(buffer(0, 100, false)));
    IoVectors out = new IoVectors(Arena.ofAuto(), 8);
    queue.push(queue.next(out), 0);
    queue.publish();
  }

  @Test
  void asksForKicks() throws RingViolation {
    ModelDriver driver = driver(8);
    VirtQueue byIndex = driver.queue(false, true);
    assertThat(byIndex.enableKick()).isFalse();
    assertThat(driver.availableEvent()).isZero();
    driver.add(List.of(buffer(0, 1, false)));
    assertThat(byIndex.enableKick()).as("one is there already").isTrue();
    VirtQueue byFlag = driver.queue(false, false);
    byFlag.disableKick();
    assertThat(driver.usedFlags()).isEqualTo(1);
    assertThat(byFlag.enableKick()).isTrue();
    assertThat(driver.usedFlags()).isZero();
  }

  // --- rules broken by the driver ---

  @Test
  void refusesRingsOutsideOfMemory() {
    ModelDriver d = driver(8);
    long b = ModelDriver.BASE;
    long end = b + ModelDriver.MEMORY_BYTES;
    assertThatThrownBy(() -> ring(d, 8, end - 16 * 7, b + d.available, b + d.used))
        .hasMessageContaining("descriptor table")
        .hasMessageContaining("not in memory");
    assertThatThrownBy(() -> ring(d, 8, b + d.descriptors, end - 2, b + d.used))
        .hasMessageContaining("driver area");
    assertThatThrownBy(() -> ring(d, 8, b + d.descriptors, b + d.available, b - 4))
        .hasMessageContaining("device area");
    assertThatThrownBy(() -> ring(d, 8, Long.MIN_VALUE, b + d.available, b + d.used))
        .hasMessageContaining("descriptor table");
    assertThatThrownBy(() -> ring(d, 8, -16, b + d.available, b + d.used))
        .hasMessageContaining("descriptor table");
    assertThatThrownBy(() -> ring(d, 8, b + d.descriptors, b + d.available + 1, b + d.used))
        .hasMessageContaining("aligned to 2");
    assertThatThrownBy(() -> ring(d, 8, b + d.descriptors + 8, b + d.available, b + d.used))
        .hasMessageContaining("aligned to 16");
    for (int size : new int[] {0, 3, 7, -8, 1024, 32768, Integer.MIN_VALUE}) {
      assertThatThrownBy(() -> ring(d, size, b + d.descriptors, b + d.available, b + d.used))
          .hasMessageContaining("size is");
    }
  }

  private static VirtQueue ring(ModelDriver d, int size, long descriptors, long driver, long device)
      throws RingViolation {
    return new VirtQueue("test queue", d.guest, size, descriptors, driver, device, false, true);
  }

  private void assertViolation(ModelDriver driver, boolean deviceWrites, String message)
      throws RingViolation {
    VirtQueue queue = driver.queue(deviceWrites, true);
    IoVectors out = new IoVectors(arena, driver.size);
    out.add(1, 2);
    assertThatThrownBy(() -> queue.next(out))
        .isInstanceOf(RingViolation.class)
        .hasMessageContaining(message);
    assertThat(out.count()).as("nothing of the chain is left").isEqualTo(1);
  }

  @Test
  void refusesMoreChainsThanEntries() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.setAvailableIndex(9);
    assertViolation(driver, false, "9 chains are available in 8 entries");
  }

  @Test
  void refusesAHeadOutsideOfTheTable() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.offer(8);
    assertViolation(driver, false, "descriptor 8 of 8");
  }

  @Test
  void refusesANextOutsideOfTheTable() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.descriptor(0, ModelDriver.BASE, 1, 1, 65535);
    driver.offer(0);
    assertViolation(driver, false, "descriptor 65535 of 8");
  }

  @Test
  void refusesALoop() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.descriptor(0, ModelDriver.BASE, 1, 1, 1);
    driver.descriptor(1, ModelDriver.BASE, 1, 1, 0);
    driver.offer(0);
    assertViolation(driver, false, "longer than the queue's 8 entries");
  }

  @Test
  void refusesIndirectDescriptors() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.descriptor(0, ModelDriver.BASE, 16, 4, 0);
    driver.offer(0);
    assertViolation(driver, false, "indirect");
  }

  @Test
  void refusesTheWrongDirection() throws RingViolation {
    ModelDriver driver = driver(8);
    driver.add(List.of(buffer(0, 8, true)));
    assertViolation(driver, false, "a buffer for writing");
    driver = driver(8);
    driver.add(List.of(buffer(0, 8, true), buffer(0, 8, false)));
    assertViolation(driver, true, "may not write");
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -1, Long.MAX_VALUE, Long.MIN_VALUE, ModelDriver.BASE - 1})
  void refusesABufferOutsideOfMemory(long address) throws RingViolation {
    ModelDriver driver = driver(8);
    driver.descriptor(0, address, 8, 0, 0);
    driver.offer(0);
    assertViolation(driver, false, "not in memory");
  }

  @Test
  void refusesABufferThatEndsBehindMemory() throws RingViolation {
    long last = ModelDriver.BASE + ModelDriver.MEMORY_BYTES - 8;
    ModelDriver driver = driver(8);
    driver.descriptor(0, last, 9, 0, 0);
    driver.offer(0);
    assertViolation(driver, false, "9 bytes");
    driver = driver(8);
    driver.descriptor(0, ModelDriver.BASE, 0xffff_ffffL, 0, 0);
    driver.offer(0);
    assertViolation(driver, false, "4294967295 bytes");
    driver = driver(8);
    driver.descriptor(0, last, 8, 0, 0);
    driver.offer(0);
    assertThat(driver.queue(false, true).next(new IoVectors(arena, 8))).isZero();
  }

  /**
   * Whatever lies in the rings: no exception but a violation, no address outside of memory, no
   * write outside of the device area.
   */
  @Test
  void survivesRandomRings() throws RingViolation {
    System.out.println("seed " + seed);
    ModelDriver driver = driver(16);
    MemorySegment memory = driver.memory;
    long low = memory.address();
    long high = low + memory.byteSize();
    int violations = 0;
    int chains = 0;
    for (int round = 0; round < 20_000; round++) {
      boolean direction = random.nextBoolean();
      VirtQueue queue = driver.queue(direction, random.nextBoolean());
      scramble(driver, direction);
      byte[] before = memory.asSlice(0, driver.used).toArray(ValueLayout.JAVA_BYTE);
      IoVectors out = new IoVectors(Arena.ofAuto(), 16);
      try {
        for (int i = 0; i < 40; i++) {
          out.clear();
          int head = queue.next(out);
          for (int p = 0; p < out.count(); p++) {
            assertThat(out.base(p)).isBetween(low, high);
            assertThat(out.base(p) + out.length(p)).isBetween(low, high);
          }
          if (head == VirtQueue.EMPTY) {
            driver.setAvailableIndex(random.nextInt(1 << 16));
          } else {
            chains++;
            queue.push(head, random.nextLong());
          }
          queue.publish();
          queue.interruptWanted();
          queue.enableKick();
          queue.disableKick();
        }
      } catch (RingViolation v) {
        violations++;
      }
      int index = driver.memory.get(ValueLayout.JAVA_SHORT, driver.available + 2);
      MemorySegment after = memory.asSlice(0, driver.used);
      // The test itself moves the available index.
      before[(int) driver.available + 2] = (byte) index;
      before[(int) driver.available + 3] = (byte) (index >> 8);
      assertThat(after.mismatch(MemorySegment.ofArray(before))).isEqualTo(-1);
      assertThat(memory.asSlice(driver.end(), 4096).mismatch(MemorySegment.ofArray(new byte[4096])))
          .isEqualTo(-1);
    }
    assertThat(violations).as("rounds that broke a rule").isGreaterThan(1000);
    assertThat(chains).as("chains that kept them").isGreaterThan(1000);
  }

  /** Mostly plausible rings: pure noise never gets past the first check. */
  private void scramble(ModelDriver driver, boolean direction) {
    for (int i = 0; i < driver.size; i++) {
      long address =
          random.nextInt(20) == 0
              ? random.nextLong()
              : ModelDriver.BASE + random.nextInt(ModelDriver.MEMORY_BYTES + 100);
      long length = random.nextInt(20) == 0 ? random.nextInt() : random.nextInt(4000);
      int flags = (direction ? 2 : 0) | (random.nextInt(3) == 0 ? 1 : 0);
      if (random.nextInt(40) == 0) {
        flags = random.nextInt(1 << 16);
      }
      driver.descriptor(i, address, length, flags, random.nextInt(driver.size + 1));
      driver.memory.set(
          ValueLayout.JAVA_SHORT,
          driver.available + 4 + 2L * i,
          (short) random.nextInt(random.nextInt(20) == 0 ? 1 << 16 : driver.size));
    }
    driver.setAvailableIndex(random.nextInt(driver.size + 2));
  }

  // --- indirect tables ---

  private static VirtQueue indirect(ModelDriver driver) throws RingViolation {
    return new VirtQueue(
        "test queue",
        driver.guest,
        driver.size,
        ModelDriver.BASE + driver.descriptors,
        ModelDriver.BASE + driver.available,
        ModelDriver.BASE + driver.used,
        true,
        false,
        true);
  }

  /** What is readable and what is writable of a chain in a table of its own. */
  @Test
  void followsAnIndirectTable() throws RingViolation {
    try (Arena arena = Arena.ofConfined()) {
      ModelDriver driver = new ModelDriver(arena, 8, 4096);
      ModelDriver table = new ModelDriver(driver.memory, 8, 64 << 10);
      long memory = ModelDriver.BASE + (1 << 20);
      table.descriptor(0, memory, 100, 1, 2);
      table.descriptor(2, memory + 100, 50, 3, 1);
      table.descriptor(1, memory + 150, 7, 2, 0);
      driver.descriptor(3, ModelDriver.BASE + (64 << 10), 3 * 16, 4, 0);
      driver.offer(3);
      VirtQueue queue = indirect(driver);
      IoVectors readable = new IoVectors(arena, 8);
      IoVectors writable = new IoVectors(arena, 8);
      assertThat(queue.next(readable, writable)).isEqualTo(3);
      assertThat(readable.bytes()).isEqualTo(100);
      assertThat(writable.count()).isEqualTo(2);
      assertThat(writable.bytes()).isEqualTo(57);
    }
  }

  @Test
  void refusesBadIndirectTables() {
    long table = ModelDriver.BASE + (64 << 10);
    // length of the table, flags of its descriptor, flags of the first in it, its next
    long[][] bad = {
      {0, 4, 0, 0},
      {17, 4, 0, 0},
      {9 * 16, 4, 0, 0},
      {16, 5, 0, 0},
      {16, 4, 4, 0},
      {16, 4, 1, 1},
      {32, 4, 1, 0},
      {1L << 31, 4, 0, 0},
    };
    for (long[] b : bad) {
      try (Arena arena = Arena.ofConfined()) {
        ModelDriver driver = new ModelDriver(arena, 8, 4096);
        ModelDriver inner = new ModelDriver(driver.memory, 8, 64 << 10);
        inner.descriptor(0, ModelDriver.BASE, 1, (int) b[2], (int) b[3]);
        driver.descriptor(0, table, b[0], (int) b[1], 1);
        driver.offer(0);
        IoVectors readable = new IoVectors(arena, 8);
        IoVectors writable = new IoVectors(arena, 8);
        assertThatThrownBy(() -> indirect(driver).next(readable, writable))
            .as(java.util.Arrays.toString(b))
            .isInstanceOf(RingViolation.class);
        assertThat(readable.count() + writable.count()).isZero();
      }
    }
  }

  /** 2.7.4.2: what the device writes comes after what it reads. */
  @Test
  void refusesReadableBehindWritable() {
    try (Arena arena = Arena.ofConfined()) {
      ModelDriver driver = new ModelDriver(arena, 8, 4096);
      driver.add(
          List.of(
              new ModelDriver.Buffer(ModelDriver.BASE, 1, true),
              new ModelDriver.Buffer(ModelDriver.BASE, 1, false)));
      IoVectors readable = new IoVectors(arena, 8);
      IoVectors writable = new IoVectors(arena, 8);
      assertThatThrownBy(() -> indirect(driver).next(readable, writable))
          .isInstanceOf(RingViolation.class)
          .hasMessageContaining("2.7.4.2");
    }
  }
}
