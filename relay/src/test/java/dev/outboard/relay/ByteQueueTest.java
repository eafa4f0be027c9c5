// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.outboard.channel.Frame;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ByteQueueTest {
  private static final int MOST = 3 * ByteQueue.CHUNK_BYTES;

  private final ByteQueue.Pool pool = new ByteQueue.Pool();
  private final ByteQueue queue = new ByteQueue(pool);
  private final MemorySegment to = Arena.ofAuto().allocate(MOST);

  private byte[] peek(int count) {
    queue.peek(to, count);
    return to.asSlice(0, count).toArray(ValueLayout.JAVA_BYTE);
  }

  private int size(Random random) {
    return switch (random.nextInt(4)) {
      case 0 -> random.nextInt(10);
      case 1 -> ByteQueue.CHUNK_BYTES - 1 + random.nextInt(3);
      default -> random.nextInt(MOST);
    };
  }

  @Test
  void whatComesOutIsWhatWentIn() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    Random random = new Random(seed);
    ByteArrayOutputStream in = new ByteArrayOutputStream();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int round = 0; round < 2000 && in.size() < 8_000_000; round++) {
      if (random.nextBoolean()) {
        byte[] bytes = new byte[size(random)];
        random.nextBytes(bytes);
        ByteBuffer from =
            random.nextBoolean()
                ? ByteBuffer.wrap(bytes)
                : ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
        queue.add(from);
        assertThat(from.hasRemaining()).isFalse();
        in.writeBytes(bytes);
      } else {
        int seen = Math.min(queue.size(), size(random));
        byte[] first = peek(seen);
        int taken = random.nextInt(seen + 1);
        queue.remove(taken);
        out.write(first, 0, taken);
      }
      assertThat(queue.size()).isEqualTo(in.size() - out.size());
    }
    while (queue.size() > 0) {
      int count = Math.min(queue.size(), MOST);
      out.writeBytes(peek(count));
      queue.remove(count);
    }
    assertThat(Arrays.equals(in.toByteArray(), out.toByteArray())).isTrue();
  }

  @Test
  void memoryServesAgainAndAnEmptyQueueHasNone() {
    ByteBuffer bytes = ByteBuffer.allocateDirect(ByteQueue.CHUNK_BYTES + 1);
    ByteQueue other = new ByteQueue(pool);
    for (int i = 0; i < 100; i++) {
      queue.add(bytes.clear());
      queue.remove(ByteQueue.CHUNK_BYTES);
      other.add(bytes.clear().limit(10));
      queue.remove(1);
      assertThat(pool.count()).isEqualTo(1);
      other.remove(10);
      assertThat(pool.count()).isEqualTo(2);
    }
  }

  @Test
  void thePoolKeepsNoMoreThanASessionMayNeed() {
    int most = Frame.Ahead.SESSION_BYTES / ByteQueue.CHUNK_BYTES;
    for (int i = 0; i < most + 5; i++) {
      queue.add(ByteBuffer.allocateDirect(ByteQueue.CHUNK_BYTES));
    }
    queue.remove(queue.size());
    assertThat(pool.count()).isEqualTo(most);
    queue.add(ByteBuffer.allocateDirect(1));
    assertThat(pool.count()).isEqualTo(most - 1);
  }

  @Test
  void noMoreIsRemovedThanThereIs() {
    queue.add(ByteBuffer.allocateDirect(3));
    assertThatThrownBy(() -> queue.remove(4)).isInstanceOf(IllegalArgumentException.class);
  }
}
