// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Socket;
import dev.outboard.channel.DeviceLink;
import dev.outboard.kernel.LinuxKernel;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a session uses of the kernel's memory is its own, bounded, and given back. */
@Timeout(300)
class MemoryGroupsTest {
  private static final int SOCKETPAIR = 199;
  private static final long LIMIT = 16 << 20;

  /** What arrives may go an eighth above it; a page or so for what was under way. */
  private static final long MOST = LIMIT + LIMIT / 8 + (64 << 10);

  /** A group with no more than its task and a descriptor or two. */
  private static final long LITTLE = 1 << 20;

  private static final int PIECE = 16 << 10;

  private static final AtomicLong IDS = new AtomicLong(1000);

  private static LibraryKernelBackend kernel;
  private static MemoryGroups groups;

  @BeforeAll
  static void start() throws Exception {
    Limits limits = new Limits(4, 16, 64, 4096, LIMIT);
    LibraryKernelBackend.Division division = LibraryKernelBackend.Division.of(limits);
    kernel =
        new LibraryKernelBackend(
            LinuxKernel.boot(
                LinuxKernel.Options.defaults()
                    .withMemory(256L << 20, division.userBytes())
                    .withCommandLine(LinuxKernel.Options.COUNTING_COMMAND_LINE)),
            division);
    groups = MemoryGroups.open(kernel, LIMIT);
    kernel.memoryGroups(groups);
    NetworkSetup.base(kernel);
  }

  @AfterAll
  static void stop() {
    kernel.close();
  }

  /** What fills a group. */
  enum Kind {
    /** Datagrams of AF_UNIX that nobody receives. */
    UNIX,
    /** Connections of TCP, over the loopback, likewise. */
    TCP,
    /** Datagrams of UDP, which are lost where there is no room. */
    UDP,
    /** A file of the kernel's own file system. */
    FILE,
    /** Sockets alone. */
    SOCKETS
  }

  /** A task in a group of its own, on the calling thread. */
  private static final class Tenant implements AutoCloseable {
    final long id;
    final int tid;
    final MemorySegment memory;
    final List<Long> descriptors = new ArrayList<>();

    Tenant(long id) {
      this.id = id;
      memory = Objects.requireNonNull(kernel.allocate());
      tid = kernel.enterTask(0, true);
      assertThat(tid).isPositive();
      assertThat(groups.enter(id, tid)).isZero();
    }

    long call(int number, long... a) {
      long[] args = Arrays.copyOf(a, 6);
      return kernel.syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    }

    long used() {
      return groups.used(id);
    }

    /** Keeps a descriptor, or not an error. */
    long keep(long fd) {
      if (fd >= 0) {
        descriptors.add(fd);
      }
      return fd;
    }

    long address(int family) {
      memory.asSlice(0, 16).fill((byte) 0);
      memory.set(ValueLayout.JAVA_SHORT, 0, (short) family);
      memory.set(ValueLayout.JAVA_INT, 4, 0x0100_007f);
      return memory.address();
    }

    /** Two ends of a connection that does not block, or an error. */
    long[] connection() {
      long listener = call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0);
      if (listener < 0) {
        return new long[] {listener};
      }
      long r = call(Canonical.BIND, listener, address(Socket.AF_INET), 16);
      r = r < 0 ? r : call(Canonical.LISTEN, listener, 1);
      memory.set(ValueLayout.JAVA_INT, 16, 16);
      r =
          r < 0
              ? r
              : call(Canonical.GETSOCKNAME, listener, memory.address(), memory.address() + 16);
      long one = r < 0 ? r : call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0);
      if (one >= 0) {
        keep(one);
        r = call(Canonical.CONNECT, one, memory.address(), 16);
        r = r < 0 ? r : keep(call(Canonical.ACCEPT4, listener, 0, 0, 0));
      } else {
        r = one;
      }
      call(Canonical.CLOSE, listener);
      return r < 0 ? new long[] {r} : new long[] {one, r};
    }

    private long send(long fd) {
      return call(Canonical.SENDTO, fd, memory.address() + 64, PIECE, Socket.MSG_DONTWAIT, 0, 0);
    }

    /** Uses more and more until it is told that there is no more; returns the error, positive. */
    long fill(Kind kind) {
      long r = 0;
      switch (kind) {
        case UNIX -> {
          while (r >= 0) {
            r = call(SOCKETPAIR, Socket.AF_UNIX, Socket.SOCK_DGRAM, 0, memory.address());
            if (r >= 0) {
              long one = keep(memory.get(ValueLayout.JAVA_INT, 0));
              keep(memory.get(ValueLayout.JAVA_INT, 4));
              r = fillSocket(one);
            }
          }
        }
        case TCP -> {
          // One that is full says EAGAIN, whatever it is full for; so it is the next that tells.
          for (int i = 0; r >= 0 && i < 2000; i++) {
            long[] ends = connection();
            r = ends[0] < 0 ? ends[0] : fillSocket(ends[0]);
          }
        }
        case UDP -> {
          // The sockets first: these are refused to who is above its limit, datagrams are not.
          for (int i = 0; r >= 0 && i < 150; i++) {
            r = keep(call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_DGRAM, 0));
            if (r >= 0) {
              long fd = r;
              r = call(Canonical.BIND, fd, address(Socket.AF_INET), 16);
              memory.set(ValueLayout.JAVA_INT, 16, 16);
              r = call(Canonical.GETSOCKNAME, fd, memory.address(), memory.address() + 16);
              r = call(Canonical.CONNECT, fd, memory.address(), 16);
            }
          }
          for (int i = 0; r >= 0 && i < 40L * descriptors.size(); i++) {
            r = send(descriptors.get(i / 40));
          }
          r = Math.min(r, 0);
        }
        case FILE -> {
          memory.setString(0, "/full-" + id);
          r =
              call(
                  Canonical.OPENAT,
                  Fcntl.AT_FDCWD,
                  memory.address(),
                  Fcntl.O_RDWR | Fcntl.O_CREAT,
                  0600);
          long fd = keep(r);
          while (r >= 0) {
            r = call(Canonical.WRITE, fd, memory.address() + 64, PIECE);
          }
        }
        case SOCKETS -> {
          while (r >= 0) {
            r = keep(call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0));
          }
        }
      }
      return -r;
    }

    private long fillSocket(long fd) {
      long r = 0;
      while (r >= 0) {
        r = send(fd);
      }
      return r == -Errno.EAGAIN ? 0 : r;
    }

    void release() {
      descriptors.forEach(fd -> call(Canonical.CLOSE, fd));
      descriptors.clear();
      memory.setString(0, "/full-" + id);
      call(Canonical.UNLINKAT, Fcntl.AT_FDCWD, memory.address(), 0);
    }

    @Override
    public void close() {
      kernel.leaveTask();
      kernel.free(memory);
      assertThat(groups.remove(id)).isZero();
    }
  }

  /** Something that another tenant does meanwhile: bytes to and fro, and memory of each kind. */
  private static void neighbourWorks(long id) {
    CompletableFuture.runAsync(
            () -> {
              try (Tenant tenant = new Tenant(id)) {
                long[] ends = tenant.connection();
                assertThat(ends).hasSize(2);
                for (int i = 0; i < 200; i++) {
                  assertThat(tenant.send(ends[0])).isEqualTo(PIECE);
                  long left = PIECE;
                  while (left > 0) {
                    long n =
                        tenant.call(
                            Canonical.RECVFROM, ends[1], tenant.memory.address() + 64, left, 0);
                    assertThat(n).isPositive();
                    left -= n;
                  }
                }
                long max = tenant.used();
                tenant.memory.setString(0, "/works-" + id);
                long fd =
                    tenant.call(
                        Canonical.OPENAT,
                        Fcntl.AT_FDCWD,
                        tenant.memory.address(),
                        Fcntl.O_RDWR | Fcntl.O_CREAT,
                        0600);
                for (int i = 0; i < 256; i++) {
                  assertThat(tenant.call(Canonical.WRITE, fd, tenant.memory.address() + 64, PIECE))
                      .isEqualTo(PIECE);
                }
                assertThat(tenant.used()).as("4 MiB more").isGreaterThan(max + (3 << 20));
                tenant.call(Canonical.CLOSE, fd);
                tenant.memory.setString(0, "/works-" + id);
                tenant.call(Canonical.UNLINKAT, Fcntl.AT_FDCWD, tenant.memory.address(), 0);
                tenant.release();
              }
            },
            runnable -> Thread.ofPlatform().stackSize(ShadowThread.STACK_BYTES).start(runnable))
        .join();
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void whoFillsItsGroupIsToldSoAndNobodyElse(Kind kind) throws Exception {
    long before = groups.statistic("nr_descendants");
    long id = IDS.incrementAndGet();
    try (Tenant tenant = new Tenant(id)) {
      assertThat(tenant.used()).isLessThan(LITTLE);
      long start = System.nanoTime();
      long error = tenant.fill(kind);
      System.out.printf(
          "%s: %s at %,d bytes of %,d after %d ms, %d descriptors%n",
          kind,
          error == 0 ? "no error" : Errno.name((int) error),
          tenant.used(),
          LIMIT,
          (System.nanoTime() - start) / 1_000_000,
          tenant.descriptors.size());
      if (kind == Kind.UDP) {
        assertThat(error).as("what does not arrive is lost").isZero();
      } else {
        assertThat(error).isIn((long) Errno.ENOMEM, (long) Errno.ENOBUFS, (long) Errno.ENFILE);
      }
      assertThat(tenant.used()).isBetween(LIMIT / 2, MOST);
      neighbourWorks(IDS.incrementAndGet());
      assertThat(tenant.used()).isBetween(LIMIT / 2, MOST);
      tenant.release();
      awaitAtMost(tenant::used, LITTLE);
      assertThat(tenant.fill(kind) > 0).as("once more").isEqualTo(error > 0);
      assertThat(tenant.used()).isBetween(LIMIT / 2, MOST);
      tenant.release();
    }
    assertThat(groups.statistic("nr_descendants")).isEqualTo(before);
    awaitNoneDying();
  }

  /** A socket that is closed gives back what it holds when an RCU grace period has passed. */
  private static void awaitAtMost(LongSupplier used, long bytes) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (used.getAsLong() > bytes && System.nanoTime() < deadline) {
      Thread.sleep(20);
    }
    assertThat(used.getAsLong()).isLessThanOrEqualTo(bytes);
  }

  private static void awaitNoneDying() throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (groups.statistic("nr_dying_descendants") > 0 && System.nanoTime() < deadline) {
      Thread.sleep(20);
    }
    assertThat(groups.statistic("nr_dying_descendants")).isZero();
  }

  /** Also one that is above its limit: what closes for it is a thread that has to begin first. */
  @Test
  void aFullSessionGetsThreadsToGiveBackWhatItHas() throws Exception {
    try (TestDevice device = new TestDevice(kernel, new Limits(4, 16, 64, 4096, LIMIT));
        DeviceLink link = device.link(new TestDevice.Ear(), 16);
        TestProgram one = new TestProgram(link)) {
      List<Integer> sockets = new ArrayList<>();
      long r = 0;
      while (r >= 0 && sockets.size() < 200) {
        r = one.call(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_DGRAM, 0);
        if (r >= 0) {
          int fd = (int) r;
          sockets.add(fd);
          one.address(0);
          one.expect(Canonical.BIND, fd, 0, 16);
          assertThat(one.connect(fd, one.port(fd))).isZero();
          for (int i = 0; i < 40; i++) {
            one.send(fd, new byte[PIECE]);
          }
        }
      }
      assertThat(r).as("no more sockets").isNegative();
      assertThat(device.server.status().getFirst().memoryBytes()).isBetween(LIMIT / 2, MOST);
      for (int i = 0; i < 8; i++) {
        try (TestProgram more = new TestProgram(link)) {
          more.close(sockets.removeLast());
        }
      }
      try (TestProgram rest = new TestProgram(link)) {
        sockets.forEach(rest::close);
      }
      awaitAtMost(() -> device.server.status().getFirst().memoryBytes(), LITTLE);
      assertThat(one.socket(Socket.SOCK_STREAM)).isNotNegative();
    }
  }

  /** By the server: its shadow threads are in it, also those that were not there when it began. */
  @Test
  void aHundredSessionsLeaveNothing() throws Exception {
    long before = groups.statistic("nr_descendants");
    try (TestDevice device = new TestDevice(kernel, new Limits(4, 16, 64, 4096, LIMIT))) {
      for (int i = 0; i < 100; i++) {
        try (DeviceLink link = device.link(new TestDevice.Ear(), 16);
            TestProgram one = new TestProgram(link);
            TestProgram other = new TestProgram(link)) {
          assertThat(groups.statistic("nr_descendants")).isEqualTo(before + 1);
          int[] sockets = new int[20];
          for (int n = 0; n < sockets.length; n++) {
            sockets[n] = (n % 2 == 0 ? one : other).socket(Socket.SOCK_STREAM);
          }
          assertThat(device.server.status().getFirst().memoryBytes())
              .as("twenty sockets")
              .isBetween(20_000L, LITTLE);
          assertThat(device.server.status().getFirst().memoryLimitBytes()).isEqualTo(LIMIT);
        }
        device.server.awaitNone();
        assertThat(groups.statistic("nr_descendants")).isEqualTo(before);
      }
      assertThat(device.log).noneMatch(line -> line.contains("stays"));
    }
    awaitNoneDying();
  }
}
