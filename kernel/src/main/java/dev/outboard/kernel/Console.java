// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import dev.outboard.posix.Linux;
import dev.outboard.posix.Uninterrupted;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.charset.StandardCharsets;

/**
 * The reading end of a kernel's console ring, and the thread that drains it.
 *
 * <p>The ring is {@code struct obk_console} of {@code outboard_kernel.h}, which says how the two
 * sides keep out of each other's way.
 */
final class Console implements AutoCloseable {
  /** Bytes of the log that can wait for the sink; a power of two. */
  static final int CAPACITY = 1 << 18;

  private static final int LINE_LIMIT = 4096;

  private static final StructLayout LAYOUT =
      MemoryLayout.structLayout(
          ValueLayout.JAVA_LONG.withName("written"),
          ValueLayout.JAVA_INT.withName("bell"),
          ValueLayout.JAVA_INT.withName("capacity"),
          MemoryLayout.sequenceLayout(CAPACITY, ValueLayout.JAVA_BYTE).withName("data"));
  private static final VarHandle WRITTEN = field("written");
  private static final VarHandle BELL = field("bell");
  private static final VarHandle SIZE = field("capacity");
  private static final long BELL_OFFSET = offset("bell");
  private static final long DATA_OFFSET = offset("data");

  private final Arena arena = Arena.ofShared();
  private final MemorySegment ring = arena.allocate(LAYOUT);
  private final ConsoleSink sink;
  private final Thread thread;
  private final byte[] chunk = new byte[CAPACITY];
  private final byte[] line = new byte[LINE_LIMIT];
  private int lineLength;
  private long read;
  private volatile boolean closing;

  Console(ConsoleSink sink) {
    this.sink = sink;
    SIZE.set(ring, 0L, CAPACITY);
    thread = Thread.ofPlatform().name("outboard-console").daemon().unstarted(this::drain);
    thread.start();
  }

  /** The ring, which the kernel writes; lives until {@link #close}. */
  MemorySegment ring() {
    return ring;
  }

  private void drain() {
    boolean last = false;
    while (!last) {
      last = closing;
      // before the bytes are looked at: a bell that rings later ends the wait at once
      int bell = (int) BELL.getAcquire(ring, 0L);
      while (take()) {}
      if (!last) {
        Linux.futexWait(ring.address() + BELL_OFFSET, bell, 0);
      }
    }
    flushLine();
  }

  /** Copies what there is and passes the lines on; false if there was nothing. */
  private boolean take() {
    // pairs with the release store of the writer: the bytes below are there
    long written = (long) WRITTEN.getAcquire(ring, 0L);
    if (written == read) {
      return false;
    }
    long from = Math.max(read, written - CAPACITY);
    int bytes = (int) (written - from);
    for (int done = 0; done < bytes; ) {
      int at = (int) ((from + done) & (CAPACITY - 1));
      int n = Math.min(bytes - done, CAPACITY - at);
      MemorySegment.copy(ring, ValueLayout.JAVA_BYTE, DATA_OFFSET + at, chunk, done, n);
      done += n;
    }
    // what the writer has overtaken meanwhile may be torn
    VarHandle.loadLoadFence();
    long valid = Math.max(from, (long) WRITTEN.getAcquire(ring, 0L) - CAPACITY);
    if (valid > read) {
      lineLength = 0;
      emit("outboard: " + (valid - read) + " bytes of the kernel's log were lost");
    }
    for (long at = valid; at < written; at++) {
      add(chunk[(int) (at - from)]);
    }
    read = Math.max(written, valid);
    return true;
  }

  private void add(byte b) {
    if (b == '\n' || lineLength == LINE_LIMIT) {
      flushLine();
    }
    if (b != '\n') {
      line[lineLength++] = b;
    }
  }

  private void flushLine() {
    if (lineLength > 0) {
      emit(new String(line, 0, lineLength, StandardCharsets.UTF_8));
      lineLength = 0;
    }
  }

  private void emit(String s) {
    try {
      sink.line(s);
    } catch (RuntimeException e) {
      // the sink's trouble is not the kernel's
    }
  }

  /** Passes on what is left, ends the thread, frees the ring. The kernel must be halted. */
  @Override
  public void close() {
    closing = true;
    BELL.getAndAdd(ring, 0L, 1);
    Linux.futexWake(ring.address() + BELL_OFFSET, 1);
    Uninterrupted.join(thread);
    arena.close();
  }

  private static VarHandle field(String name) {
    return LAYOUT.varHandle(MemoryLayout.PathElement.groupElement(name));
  }

  private static long offset(String name) {
    return LAYOUT.byteOffset(MemoryLayout.PathElement.groupElement(name));
  }
}
