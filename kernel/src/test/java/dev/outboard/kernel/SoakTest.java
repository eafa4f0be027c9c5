// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Everything at once: tasks that come and go, block, wake and are interrupted at random. {@code
 * -Dtests.soak.seconds=} makes it longer, {@code -Dtests.seed=} repeats the choices.
 */
@Timeout(600)
class SoakTest {
  private static final int WORKERS = 8;

  private final LinuxKernel kernel;
  private final long seed = Long.getLong("tests.seed", System.nanoTime());
  private final long seconds = Long.getLong("tests.soak.seconds", 4);
  private final Set<Integer> tids = ConcurrentHashMap.newKeySet();
  private final AtomicLong operations = new AtomicLong();
  private final AtomicLong interrupted = new AtomicLong();
  private volatile boolean stop;

  SoakTest() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults().withMemory(128 << 20, 32 << 20));
  }

  private boolean over(long result) {
    if (result == -512 || result == -514 || result == -Errno.EINTR) {
      interrupted.incrementAndGet();
      return true;
    }
    return false;
  }

  /** The result of a call that may be interrupted, made until it was not. */
  private long until(Guest g, int nr, long... a) {
    long r;
    do {
      r = g.call(nr, a);
    } while (over(r));
    if (r < 0) {
      throw new AssertionError("system call " + nr + ": " + Errno.name((int) -r));
    }
    return r;
  }

  private void pair(Guest g, int size) {
    MemorySegment fds = g.allocate(8);
    g.ok(Nr.SOCKETPAIR, 1, 1, 0, fds.address());
    int a = fds.get(ValueLayout.JAVA_INT, 0);
    int b = fds.get(ValueLayout.JAVA_INT, 4);
    MemorySegment data = g.allocate(size);
    assertThat(until(g, Nr.WRITE, a, data.address(), size)).isEqualTo(size);
    assertThat(until(g, Nr.READ, b, data.address(), size)).isEqualTo(size);
    g.ok(Nr.CLOSE, a);
    g.ok(Nr.CLOSE, b);
  }

  private void tcp(Guest g, int size) {
    int server = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_STREAM, 0);
    MemorySegment at = Net.address(g, Net.LOOPBACK, 0);
    g.ok(Nr.BIND, server, at.address(), 16);
    g.ok(Nr.LISTEN, server, 5);
    MemorySegment length = g.allocate(4);
    length.set(ValueLayout.JAVA_INT, 0, 16);
    g.ok(Nr.GETSOCKNAME, server, at.address(), length.address());
    int client = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_STREAM, 0);
    until(g, Nr.CONNECT, client, at.address(), 16);
    int peer = (int) until(g, Nr.ACCEPT, server, 0, 0);
    MemorySegment data = g.allocate(size);
    assertThat(until(g, Nr.WRITE, client, data.address(), size)).isEqualTo(size);
    g.ok(Nr.SHUTDOWN, client, 1);
    long sum = 0;
    for (long n; (n = until(g, Nr.READ, peer, data.address(), size)) > 0; ) {
      sum += n;
    }
    assertThat(sum).isEqualTo(size);
    g.ok(Nr.CLOSE, server);
    g.ok(Nr.CLOSE, client);
    g.ok(Nr.CLOSE, peer);
  }

  private void sleep(Guest g, int nanos) {
    MemorySegment pipe = g.allocate(8);
    g.ok(Nr.PIPE2, pipe.address(), 0);
    MemorySegment poll = g.allocate(8);
    poll.set(ValueLayout.JAVA_INT, 0, pipe.get(ValueLayout.JAVA_INT, 0));
    poll.set(ValueLayout.JAVA_SHORT, 4, (short) 1);
    MemorySegment time = g.allocate(16);
    time.set(ValueLayout.JAVA_LONG, 8, nanos);
    long r = g.call(Nr.PPOLL, poll.address(), 1, time.address(), 0, 8);
    assertThat(r == 0 || over(r)).as("ppoll %d", r).isTrue();
    g.ok(Nr.CLOSE, pipe.get(ValueLayout.JAVA_INT, 0));
    g.ok(Nr.CLOSE, pipe.get(ValueLayout.JAVA_INT, 4));
  }

  private void file(Guest g, int size) {
    MemorySegment name = g.string("/tmp/soak" + g.tid);
    int fd = (int) g.ok(Nr.OPENAT, -100, name.address(), 0102, 0600);
    assertThat(until(g, Nr.WRITE, fd, g.allocate(size).address(), size)).isEqualTo(size);
    g.ok(Nr.UNLINKAT, -100, name.address(), 0);
    g.ok(Nr.CLOSE, fd);
  }

  /** One task's life: a few hundred operations, in a file table of its own or a shared one. */
  private long live(int like, int slot, long seed) {
    Random random = new Random(seed);
    Guest g = new Guest(kernel, like, slot);
    tids.add(g.tid);
    int n = random.nextInt(200);
    for (int i = 0; i < n && !stop; i++) {
      g.reset();
      switch (random.nextInt(5)) {
        case 0 -> pair(g, 1 + random.nextInt(8192));
        case 1 -> tcp(g, 1 + random.nextInt(32768));
        case 2 -> sleep(g, random.nextInt(300_000));
        case 3 -> file(g, 1 + random.nextInt(8192));
        default -> assertThat(g.ok(Nr.GETTID)).isEqualTo(g.tid);
      }
      operations.incrementAndGet();
    }
    tids.remove(g.tid);
    if (random.nextBoolean()) {
      g.close();
    }
    return n;
  }

  private void spawn(int like, int slot) throws Exception {
    Random random = new Random(seed + slot);
    while (!stop) {
      long next = random.nextLong();
      FutureTask<Long> task =
          new FutureTask<>(() -> live(random.nextInt(3) == 0 ? 0 : like, slot, next));
      Thread.ofPlatform().start(task);
      task.get();
    }
  }

  private static String open(Guest g, String path) {
    g.reset();
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string(path).address(), 0);
    MemorySegment b = g.allocate(256);
    g.ok(Nr.READ, fd, b.address(), 255);
    g.ok(Nr.CLOSE, fd);
    return b.getString(0).split("\\s", -1)[0];
  }

  @Test
  void tasksComeAndGo() throws Exception {
    System.out.println("-Dtests.seed=" + seed);
    try (kernel;
        Guest g = new Guest(kernel, 0, 0)) {
      Net.loopbackUp(g);
      String files = open(g, "/proc/sys/fs/file-nr");
      List<FutureTask<Integer>> spawners = new ArrayList<>();
      for (int i = 1; i <= WORKERS; i++) {
        int slot = i;
        FutureTask<Integer> t =
            new FutureTask<>(() -> {
              spawn(g.tid, slot);
              return slot;
            });
        spawners.add(t);
        Thread.ofPlatform().start(t);
      }
      Random random = new Random(seed);
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
      while (System.nanoTime() < end && spawners.stream().noneMatch(FutureTask::isDone)) {
        for (int tid : tids) {
          if (random.nextInt(4) == 0) {
            kernel.interrupt(tid);
          }
        }
        Thread.sleep(0, random.nextInt(999_999));
      }
      stop = true;
      for (FutureTask<Integer> t : spawners) {
        t.get(60, TimeUnit.SECONDS);
      }
      System.out.printf("%d operations, %d interrupted%n", operations.get(), interrupted.get());
      assertThat(operations.get()).isGreaterThan(1000);
      assertThat(interrupted.get()).isPositive();
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
      while (kernel.tasks() > 1 && System.nanoTime() < deadline) {
        Thread.sleep(1);
      }
      assertThat(kernel.tasks()).isEqualTo(1);
      assertThat(open(g, "/proc/sys/fs/file-nr")).as("open files").isEqualTo(files);
    }
  }
}
