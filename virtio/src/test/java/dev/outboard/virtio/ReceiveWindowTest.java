// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ReceiveWindowTest {
  private static final int LARGEST = 9000;

  private final Arena arena = Arena.ofShared();

  @AfterEach
  void free() {
    arena.close();
  }

  /** Frames of all lengths come back whole, over buffers of all lengths, in the order sent. */
  @Test
  void spreadsFramesOverBuffers() throws RingViolation {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("seed " + seed);
    Random random = new Random(seed);
    ModelDriver driver = new ModelDriver(arena, 64, 4096);
    VirtQueue queue = driver.queue(true, true);
    ReceiveWindow window = new ReceiveWindow(arena, queue, driver.guest, LARGEST, LARGEST);
    long[] addresses = new long[64];
    int free = 64;
    int nextBuffer = 0;
    for (int round = 0; round < 20_000; round++) {
      while (free > 0) {
        long address = ModelDriver.BASE + (64 << 10) + nextBuffer * 8192L;
        // 64 buffers of at least this always hold the largest frame.
        long length = 300L + random.nextInt(4000);
        int head = driver.add(List.of(new ModelDriver.Buffer(address, length, true)));
        addresses[head] = address;
        nextBuffer = (nextBuffer + 1) % 64;
        free--;
      }
      assertThat(window.fill()).isTrue();
      byte[] frame = new byte[12 + 14 + random.nextInt(LARGEST - 26)];
      random.nextBytes(frame);
      scatter(frame, window.vectors());
      window.complete(frame.length);
      queue.publish();

      List<ModelDriver.Used> entries = new ArrayList<>();
      for (ModelDriver.Used u = driver.take(); u != null; u = driver.take()) {
        entries.add(u);
      }
      free += entries.size();
      byte[] got = new byte[frame.length];
      int at = 0;
      for (ModelDriver.Used u : entries) {
        long offset = addresses[u.head()] - ModelDriver.BASE;
        MemorySegment.copy(driver.memory, ValueLayout.JAVA_BYTE, offset, got, at, (int) u.length());
        at += (int) u.length();
      }
      assertThat(at).isEqualTo(frame.length);
      assertThat((got[10] & 0xff) | ((got[11] & 0xff) << 8)).isEqualTo(entries.size());
      got[10] = frame[10];
      got[11] = frame[11];
      assertThat(got).isEqualTo(frame);
    }
  }

  private static void scatter(byte[] frame, IoVectors vectors) {
    int at = 0;
    for (int i = 0; at < frame.length; i++) {
      int n = (int) Math.min(vectors.length(i), frame.length - at);
      MemorySegment to = MemorySegment.ofAddress(vectors.base(i)).reinterpret(n);
      MemorySegment.copy(frame, at, to, ValueLayout.JAVA_BYTE, 0, n);
      at += n;
    }
  }

  @Test
  void wantsRoomForTheHeaderInEachBuffer() throws RingViolation {
    ModelDriver driver = new ModelDriver(arena, 8, 4096);
    driver.add(List.of(new ModelDriver.Buffer(ModelDriver.BASE, 2000, true)));
    driver.add(List.of(new ModelDriver.Buffer(ModelDriver.BASE, 11, true)));
    ReceiveWindow window =
        new ReceiveWindow(arena, driver.queue(true, true), driver.guest, LARGEST, LARGEST);
    assertThatThrownBy(window::fill).hasMessageContaining("without room for the header");
  }

  @Test
  void wantsRoomForTheLargestFrame() throws RingViolation {
    ModelDriver driver = new ModelDriver(arena, 8, 4096);
    for (int i = 0; i < 8; i++) {
      driver.add(List.of(new ModelDriver.Buffer(ModelDriver.BASE, 1000, true)));
    }
    ReceiveWindow window =
        new ReceiveWindow(arena, driver.queue(true, true), driver.guest, LARGEST, LARGEST);
    assertThatThrownBy(window::fill).hasMessageContaining("a frame has up to 9000");
  }

  /** A frame that fills the window may have been cut: the window grows, once. */
  @Test
  void makesRoomForLargerFramesOnceOneWasCut() throws RingViolation {
    ModelDriver driver = new ModelDriver(arena, 64, 4096);
    for (int i = 0; i < 64; i++) {
      driver.add(List.of(new ModelDriver.Buffer(ModelDriver.BASE + 1024L * i, 1000, true)));
    }
    ReceiveWindow window =
        new ReceiveWindow(arena, driver.queue(true, true), driver.guest, LARGEST, 4 * LARGEST);
    assertThat(window.fill()).isTrue();
    // As large as usual is never taken for cut.
    assertThat(window.vectors().bytes()).isGreaterThan(LARGEST).isLessThan(2 * LARGEST);
    assertThat(window.cut(LARGEST)).isFalse();
    assertThat(window.cut(window.vectors().bytes())).isTrue();
    assertThat(window.fill()).isTrue();
    assertThat(window.vectors().bytes()).isGreaterThanOrEqualTo(4 * LARGEST);
    assertThat(window.cut(window.vectors().bytes())).as("there is no larger one").isFalse();
  }

  /** Chains that share descriptors cannot make more parts than one call takes. */
  @Test
  void boundsThePartsOfOneCall() throws RingViolation {
    ModelDriver driver = new ModelDriver(arena, 512, 4096);
    for (int i = 0; i < 512; i++) {
      driver.descriptor(i, ModelDriver.BASE, 12, i == 511 ? 2 : 3, i + 1);
    }
    for (int i = 0; i < 512; i++) {
      driver.offer(0);
    }
    ReceiveWindow window =
        new ReceiveWindow(arena, driver.queue(true, true), driver.guest, 65_565, 65_565);
    assertThatThrownBy(window::fill).isInstanceOf(RingViolation.class);
    assertThat(window.vectors().count()).isLessThan(IoVectors.CALL_LIMIT);
  }
}
