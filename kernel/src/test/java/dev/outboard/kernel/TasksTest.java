// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Tasks: what they share, how they wait for each other, how they are interrupted, how they end. */
@Timeout(120)
class TasksTest {
  private static final int SOL_SOCKET = 1;
  private static final int SO_RCVTIMEO = 20;

  private static LinuxKernel kernel;

  @BeforeAll
  static void boot() throws KernelException {
    kernel = LinuxKernel.boot(LinuxKernel.Options.defaults().withMemory(128 << 20, 256 << 20));
  }

  @AfterAll
  static void halt() {
    kernel.close();
  }

  /** What a thread of the test does as a task. */
  private interface Body<T> {
    T run(Guest g) throws Exception;
  }

  private static <T> FutureTask<T> start(int like, int slot, Body<T> body) {
    FutureTask<T> task =
        new FutureTask<>(() -> {
          try (Guest g = new Guest(kernel, like, slot)) {
            return body.run(g);
          }
        });
    Thread.ofPlatform().name("guest-" + slot).start(task);
    return task;
  }

  private static <T> T get(FutureTask<T> t) throws Exception {
    return t.get(60, TimeUnit.SECONDS);
  }

  @Test
  void tasksShareFilesWithTheOneTheyAreLike() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      int fd = (int) g.ok(Nr.EVENTFD2, 7, 0);
      int made =
          get(
              start(
                  g.tid,
                  1,
                  other -> {
                    MemorySegment b = other.allocate(8);
                    other.ok(Nr.READ, fd, b.address(), 8);
                    assertThat(b.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(7);
                    return (int) other.ok(Nr.EVENTFD2, 0, 0);
                  }));
      // the task that made it has ended, the file table has not
      assertThat(made).isNotEqualTo(fd);
      g.ok(Nr.CLOSE, made);
      assertThat(g.call(Nr.CLOSE, made)).isEqualTo(-Errno.EBADF);
    }
  }

  @Test
  void tasksWithFilesOfTheirOwnSeeNothingOfOthers() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      int fd = (int) g.ok(Nr.EVENTFD2, 0, 0);
      assertThat(fd).isZero();
      get(
          start(
              0,
              1,
              other -> {
                assertThat(other.call(Nr.CLOSE, fd)).isEqualTo(-Errno.EBADF);
                assertThat(other.ok(Nr.EVENTFD2, 0, 0)).isZero();
                assertThat(other.ok(Nr.EVENTFD2, 0, 0)).isEqualTo(1);
                return true;
              }));
      assertThat(g.call(Nr.CLOSE, 1)).isEqualTo(-Errno.EBADF);
      assertThat(g.ok(Nr.CLOSE, fd)).isZero();
    }
  }

  @Test
  void aTaskMayBeLikeOneThatIsBlocked() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      int fd = (int) g.ok(Nr.EVENTFD2, 0, 0);
      CountDownLatch entered = new CountDownLatch(1);
      AtomicInteger tid = new AtomicInteger();
      FutureTask<Long> blocked =
          start(
              g.tid,
              1,
              other -> {
                tid.set(other.tid);
                entered.countDown();
                return other.call(Nr.READ, fd, other.allocate(8).address(), 8);
              });
      entered.await();
      untilInCall(tid.get());
      get(
          start(
              tid.get(),
              2,
              third -> {
                MemorySegment b = third.allocate(8);
                b.set(ValueLayout.JAVA_LONG, 0, 1);
                return third.ok(Nr.WRITE, fd, b.address(), 8);
              }));
      assertThat(get(blocked)).isEqualTo(8);
    }
  }

  @Test
  void nobodyIsLikeATaskThatIsNotThere() {
    assertThat(kernel.enterTask(1 << 20, false)).isEqualTo(-Errno.ESRCH);
    // process 1 and the kernel's own threads are not for sharing
    assertThat(kernel.enterTask(1, false)).isEqualTo(-Errno.ESRCH);
    assertThat(kernel.enterTask(2, false)).isEqualTo(-Errno.ESRCH);
    assertThat(kernel.enterTask(0, false)).isEqualTo(-Errno.EINVAL);
    assertThat(kernel.tasks()).isZero();
  }

  @Test
  void aLimitOfTasksIsAnError() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/proc/sys/kernel/threads-max").address(), 2);
      MemorySegment old = g.allocate(16);
      long n = g.ok(Nr.READ, fd, old.address(), 16);
      MemorySegment few = g.string("20");
      g.ok(Nr.LSEEK, fd, 0, 0);
      g.ok(Nr.WRITE, fd, few.address(), 2);
      List<FutureTask<Integer>> tasks = new ArrayList<>();
      CountDownLatch done = new CountDownLatch(1);
      try {
        int refused = 0;
        for (int i = 0; i < 30 && refused == 0; i++) {
          CountDownLatch entered = new CountDownLatch(1);
          AtomicInteger tid = new AtomicInteger();
          FutureTask<Integer> t =
              new FutureTask<>(() -> {
                tid.set(kernel.enterTask(g.tid, false));
                entered.countDown();
                done.await();
                kernel.leaveTask();
                return tid.get();
              });
          tasks.add(t);
          Thread.ofPlatform().start(t);
          entered.await();
          if (tid.get() < 0) {
            assertThat(tid.get()).isEqualTo(-Errno.EAGAIN);
            refused++;
          }
        }
        assertThat(refused).isEqualTo(1);
      } finally {
        done.countDown();
        g.ok(Nr.LSEEK, fd, 0, 0);
        g.ok(Nr.WRITE, fd, old.address(), n);
        g.ok(Nr.CLOSE, fd);
      }
      for (FutureTask<Integer> t : tasks) {
        get(t);
      }
    }
  }

  @Test
  void twoTasksWakeEachOther() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      MemorySegment pair = g.allocate(8);
      g.ok(Nr.SOCKETPAIR, 1, 1, 0, pair.address());
      int a = pair.get(ValueLayout.JAVA_INT, 0);
      int b = pair.get(ValueLayout.JAVA_INT, 4);
      int rounds = 20_000;
      FutureTask<Long> echo =
          start(
              g.tid,
              1,
              other -> {
                MemorySegment m = other.allocate(8);
                for (int i = 0; i < rounds; i++) {
                  other.ok(Nr.READ, b, m.address(), 8);
                  m.set(ValueLayout.JAVA_LONG, 0, m.get(ValueLayout.JAVA_LONG, 0) + 1);
                  other.ok(Nr.WRITE, b, m.address(), 8);
                }
                return m.get(ValueLayout.JAVA_LONG, 0);
              });
      MemorySegment m = g.allocate(8);
      for (int i = 0; i < rounds; i++) {
        g.ok(Nr.WRITE, a, m.address(), 8);
        g.ok(Nr.READ, a, m.address(), 8);
      }
      assertThat(m.get(ValueLayout.JAVA_LONG, 0)).isEqualTo(rounds);
      assertThat(get(echo)).isEqualTo(rounds);
    }
  }

  @Test
  void credentialsAreTheTasksOwn() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      get(
          start(
              g.tid,
              1,
              other -> {
                other.ok(Nr.SETRESUID, 1000, 1000, 1000);
                assertThat(other.ok(Nr.GETUID)).isEqualTo(1000);
                // a raw socket is root's
                assertThat(other.call(Nr.SOCKET, 2, 3, 1)).isEqualTo(-Errno.EPERM);
                return true;
              }));
      assertThat(g.ok(Nr.GETUID)).isZero();
      g.ok(Nr.CLOSE, g.ok(Nr.SOCKET, 2, 3, 1));
    }
  }

  @Test
  void whatWouldEndATaskOrTheKernelIsRefused() {
    try (Guest g = new Guest(kernel, 0, 0)) {
      for (int nr :
          new int[] {
            Nr.EXIT,
            Nr.EXIT + 1,
            Nr.CLONE,
            Nr.EXECVE,
            Nr.MMAP,
            Nr.MUNMAP,
            Nr.REBOOT,
            Nr.RT_SIGACTION,
            Nr.IO_SETUP,
            Nr.IO_URING_SETUP,
            9999,
            -1
          }) {
        assertThat(g.call(nr, 1, 1, 1, 1, 1, 1)).as("call %d", nr).isEqualTo(-Errno.ENOSYS);
      }
      // a write to a broken pipe is an error, and not the end
      MemorySegment pipe = g.allocate(8);
      g.ok(Nr.PIPE2, pipe.address(), 0);
      g.ok(Nr.CLOSE, pipe.get(ValueLayout.JAVA_INT, 0));
      int w = pipe.get(ValueLayout.JAVA_INT, 4);
      assertThat(g.call(Nr.WRITE, w, pipe.address(), 1)).isEqualTo(-Errno.EPIPE);
      g.ok(Nr.TGKILL, g.tid, g.tid, 15);
      assertThat(g.ok(Nr.GETTID)).isEqualTo(g.tid);
    }
  }

  @Test
  void aKilledTaskIsNoTaskAnyMore() {
    int before = kernel.tasks();
    try (Guest g = new Guest(kernel, 0, 0)) {
      assertThat(g.call(Nr.TGKILL, g.tid, g.tid, 9)).isEqualTo(-Errno.ESRCH);
      assertThat(g.call(Nr.GETTID)).isEqualTo(-Errno.ESRCH);
      assertThat(kernel.tasks()).isEqualTo(before);
    }
    try (Guest g = new Guest(kernel, 0, 0)) {
      assertThat(g.ok(Nr.GETTID)).isEqualTo(g.tid);
    }
  }

  /** Thread and process directories of the kernel's own /proc. */
  private static List<String> processes(Guest g) {
    List<String> names = new ArrayList<>();
    int fd = (int) g.ok(Nr.OPENAT, -100, g.string("/proc").address(), 0x10000);
    MemorySegment b = g.allocate(8192);
    for (long n; (n = g.ok(Nr.GETDENTS64, fd, b.address(), b.byteSize())) > 0; ) {
      for (long at = 0; at < n; at += b.get(ValueLayout.JAVA_SHORT_UNALIGNED, at + 16)) {
        String name = b.getString(at + 19);
        if (Character.isDigit(name.charAt(0))) {
          names.add(name);
        }
      }
    }
    g.ok(Nr.CLOSE, fd);
    return names;
  }

  @Test
  void twoHundredThreadsComeAndGo() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      List<String> before = processes(g);
      int hostBefore = Thread.activeCount();
      for (int round = 0; round < 2; round++) {
        // a new one each round: what the last readers left in the old one would let one pass early
        int fd = (int) g.ok(Nr.EVENTFD2, 0, 0);
        CountDownLatch entered = new CountDownLatch(200);
        List<FutureTask<Long>> tasks = new ArrayList<>();
        for (int i = 1; i <= 200; i++) {
          boolean leaves = i % 2 == 0;
          FutureTask<Long> t =
              new FutureTask<>(() -> {
                Guest other = new Guest(kernel, g.tid, 1);
                entered.countDown();
                // each waits for one of the 200 that will be written
                long r =
                    other.call(
                        Nr.READ,
                        fd,
                        kernel.userRegion().address() + (1 << 20) + other.tid % 1000 * 8L,
                        8);
                if (leaves) {
                  other.close();
                }
                return r;
              });
          tasks.add(t);
          Thread.ofPlatform().start(t);
        }
        entered.await();
        assertThat(kernel.tasks()).isEqualTo(201);
        assertThat(processes(g)).hasSize(before.size() + 200);
        for (int i = 0; i < 200; i++) {
          MemorySegment one = g.allocate(8);
          one.set(ValueLayout.JAVA_LONG, 0, 1);
          g.ok(Nr.WRITE, fd, one.address(), 8);
          Thread.onSpinWait();
        }
        int done = 0;
        for (FutureTask<Long> t : tasks) {
          // an eventfd sums up: some readers may still wait
          while (!t.isDone()) {
            MemorySegment one = g.allocate(8);
            one.set(ValueLayout.JAVA_LONG, 0, 1);
            g.ok(Nr.WRITE, fd, one.address(), 8);
            Thread.sleep(1);
            g.reset();
          }
          assertThat(get(t)).isEqualTo(8);
          done++;
        }
        assertThat(done).isEqualTo(200);
      }
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
      while (kernel.tasks() > 1 && System.nanoTime() < deadline) {
        Thread.sleep(1);
      }
      assertThat(kernel.tasks()).isEqualTo(1);
      // kworkers come and go by themselves: what must be gone is what we made
      List<String> after = processes(g);
      assertThat(after.size()).isLessThanOrEqualTo(before.size() + 2);
      assertThat(Thread.activeCount()).isLessThanOrEqualTo(hostBefore + 2);
    }
  }

  private static void untilInCall(int tid) throws InterruptedException {
    while ((kernel.callNumber(tid) & 1) == 0) {
      Thread.sleep(0, 100_000);
    }
    Thread.sleep(2);
  }

  @Test
  void interruptLeavesATaskAloneThatIsInNoCall() throws Exception {
    try (Guest g = new Guest(kernel, 0, 0)) {
      for (int i = 0; i < 100; i++) {
        assertThat(kernel.interrupt(g.tid)).isFalse();
        // the next call sleeps its time
        MemorySegment t = g.allocate(16);
        t.set(ValueLayout.JAVA_LONG, 8, 200_000);
        assertThat(g.call(Nr.PPOLL, 0, 0, t.address(), 0, 8)).isZero();
        g.reset();
      }
      assertThat(kernel.interrupt(12345)).isFalse();
    }
  }

  /** A call that blocks on a file which was opened before anything is interrupted. */
  private interface Blocking {
    long run(Guest guest, int fd);
  }

  private static void interruptMany(String what, int times, Body<Integer> open, Blocking call)
      throws Exception {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println(what + ": -Dtests.seed=" + seed);
    Random random = new Random(seed);
    // the number of the call that is to be interrupted; 0: none
    AtomicInteger round = new AtomicInteger();
    AtomicInteger tid = new AtomicInteger();
    FutureTask<Integer> worker =
        start(
            0,
            1,
            g -> {
              tid.set(g.tid);
              MemorySegment nap = g.allocate(16);
              nap.set(ValueLayout.JAVA_LONG, 8, 100_000);
              Net.loopbackUp(g);
              int fd = open.run(g);
              for (int i = 1; i <= times; i++) {
                round.set(i);
                long r = call.run(g, fd);
                round.set(0);
                if (r != -512 && r != -514 && r != -Errno.EINTR) {
                  throw new AssertionError(what + " returned " + r + " in round " + i);
                }
                // late interrupts of the same call must not hit this one
                long p = g.call(Nr.PPOLL, 0, 0, nap.address(), 0, 8);
                if (p != 0) {
                  throw new AssertionError("ppoll after " + what + " returned " + p);
                }
              }
              return times;
            });
    long asked = 0;
    long worst = 0;
    for (int i = 1; i <= times && !worker.isDone(); i++) {
      while (round.get() < i && !worker.isDone()) {
        Thread.onSpinWait();
      }
      int number;
      do {
        number = kernel.callNumber(tid.get());
      } while (round.get() == i && (number & 1) == 0 && !worker.isDone());
      if (round.get() != i) {
        continue;
      }
      long wait = System.nanoTime() + random.nextInt(200_000);
      while (System.nanoTime() < wait) {
        Thread.onSpinWait();
      }
      long begin = System.nanoTime();
      while (round.get() == i && !worker.isDone()) {
        kernel.interruptCall(tid.get(), number);
        asked++;
      }
      worst = Math.max(worst, System.nanoTime() - begin);
      kernel.interruptCall(tid.get(), number);
    }
    assertThat(get(worker)).isEqualTo(times);
    assertThat(asked).isGreaterThanOrEqualTo(times);
    System.out.printf("%s: %d interrupts asked for, slowest %.1f ms%n", what, asked, worst / 1e6);
    assertThat(worst).isLessThan(TimeUnit.SECONDS.toNanos(1));
  }

  @Test
  void blockedReceivesAreInterrupted() throws Exception {
    interruptMany(
        "recvfrom",
        1000,
        g -> {
          int fd = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
          g.ok(Nr.BIND, fd, Net.address(g, Net.LOOPBACK, 1000).address(), 16);
          return fd;
        },
        (g, fd) -> g.call(Nr.RECVFROM, fd, kernel.userRegion().address() + (2 << 20), 100));
  }

  @Test
  void receivesWithATimeoutAreInterrupted() throws Exception {
    interruptMany(
        "recvfrom with a timeout",
        200,
        g -> {
          int fd = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_DGRAM, 0);
          MemorySegment t = g.allocate(16);
          t.set(ValueLayout.JAVA_LONG, 0, 100);
          g.ok(Nr.SETSOCKOPT, fd, SOL_SOCKET, SO_RCVTIMEO, t.address(), 16);
          return fd;
        },
        (g, fd) -> g.call(Nr.RECVFROM, fd, kernel.userRegion().address() + (2 << 20), 100));
  }

  @Test
  void blockedAcceptsAreInterrupted() throws Exception {
    interruptMany("accept", 1000, g -> Net.listen(g, 1001), (g, fd) -> g.call(Nr.ACCEPT, fd, 0, 0));
  }

  @Test
  void blockedConnectsAreInterrupted() throws Exception {
    interruptMany(
        "connect",
        1000,
        g -> {
          // a queue of one that is full: the next connect gets no answer
          int server = (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_STREAM, 0);
          g.ok(Nr.BIND, server, Net.address(g, Net.LOOPBACK, 1002).address(), 16);
          g.ok(Nr.LISTEN, server, 0);
          Net.connect(g, 1002);
          kernel
              .userRegion()
              .asSlice(2 << 20, 16)
              .copyFrom(Net.address(g, Net.LOOPBACK, 1002).asSlice(0, 16));
          return (int) g.ok(Nr.SOCKET, Net.AF_INET, Net.SOCK_STREAM, 0);
        },
        (g, fd) -> g.call(Nr.CONNECT, fd, kernel.userRegion().address() + (2 << 20), 16));
  }

  @Test
  void blockedEpollWaitsAreInterrupted() throws Exception {
    interruptMany(
        "epoll_pwait",
        1000,
        g -> (int) g.ok(Nr.EPOLL_CREATE1, 0),
        (g, fd) ->
            g.call(Nr.EPOLL_PWAIT, fd, kernel.userRegion().address() + (2 << 20), 1, -1, 0, 8));
  }

  @Test
  void closingAKernelEndsBlockedCalls() throws Exception {
    LinuxKernel other =
        LinuxKernel.boot(LinuxKernel.Options.defaults().withMemory(64 << 20, 16 << 20));
    AtomicInteger tid = new AtomicInteger();
    FutureTask<long[]> blocked =
        new FutureTask<>(() -> {
          Guest g = new Guest(other, 0, 0);
          int fd = (int) g.ok(Nr.EVENTFD2, 0, 0);
          long at = g.allocate(8).address();
          tid.set(g.tid);
          long first = g.call(Nr.READ, fd, at, 8);
          long second = g.call(Nr.READ, fd, at, 8);
          g.close();
          return new long[] {first, second};
        });
    Thread.ofPlatform().start(blocked);
    while (tid.get() == 0 || (other.callNumber(tid.get()) & 1) == 0) {
      Thread.sleep(1);
    }
    other.close();
    long[] results = get(blocked);
    assertThat(results[0]).isIn(-512L, (long) -Errno.ENODEV);
    assertThat(results[1]).isEqualTo(-Errno.ENODEV);
    assertThat(other.enterTask(0, true)).isEqualTo(-Errno.ENODEV);
    other.close();
  }
}
