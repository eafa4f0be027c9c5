// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Threads that do to descriptor numbers, neighbours in the table, what programs, the shim and the
 * hook do: open one as the host's or as the device's when it is free, close it by the shim if the
 * table says host, by a trap otherwise, and look any of them up, as the hook or as the shim. What
 * the table says may never be wrong.
 */
final class ShimTableStress {
  private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle();
  private static final int FIRST_FD = 5;
  private static final int FDS = 8;
  private static final int LOOKERS = 8;
  private static final int NO_OPENER = 1;
  private static final int FREE = 0;
  private static final int HOST = 1;
  private static final int DEVICE = 2;
  private static final int ROUNDS = 200_000 / FDS;

  private ShimTableStress() {}

  static void closeBegins(MemorySegment memory, int fd) {
    INT.getAndAdd(memory, 4L * fd, 0x1_0100);
    memory.set(ValueLayout.JAVA_BYTE, 4L * fd, (byte) 0);
  }

  static void closeEnds(MemorySegment memory, int fd) {
    INT.getAndAdd(memory, 4L * fd, -0x100);
  }

  static void run(MemorySegment memory, ShimTable table) throws InterruptedException {
    AtomicIntegerArray files = new AtomicIntegerArray(FIRST_FD + FDS);
    AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
    Books books = new Books();
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    SplittableRandom random = new SplittableRandom(seed);
    List<Thread> threads = new ArrayList<>();
    List<Thread> openers = new ArrayList<>();
    for (int i = 0; i < FDS; i++) {
      int fd = FIRST_FD + i;
      AtomicBoolean settles = new AtomicBoolean();
      // Opens when it is free; then it alone closes it, as a program that is right does.
      Step opens =
          r -> {
            int kind = r.nextBoolean() ? HOST : DEVICE;
            assertThat(files.compareAndSet(fd, FREE, kind)).isTrue();
            pause(r);
            if (r.nextBoolean()) {
              // Perhaps its last close is not known to be over yet, but to itself.
              learnAsShim(memory, files, fd, fd, r);
            }
            if (r.nextBoolean() && settles.compareAndSet(true, false)) {
              books.closing(table, fd, false);
            }
            if (kind == DEVICE) {
              assertThat(table.isHost(fd)).as("the table's word on a device fd").isFalse();
            }
            if (table.isHost(fd)) {
              closeBegins(memory, fd);
              pause(r);
              files.set(fd, FREE);
              assertThat(table.isHost(fd)).as("the table's word on a free number").isFalse();
              closeEnds(memory, fd);
            } else {
              if (settles.getAndSet(true)) {
                books.closing(table, fd, false);
              }
              books.closing(table, fd, true);
              pause(r);
              files.set(fd, FREE);
            }
          };
      openers.add(start(threads, failed, random.split(), ROUNDS, opens));
    }
    Step looks =
        r -> {
          int fd = FIRST_FD + r.nextInt(FDS);
          if (r.nextBoolean()) {
            learnAsShim(memory, files, fd, NO_OPENER, r);
            return;
          }
          long asOf = books.version();
          int mark = table.mark(fd);
          int seen = files.get(fd);
          pause(r);
          if (seen == HOST) {
            books.learn(table, fd, asOf, mark);
          }
        };
    for (int i = 0; i < LOOKERS; i++) {
      start(threads, failed, random.split(), Integer.MAX_VALUE, looks);
    }
    for (Thread opener : openers) {
      opener.join();
    }
    for (Thread t : threads) {
      t.interrupt();
      t.join();
    }
    Throwable e = failed.get();
    if (e != null) {
      throw new AssertionError("with -Dtests.seed=" + seed, e);
    }
  }

  /** What {@code look_at_unknown} of device.c does. */
  private static void learnAsShim(
      MemorySegment memory, AtomicIntegerArray files, int fd, int tid, SplittableRandom r) {
    int word = (int) INT.getVolatile(memory, 4L * fd);
    int end;
    do {
      end = (int) INT.getVolatile(memory, (long) ShimLayout.END_OFFSET);
    } while (end <= fd && !INT.compareAndSet(memory, (long) ShimLayout.END_OFFSET, end, fd + 1));
    int learner = (int) INT.getVolatile(memory, (long) ShimLayout.LEARNER_OFFSET);
    pause(r);
    int seen = files.get(fd);
    pause(r);
    if (seen == HOST && (word & 0xffff) == 0 && (learner == 0 || learner == tid)) {
      INT.compareAndSet(memory, 4L * fd, word, word | ShimLayout.STATE_HOST);
    }
  }

  /** What {@link ProcessEntry} does about closes that trap. */
  private static final class Books {
    private long version;
    private final boolean[] closing = new boolean[FIRST_FD + FDS];

    synchronized long version() {
      return version;
    }

    synchronized void closing(ShimTable table, int fd, boolean begins) {
      version++;
      closing[fd] = begins;
      table.closer(closer());
      if (begins) {
        table.forget(fd, fd);
      }
    }

    private int closer() {
      int found = 0;
      for (int fd = FIRST_FD; fd < closing.length; fd++) {
        if (closing[fd]) {
          found = found == 0 ? fd : ShimLayout.NONE_LEARNS;
        }
      }
      return found;
    }

    synchronized void learn(ShimTable table, int fd, long asOf, int mark) {
      if (asOf == version && !closing[fd]) {
        table.learn(fd, mark);
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
      int rounds,
      Step step) {
    Thread t =
        new Thread(() -> {
          try {
            for (int i = 0; i < rounds && !Thread.currentThread().isInterrupted(); i++) {
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
