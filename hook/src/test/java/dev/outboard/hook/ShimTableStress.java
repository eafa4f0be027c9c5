// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Threads that do to one descriptor number what programs, the shim and the hook do: open it as the
 * host's or as the device's when it is free, close it by the shim if the table says host, by a trap
 * otherwise, and look it up. What the table says may never be wrong.
 */
final class ShimTableStress {
  private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle();
  private static final int FD = 5;
  private static final int FREE = 0;
  private static final int HOST = 1;
  private static final int DEVICE = 2;
  private static final int ROUNDS = 200_000;

  private ShimTableStress() {}

  static void closeBegins(MemorySegment memory, int fd) {
    INT.getAndAdd(memory, 4L * fd, 0x1_0100);
    memory.set(ValueLayout.JAVA_BYTE, 4L * fd, (byte) 0);
  }

  static void closeEnds(MemorySegment memory, int fd) {
    INT.getAndAdd(memory, 4L * fd, -0x100);
  }

  static void run(MemorySegment memory, ShimTable table) throws InterruptedException {
    AtomicInteger file = new AtomicInteger(FREE);
    AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
    Books books = new Books();
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    SplittableRandom random = new SplittableRandom(seed);
    List<Thread> threads = new ArrayList<>();
    // Opens when it is free; then it alone closes it, as a program that is right does.
    Step opens =
        r -> {
          int kind = r.nextBoolean() ? HOST : DEVICE;
          assertThat(file.compareAndSet(FREE, kind)).isTrue();
          pause(r);
          if (kind == DEVICE) {
            assertThat(table.isHost(FD)).as("the table's word on a device fd").isFalse();
          }
          if (table.isHost(FD)) {
            closeBegins(memory, FD);
            pause(r);
            file.set(FREE);
            assertThat(table.isHost(FD)).as("the table's word on a free number").isFalse();
            closeEnds(memory, FD);
          } else {
            books.closing(table, true);
            pause(r);
            file.set(FREE);
            books.closing(table, false);
          }
        };
    Step looks =
        r -> {
          long asOf = books.version();
          int mark = table.mark(FD);
          int seen = file.get();
          pause(r);
          if (seen == HOST) {
            books.learn(table, asOf, mark);
          }
        };
    Thread opener = start(threads, failed, random.split(), opens);
    start(threads, failed, random.split(), looks);
    start(threads, failed, random.split(), looks);
    opener.join();
    for (Thread t : threads) {
      t.interrupt();
      t.join();
    }
    Throwable e = failed.get();
    if (e != null) {
      throw new AssertionError("with -Dtests.seed=" + seed, e);
    }
  }

  /** What {@link ProcessEntry} does about closes that trap. */
  private static final class Books {
    private long version;
    private boolean closing;

    synchronized long version() {
      return version;
    }

    synchronized void closing(ShimTable table, boolean begins) {
      version++;
      closing = begins;
      if (begins) {
        table.forget(FD, FD);
      }
    }

    synchronized void learn(ShimTable table, long asOf, int mark) {
      if (asOf == version && !closing) {
        table.learn(FD, mark);
      }
    }
  }

  private interface Step {
    void run(SplittableRandom r);
  }

  private static Thread start(
      List<Thread> threads,
      AtomicReference<@Nullable Throwable> failed,
      SplittableRandom r,
      Step step) {
    Thread t =
        new Thread(() -> {
          try {
            for (int i = 0; i < ROUNDS && !Thread.currentThread().isInterrupted(); i++) {
              step.run(r);
            }
          } catch (Throwable e) {
            failed.compareAndSet(null, e);
          }
        });
    threads.add(t);
    t.start();
    return t;
  }

  private static void pause(SplittableRandom r) {
    switch (r.nextInt(64)) {
      case 0 -> LockSupport.parkNanos(1);
      default -> {
        // straight on
      }
    }
  }
}
