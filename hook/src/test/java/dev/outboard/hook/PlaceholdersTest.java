// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.*;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The map of placeholders, their last close, and readiness across several of them. */
class PlaceholdersTest {
  /** Less than a close that is in flight is waited for. */
  private static final long PATIENCE_NANOS = 150_000_000;

  private final List<Integer> closedHandles = Collections.synchronizedList(new ArrayList<>());
  private final int self =
      (int) Linux.syscall(SyscallNumbers.PIDFD_OPEN, ProcessHandle.current().pid());
  private int before;
  private Placeholders placeholders;
  private Readiness readiness;
  private long stamp;

  @BeforeEach
  void open() throws IOException {
    before = openDescriptors();
    placeholders = new Placeholders(closedHandles::add, 2000);
    readiness = new Readiness(placeholders, p -> false);
  }

  @AfterEach
  void nothingLeaks() throws IOException {
    placeholders.close();
    assertThat(openDescriptors()).isEqualTo(before);
    assertThat(placeholders.live()).isZero();
    Linux.close(self);
  }

  @Test
  void isFoundByInodeAndHandleUntilItIsGone() {
    int b = install(4711);
    Placeholder p = Objects.requireNonNull(placeholders.byHandle(4711));
    assertThat(placeholders.byInode(Placeholder.inodeOf(b))).isSameAs(p);
    assertThat(placeholders.byHandle(4712)).isNull();
    assertThat(placeholders.byHandle(-1)).isNull();
    assertThat(placeholders.byHandle(Integer.MAX_VALUE)).isNull();
    Linux.close(b);
    placeholders.reapGone();
    assertThat(closedHandles).containsExactly(4711);
    assertThat(placeholders.byHandle(4711)).isNull();
    assertThat(placeholders.byInode(p.inode())).isNull();
    assertThat(p.gone()).isTrue();
  }

  @Test
  void theWatcherReapsWithoutBeingAsked() throws InterruptedException {
    int n = 1000;
    int[] fds = new int[n];
    for (int i = 0; i < n; i++) {
      fds[i] = install(i);
    }
    assertThat(placeholders.live()).isEqualTo(n);
    for (int fd : fds) {
      Linux.close(fd);
    }
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (placeholders.live() > 0 && System.nanoTime() < deadline) {
      Thread.sleep(1);
    }
    assertThat(placeholders.live()).isZero();
    assertThat(closedHandles).hasSize(n).doesNotHaveDuplicates();
    assertThat(placeholders.reaped()).isEqualTo(n);
  }

  @Test
  void aCloseLetThroughIsActedOnBeforeTheNextCall() {
    for (int i = 0; i < 2000; i++) {
      int b = install(5);
      Placeholder p = Objects.requireNonNull(placeholders.byHandle(5));
      long started = System.nanoTime();
      placeholders.closing(p);
      placeholders.reapClosing();
      assertThat(p.gone()).as("not closed yet").isFalse();
      Linux.close(b);
      placeholders.reapClosing();
      if (System.nanoTime() - started > PATIENCE_NANOS) {
        placeholders.reapGone(); // this thread stood still so long that the close was given up
      }
      assertThat(closedHandles).as("round %d", i).hasSize(i + 1);
    }
  }

  /** Their ends are not news for each, but are all there when somebody asks. */
  @Test
  void endsThatWaitAreSettledBeforeSomebodyCouldTell() {
    for (int round = 0; round < 50; round++) {
      int[] fds = new int[5];
      for (int i = 0; i < fds.length; i++) {
        fds[i] = installFile(100 + i, true);
      }
      for (int fd : fds) {
        Linux.close(fd);
      }
      placeholders.settleLate();
      assertThat(closedHandles).containsExactlyInAnyOrder(100, 101, 102, 103, 104);
      assertThat(placeholders.live()).isZero();
      closedHandles.clear();
    }
  }

  @Test
  void endsThatWaitComeByThemselvesWhoeverNoticesThem() throws InterruptedException {
    int n = 1000;
    for (int i = 0; i < n; i++) {
      int fd = installFile(i, true);
      int copy = (int) Linux.syscall(SyscallNumbers.DUP, fd);
      Linux.close(fd);
      placeholders.reapGone();
      assertThat(placeholders.byHandle(i)).as("a copy is open").isNotNull();
      Linux.close(copy);
      if (i % 3 == 0) {
        placeholders.reapGone();
        assertThat(placeholders.byHandle(i)).isNull();
      }
    }
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (closedHandles.size() < n && System.nanoTime() < deadline) {
      Thread.sleep(1);
    }
    assertThat(closedHandles).hasSize(n).doesNotHaveDuplicates();
    assertThat(placeholders.live()).isZero();
  }

  @Test
  void endsOfOtherFilesDoNotWait() {
    Linux.close(installFile(7, false));
    placeholders.reapGone();
    assertThat(closedHandles).containsExactly(7);
  }

  /** As many as there may be, again and again, though the news of their ends waits. */
  @Test
  void endsThatWaitAreNoBound() {
    for (int i = 0; i < 3 * 2000; i++) {
      Linux.close(installFile(i, true));
    }
    placeholders.settleLate();
    assertThat(closedHandles).hasSize(3 * 2000).doesNotHaveDuplicates();
  }

  @Test
  void onlyTheLastCloseCounts() {
    int b = install(5);
    int copy = (int) Linux.syscall(SyscallNumbers.DUP, b);
    placeholders.closing(Objects.requireNonNull(placeholders.byHandle(5)));
    Linux.close(b);
    placeholders.reapClosing();
    placeholders.reapGone();
    assertThat(closedHandles).isEmpty();
    Linux.close(copy);
    placeholders.reapGone();
    assertThat(closedHandles).containsExactly(5);
  }

  @Test
  void aPlaceholderThatCouldNotBeInstalledIsGivenUp() {
    Objects.requireNonNull(placeholders.create(3, false, false)).releaseEndB();
    placeholders.reapGone();
    assertThat(closedHandles).containsExactly(3);
  }

  @Test
  void isBounded() {
    List<Integer> fds = new ArrayList<>();
    for (int i = 0; i < 2000; i++) {
      fds.add(install(i));
    }
    assertThat(placeholders.create(2000, false, false)).isNull();
    fds.forEach(Linux::close);
    placeholders.reapGone();
    assertThat(closedHandles).hasSize(2000);
    Linux.close(install(2000));
    placeholders.reapGone();
    assertThat(closedHandles).hasSize(2001);
  }

  @Test
  void borrowingDoesNotHideTheLastClose() throws InterruptedException {
    // One thread clears tokens, which borrows end B; meanwhile it is closed and must be seen so.
    for (int round = 0; round < 500; round++) {
      int b = install(9);
      Placeholder p = Objects.requireNonNull(placeholders.byHandle(9));
      p.heldBy(self, b);
      readiness.watching(p, POLLOUT, ++stamp);
      CountDownLatch started = new CountDownLatch(1);
      Thread t =
          new Thread(() -> {
            started.countDown();
            for (int i = 0; i < 50 && !p.gone(); i++) {
              p.update(i % 2 == 0 ? 0 : POLLOUT, Long.MAX_VALUE - 100 + i, -1);
            }
          });
      t.start();
      started.await();
      placeholders.closing(p);
      Linux.close(b);
      placeholders.reapClosing();
      assertThat(closedHandles).as("round %d", round).hasSize(round + 1);
      t.join();
    }
  }

  @Test
  void settlesWhatWentStaleAndNothingElse() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(64, 8);
      int n = 100;
      int[] fds = new int[n];
      for (int i = 0; i < n; i++) {
        fds[i] = install(i);
        Placeholder p = Objects.requireNonNull(placeholders.byHandle(i));
        p.heldBy(self, fds[i]);
        readiness.watching(p, POLLIN | POLLOUT, ++stamp);
      }
      for (int i = 0; i < n; i += 2) {
        readiness.afterCall(
            Objects.requireNonNull(placeholders.byHandle(i)), POLLOUT, ++stamp, self, fds[i]);
      }
      readiness.settle();
      assertThat(readiness.settledCount()).isEqualTo(n / 2);
      for (int i = 0; i < n; i++) {
        int shown = i % 2 == 0 ? POLLOUT : POLLIN | POLLOUT;
        assertThat(poll(buffer, fds[i])).as("file %d", i).isEqualTo(shown);
      }
      // Data that came before the look makes clearing needless, and it is not done.
      readiness.afterCall(
          Objects.requireNonNull(placeholders.byHandle(1)), POLLOUT, ++stamp, self, fds[1]);
      readiness.ready(1, POLLIN | POLLOUT, ++stamp);
      readiness.settle();
      assertThat(poll(buffer, fds[1])).isEqualTo(POLLIN | POLLOUT);
      for (int fd : fds) {
        Linux.close(fd);
      }
    }
  }

  @Test
  void whatCannotBeSettledIsTriedAgain() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(64, 8);
      int b = install(1);
      Placeholder p = Objects.requireNonNull(placeholders.byHandle(1));
      readiness.watching(p, POLLIN | POLLOUT, ++stamp);
      readiness.afterCall(p, POLLOUT, ++stamp, self, 1 << 20);
      readiness.settle();
      readiness.settle();
      assertThat(readiness.unsettledCount()).isEqualTo(2);
      p.heldBy(self, b);
      readiness.settle();
      assertThat(poll(buffer, b)).isEqualTo(POLLOUT);
      assertThat(readiness.settledCount()).isEqualTo(1);
      Linux.close(b);
    }
  }

  @Test
  void theLastResortIsASearch() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(64, 8);
      int b = install(1);
      Readiness searching =
          new Readiness(
              placeholders,
              q -> {
                q.heldBy(self, b);
                return true;
              });
      Placeholder p = Objects.requireNonNull(placeholders.byHandle(1));
      searching.watching(p, POLLIN | POLLOUT, ++stamp);
      searching.afterCall(p, POLLOUT, ++stamp, self, 1 << 20);
      searching.settle();
      assertThat(searching.unsettledCount()).isZero();
      assertThat(poll(buffer, b)).isEqualTo(POLLOUT);
      Linux.close(b);
    }
  }

  @Test
  void framesForFilesThatAreGoneOrUnwatchedAreIgnored() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(64, 8);
      int b = install(1);
      readiness.ready(1, POLLIN, 5);
      readiness.ready(2, POLLIN, 6);
      readiness.ready(-1, POLLIN, 7);
      assertThat(poll(buffer, b)).isEqualTo(POLLOUT);
      readiness.lost();
      assertThat(poll(buffer, b) & POLLIN).isEqualTo(POLLIN);
      int later = install(3);
      readiness.watching(Objects.requireNonNull(placeholders.byHandle(3)), 0, 8);
      assertThat(poll(buffer, later) & POLLIN).isEqualTo(POLLIN);
      Linux.close(b);
      Linux.close(later);
    }
  }

  private int installFile(int handle, boolean endsUnseen) {
    Placeholder p =
        Objects.requireNonNull(
            placeholders.createMemory(handle, "/a/file".getBytes(UTF_8), endsUnseen));
    int fd = (int) Linux.syscall(SyscallNumbers.DUP, p.endB());
    p.releaseEndB();
    return fd;
  }

  private int install(int handle) {
    Placeholder p = Objects.requireNonNull(placeholders.create(handle, true, false));
    int b = (int) Linux.fcntl(p.endB(), 1030 /* F_DUPFD_CLOEXEC */, 0);
    p.releaseEndB();
    return b;
  }

  private static int poll(MemorySegment buffer, int fd) {
    buffer.set(ValueLayout.JAVA_INT, 0, fd);
    buffer.set(ValueLayout.JAVA_INT, 4, POLLIN | POLLOUT | POLLRDHUP);
    Linux.poll(buffer.address(), 1, 0);
    return buffer.get(ValueLayout.JAVA_SHORT, 6);
  }

  private static int openDescriptors() throws IOException {
    try (var list = Files.list(Path.of("/proc/self/fd"))) {
      return (int) list.count();
    }
  }
}
