// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import dev.outboard.channel.Frame;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Bytes that wait, the first in first out. They lie in chunks of native memory, which the queues of
 * a session hand to each other: a stream that goes on allocates nothing, and a queue without bytes
 * has no memory.
 *
 * <p>Not for threads at the same time, but for {@link #peek}: it may run while others add.
 */
final class ByteQueue {
  static final int CHUNK_BYTES = 64 * 1024;

  /** So much memory: {@link #CHUNK_BYTES} of it. */
  private static final class Chunk {
    private final MemorySegment memory = Arena.ofAuto().allocate(CHUNK_BYTES, 64);

    /** What follows in the queue, or in the pool. */
    private @Nullable Chunk next;
  }

  /**
   * The chunks that no queue of a session has: as many as hold what may be on its way. Any thread.
   */
  static final class Pool {
    private static final int MOST = Frame.Ahead.SESSION_BYTES / CHUNK_BYTES;

    private @Nullable Chunk first;
    private int count;

    private synchronized Chunk take() {
      Chunk chunk = first;
      if (chunk == null) {
        return new Chunk();
      }
      first = chunk.next;
      chunk.next = null;
      count--;
      return chunk;
    }

    private synchronized void give(Chunk chunk) {
      if (count < MOST) {
        chunk.next = first;
        first = chunk;
        count++;
      }
    }

    /** How many it has. */
    synchronized int count() {
      return count;
    }
  }

  private final Pool pool;
  private @Nullable Chunk head;
  private @Nullable Chunk tail;
  private int headAt;
  private int tailAt;
  private int size;

  ByteQueue(Pool pool) {
    this.pool = pool;
  }

  /** How many bytes there are. */
  int size() {
    return size;
  }

  /** Takes all that remains of a buffer. */
  void add(ByteBuffer from) {
    MemorySegment bytes = MemorySegment.ofBuffer(from);
    long count = bytes.byteSize();
    for (long done = 0; done < count; ) {
      Chunk to = tail;
      if (to == null || tailAt == CHUNK_BYTES) {
        Chunk fresh = pool.take();
        if (to == null) {
          head = fresh;
          headAt = 0;
        } else {
          to.next = fresh;
        }
        tail = fresh;
        tailAt = 0;
        to = fresh;
      }
      int part = (int) Math.min(count - done, CHUNK_BYTES - tailAt);
      MemorySegment.copy(
          bytes, ValueLayout.JAVA_BYTE, done, to.memory, ValueLayout.JAVA_BYTE, tailAt, part);
      tailAt += part;
      done += part;
    }
    size += (int) count;
    from.position(from.limit());
  }

  /**
   * Copies the first bytes, which stay.
   *
   * @param count no more than there were when this thread last saw {@link #size}
   */
  void peek(MemorySegment to, int count) {
    Chunk from = head;
    int at = headAt;
    for (int done = 0; done < count && from != null; ) {
      int part = Math.min(count - done, CHUNK_BYTES - at);
      MemorySegment.copy(from.memory, at, to, done, part);
      done += part;
      if (done < count) {
        from = from.next; // written before these bytes were counted
      }
      at = 0;
    }
  }

  /**
   * Throws away the first bytes.
   *
   * @param count no more than there are
   */
  void remove(int count) {
    if (count > size) {
      throw new IllegalArgumentException(count + " bytes of " + size);
    }
    size -= count;
    int left = count;
    Chunk chunk = head;
    while (chunk != null && (size == 0 || left >= CHUNK_BYTES - headAt)) {
      left -= CHUNK_BYTES - headAt;
      headAt = 0;
      Chunk next = chunk.next;
      chunk.next = null;
      pool.give(chunk);
      chunk = next;
    }
    head = chunk;
    if (chunk == null) {
      tail = null;
      tailAt = 0;
    } else {
      headAt += left;
    }
  }
}
