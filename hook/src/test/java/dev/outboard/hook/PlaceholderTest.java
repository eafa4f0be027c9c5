// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.*;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Socket;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Spawn;
import dev.outboard.syscalls.PseudoCall;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every state of a placeholder, seen with the kernel's own poll, epoll and select. */
class PlaceholderTest {
  private static final int ALL = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment buffer = arena.allocate(4096, 8);
  private final int self =
      (int) Linux.syscall(SyscallNumbers.PIDFD_OPEN, ProcessHandle.current().pid());
  private Placeholder p;
  private int b;
  private long stamp;
  private int edges;
  private final AtomicInteger inexact = new AtomicInteger();
  private int openBefore;

  @BeforeEach
  void open() throws IOException {
    openBefore = openDescriptors();
    p = Objects.requireNonNull(Placeholder.open(7, true, false, inexact));
    b = (int) Linux.syscall(SyscallNumbers.DUP, p.endB());
    p.releaseEndB();
    p.heldBy(self, b);
  }

  @AfterEach
  void nothingLeaks() throws IOException {
    Linux.close(b);
    p.close();
    assertThat(openDescriptors()).isEqualTo(openBefore);
    Linux.close(self);
    arena.close();
  }

  @Test
  void showsAndHidesIn() {
    assertThat(watch(POLLOUT)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLOUT);
    assertThat(level(POLLIN | POLLOUT)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    assertThat(level(POLLOUT)).as("a stale token is reported").isTrue();
    assertThat(poll(b)).as("and stays until someone looks").isEqualTo(POLLIN | POLLOUT);
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLOUT);
    assertThat(level(POLLIN | POLLOUT)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
  }

  @Test
  void whatWasLookedAtShowsAndNotWhatTheDevicesQueueHolds() {
    watch(POLLOUT);
    p.look(true, false, false);
    assertThat(level(POLLIN | POLLOUT)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLOUT);
    p.look(true, true, true);
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    assertThat(level(POLLOUT)).as("the device's queue is empty").isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    assertThat(level(POLLIN | POLLOUT)).isFalse();
    assertThat(p.look(true, false, false)).as("all of it is received").isTrue();
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLOUT);
    p.look(false, false, true);
    assertThat(poll(b)).as("the device's word counts again").isEqualTo(POLLIN | POLLOUT);
  }

  @Test
  void hidesOutAtOnceAndShowsItAgain() {
    assertThat(watch(POLLOUT)).isFalse();
    assertThat(level(0)).isFalse();
    assertThat(poll(b)).isZero();
    assertThat(level(POLLIN)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN);
    assertThat(level(POLLIN | POLLOUT)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
  }

  @Test
  void isSeenBySelect() {
    watch(0);
    assertThat(select(b)).isZero();
    level(POLLIN);
    assertThat(select(b)).isEqualTo(1);
    level(POLLIN | POLLOUT);
    assertThat(select(b)).isEqualTo(3);
    level(POLLIN | POLLOUT | POLLPRI);
    assertThat(select(b)).isEqualTo(7);
  }

  @Test
  void showsUrgentDataAndForgetsIt() {
    watch(POLLOUT);
    level(POLLOUT | POLLPRI);
    assertThat(poll(b) & POLLPRI).isEqualTo(POLLPRI);
    assertThat(level(POLLOUT)).isTrue();
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLOUT);
    level(POLLIN | POLLOUT | POLLPRI);
    assertThat(level(POLLIN | POLLOUT)).isTrue();
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    level(POLLOUT);
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLOUT);
  }

  @Test
  void showsTheEndOfTheStreamForGood() {
    watch(POLLOUT);
    level(POLLIN | POLLOUT | POLLRDHUP);
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT | POLLRDHUP);
    assertThat(level(POLLIN | POLLRDHUP)).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLRDHUP);
    level(POLLIN | POLLOUT | POLLRDHUP);
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT | POLLRDHUP);
    assertThat(p.reap()).isFalse();
    Linux.close(b);
    assertThat(p.reap()).isTrue();
  }

  @Test
  void forgetsUrgentDataBehindTheEndOfTheStream() {
    watch(POLLOUT);
    level(POLLIN | POLLOUT | POLLPRI);
    int end = POLLIN | POLLOUT | POLLRDHUP;
    level(end | POLLPRI);
    assertThat(poll(b)).isEqualTo(end | POLLPRI);
    assertThat(level(end)).isTrue();
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(end);
    assertThat(inexact).hasValue(0);
    level(end | POLLPRI);
    assertThat(inexact).as("nothing can be sent any more to show it").hasValue(1);
    level(end | POLLHUP);
    assertThat(poll(b)).isEqualTo(end | POLLHUP);
    assertThat(inexact).hasValue(0);
    assertThat(p.reap()).isFalse();
    Linux.close(b);
    assertThat(p.reap()).isTrue();
    assertThat(inexact).hasValue(0);
  }

  @Test
  void countsWhatCannotBeShown() {
    watch(POLLOUT | POLLHUP);
    assertThat(inexact).as("HUP of a socket that is not connected").hasValue(1);
    level(0);
    assertThat(inexact).hasValue(0);
    level(POLLOUT);
    level(POLLIN | POLLOUT | POLLERR);
    assertThat(inexact).hasValue(1);
    assertThat(p.shown() & (POLLIN | POLLOUT)).isEqualTo(POLLIN | POLLOUT);
    level(POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    assertThat(inexact).hasValue(0);
    level(POLLOUT | POLLHUP); // connected to nobody: it goes on showing the old end
    assertThat(inexact).hasValue(1);
  }

  @Test
  void showsADeadConnectionAndStillTellsTheLastClose() {
    watch(POLLOUT);
    level(0);
    int mask = POLLIN | POLLOUT | POLLRDHUP | POLLHUP;
    level(mask | POLLERR);
    assertThat(poll(b)).isEqualTo(mask);
    assertThat(p.isStale()).isFalse();
    assertThat(p.reap()).isFalse();
    Linux.close(b);
    assertThat(p.reap()).isTrue();
    assertThat(p.reap()).as("once").isFalse();
  }

  @Test
  void aFailedConnectCanBeTriedAgain() {
    watch(POLLOUT | POLLHUP);
    level(0);
    assertThat(poll(b)).isZero();
    level(POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    assertThat(level(0)).isFalse();
    p.settle();
    assertThat(poll(b)).isZero();
    level(POLLOUT);
    assertThat(poll(b)).isEqualTo(POLLOUT);
  }

  @Test
  void everyEdgeIsSeenByEdgeTriggeredEpoll() {
    watch(POLLOUT);
    int epoll = edgeTriggered();
    assertThat(wait(epoll)).isEqualTo(POLLOUT);
    assertThat(wait(epoll)).isZero();
    for (int i = 0; i < 1000; i++) {
      edge(POLLIN | POLLOUT);
      assertThat(wait(epoll)).as("edge %d", i).isEqualTo(POLLIN | POLLOUT);
      assertThat(wait(epoll)).isZero();
    }
    assertThat(p.edgesLost()).isZero();
    level(POLLOUT);
    p.settle();
    // Taking the bytes leaves OUT on the ready list, as a spurious edge; never IN.
    assertThat(wait(epoll) & POLLIN).isZero();
    level(0);
    assertThat(wait(epoll)).isZero();
    edge(POLLOUT);
    assertThat(wait(epoll)).isEqualTo(POLLOUT);
    edge(POLLIN | POLLOUT | POLLRDHUP);
    assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT | POLLRDHUP);
    edge(POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    Linux.close(epoll);
  }

  @Test
  void anEdgeThatANewerSampleOvertookIsStillAnEdge() {
    watch(POLLOUT);
    int epoll = edgeTriggered();
    level(POLLIN | POLLOUT);
    wait(epoll);
    long edgeStamp = ++stamp;
    level(POLLIN | POLLOUT); // a recv that copied before the data of the edge came
    assertThat(wait(epoll)).isZero();
    p.update(POLLIN | POLLOUT, edgeStamp, ++edges);
    assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT);
    long consumed = ++stamp;
    level(POLLOUT);
    p.settle();
    wait(epoll);
    p.update(POLLIN | POLLOUT, consumed, ++edges);
    assertThat(poll(b)).as("what was read since is no news").isEqualTo(POLLOUT);
    Linux.close(epoll);
  }

  @Test
  void anEdgeThatIsToldTwiceIsOneEdge() {
    watch(POLLOUT);
    int epoll = edgeTriggered();
    wait(epoll);
    long frame = ++stamp;
    p.update(POLLIN | POLLOUT, ++stamp, ++edges); // a SYNC was faster
    assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT);
    p.update(POLLIN | POLLOUT, frame, edges);
    assertThat(wait(epoll)).isZero();
    edge(POLLIN | POLLOUT);
    assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT);
    for (int i = 0; i < 4; i++) { // the count starts anew at its modulus
      edges = (edges + PseudoCall.EDGES / 2 - 1) % PseudoCall.EDGES;
      p.update(POLLIN | POLLOUT, ++stamp, edges);
      assertThat(wait(epoll)).isEqualTo(POLLIN | POLLOUT);
    }
    Linux.close(epoll);
  }

  @Test
  void outThatCameBackBeforeItWasMissedIsAnEdge() {
    watch(POLLOUT);
    int epoll = edgeTriggered();
    wait(epoll);
    long full = ++stamp;
    edge(POLLOUT);
    assertThat(wait(epoll)).isZero();
    p.update(0, full, -1); // the send that got EAGAIN is told after the space is there again
    assertThat(wait(epoll)).isEqualTo(POLLOUT);
    assertThat(poll(b)).isEqualTo(POLLOUT);
    Linux.close(epoll);
  }

  @Test
  void aConnectThatSucceedsAtOnceIsAnEdge() {
    watch(POLLOUT | POLLHUP);
    int epoll = edgeTriggered();
    assertThat(wait(epoll) & POLLOUT).isEqualTo(POLLOUT);
    level(POLLOUT);
    assertThat(wait(epoll) & POLLOUT).isEqualTo(POLLOUT);
    Linux.close(epoll);
  }

  @Test
  void newsThatOvertakesTheAnswerToWatchIsKept() {
    long answer = ++stamp;
    edge(POLLIN | POLLOUT);
    assertThat(poll(b)).as("not known to be watched yet").isEqualTo(POLLOUT);
    p.watch(POLLOUT, answer);
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    level(POLLOUT);
    p.settle();
    assertThat(poll(b)).isEqualTo(POLLOUT);
  }

  @Test
  void newsOfAnEarlierFileWithTheHandleIsForgotten() {
    p.connected();
    edge(POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    watch(POLLOUT);
    assertThat(poll(b)).isEqualTo(POLLOUT);
  }

  @Test
  void withoutAHolderTheTokenStaysAndIsReported() {
    watch(POLLIN | POLLOUT);
    p.heldBy(self, 1 << 20);
    assertThat(level(POLLOUT)).isTrue();
    assertThat(p.settle()).isFalse();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
    // Another file at the remembered number must not be touched.
    int other = p.endA();
    p.heldBy(self, other);
    assertThat(p.settle()).isFalse();
    p.heldBy(self, b);
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLOUT);
  }

  @Test
  void edgesBeyondTheBoundAreCountedWhenNobodyHoldsIt() {
    p.heldBy(self, 1 << 20);
    watch(POLLIN | POLLOUT);
    for (int i = 0; i < 3 * Placeholder.MAX_BYTES_SHOWN; i++) {
      edge(POLLIN | POLLOUT);
    }
    assertThat(p.edgesLost()).isEqualTo(2L * Placeholder.MAX_BYTES_SHOWN + 1);
    p.heldBy(self, b);
    assertThat(p.settle()).isTrue();
    assertThat(poll(b)).isEqualTo(POLLIN | POLLOUT);
  }

  @Test
  void lostDeviceMakesAllReady() {
    watch(0);
    p.lost();
    assertThat(poll(b) & (POLLIN | POLLOUT)).isEqualTo(POLLIN | POLLOUT);
    level(0);
    assertThat(poll(b) & (POLLIN | POLLOUT)).isEqualTo(POLLIN | POLLOUT);
  }

  @Test
  void duplicatesKeepItOpen() {
    int copy = (int) Linux.syscall(SyscallNumbers.DUP, b);
    Linux.close(b);
    assertThat(p.reap()).isFalse();
    Linux.close(copy);
    assertThat(p.reap()).isTrue();
  }

  @Test
  void aMessageInFlightKeepsItOpen() {
    assertThat(
            Linux.socketpair(
                Socket.AF_UNIX, Socket.SOCK_STREAM | Socket.SOCK_CLOEXEC, 0, buffer.address()))
        .isZero();
    int from = buffer.get(ValueLayout.JAVA_INT, 0);
    int to = buffer.get(ValueLayout.JAVA_INT, 4);
    MemorySegment message = arena.allocate(56, 8);
    MemorySegment iov = arena.allocate(16, 8);
    MemorySegment control = arena.allocate(24, 8);
    iov.set(ValueLayout.JAVA_LONG, 0, buffer.address());
    iov.set(ValueLayout.JAVA_LONG, 8, 1);
    message.set(ValueLayout.JAVA_LONG, 16, iov.address());
    message.set(ValueLayout.JAVA_LONG, 24, 1);
    message.set(ValueLayout.JAVA_LONG, 32, control.address());
    message.set(ValueLayout.JAVA_LONG, 40, 24);
    control.set(ValueLayout.JAVA_LONG, 0, 20);
    control.set(ValueLayout.JAVA_INT, 8, Socket.SOL_SOCKET);
    control.set(ValueLayout.JAVA_INT, 12, Socket.SCM_RIGHTS);
    control.set(ValueLayout.JAVA_INT, 16, b);
    assertThat(Linux.sendmsg(from, message.address(), 0)).isEqualTo(1);
    Linux.close(b);
    assertThat(p.reap()).as("in flight").isFalse();
    Linux.close(to);
    Linux.close(from);
    assertThat(p.reap()).isTrue();
  }

  @Test
  void anotherProcessSeesTheTokensAndItsDeathIsTheLastClose() throws Exception {
    long child = new Spawn(List.of("/bin/sleep", "600")).duplicate(b, 9).start();
    assertThat(child).isPositive();
    int pidfd = (int) Linux.syscall(SyscallNumbers.PIDFD_OPEN, child);
    Linux.close(b);
    assertThat(p.reap()).isFalse();
    p.heldBy(pidfd, 9);
    watch(0);
    assertThat(p.isStale()).as("settled with the child's descriptor").isFalse();
    int copy = (int) Linux.pidfdGetfd(pidfd, 9);
    assertThat(poll(copy)).isZero();
    level(POLLIN);
    level(POLLOUT);
    assertThat(p.settle()).isTrue();
    assertThat(poll(copy)).isEqualTo(POLLOUT);
    Linux.close(copy);
    assertThat(p.reap()).isFalse();
    Linux.syscall(SyscallNumbers.KILL, child, 9, 0);
    Linux.syscall(SyscallNumbers.WAIT4, child, 0, 0, 0, 0, 0);
    assertThat(p.reap()).as("once its parent knows of the death").isTrue();
    Linux.close(pidfd);
  }

  /** A slow model: what a poll must show after each step of a random history. */
  @Test
  void showsTheNewestTruthInAnyOrder() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("tests.seed=" + seed);
    Random random = new Random(seed);
    watch(POLLOUT);
    int[] masks = {0, POLLIN, POLLOUT, POLLIN | POLLOUT};
    long newest = stamp;
    int truth = POLLOUT;
    for (int i = 0; i < 20_000; i++) {
      int mask = masks[random.nextInt(masks.length)];
      long at = stamp - 5 + random.nextInt(8);
      if (at > newest) {
        newest = at;
        truth = mask;
      }
      stamp = Math.max(stamp, at);
      p.update(mask, at, random.nextBoolean() ? ++edges : -1);
      int shown = poll(b);
      assertThat(shown & truth).as("step %d: nothing is missed", i).isEqualTo(truth);
      assertThat(shown & POLLOUT).isEqualTo(truth & POLLOUT);
      if (random.nextInt(4) == 0) {
        p.settle();
        assertThat(poll(b)).as("step %d: after settling", i).isEqualTo(truth);
      }
    }
    assertThat(p.edgesLost()).isZero();
  }

  /** Prints what a token costs; the figures are for the documentation, only absurd ones fail. */
  @Test
  void costs() {
    watch(POLLOUT);
    int rounds = 20_000;
    for (int warm = 0; warm < 2; warm++) {
      long t0 = System.nanoTime();
      for (int i = 0; i < rounds; i++) {
        level(POLLIN | POLLOUT);
        level(POLLOUT);
        p.settle();
      }
      long t1 = System.nanoTime();
      for (int i = 0; i < rounds; i++) {
        level(0);
        level(POLLOUT);
      }
      long t2 = System.nanoTime();
      System.out.printf(
          "IN shown and cleared %d ns, OUT hidden and shown %d ns%n",
          (t1 - t0) / rounds, (t2 - t1) / rounds);
      assertThat((t2 - t0) / rounds).isLessThan(1_000_000);
    }
  }

  private boolean watch(int mask) {
    return p.watch(mask, ++stamp);
  }

  private boolean level(int mask) {
    return p.update(mask, ++stamp, -1);
  }

  private void edge(int mask) {
    p.update(mask, ++stamp, ++edges);
  }

  private int poll(int fd) {
    buffer.set(ValueLayout.JAVA_INT, 0, fd);
    buffer.set(ValueLayout.JAVA_INT, 4, ALL);
    Linux.poll(buffer.address(), 1, 0);
    return buffer.get(ValueLayout.JAVA_SHORT, 6);
  }

  /** Bit 0 readable, bit 1 writable, bit 2 exceptional, by select(2). */
  private int select(int fd) {
    assertThat(fd).isLessThan(1024);
    buffer.asSlice(0, 400).fill((byte) 0);
    for (int set = 0; set < 3; set++) {
      buffer.set(ValueLayout.JAVA_LONG, 128L * set + 8L * (fd / 64), 1L << (fd % 64));
    }
    long at = buffer.address();
    assertThat(Linux.syscall(23, fd + 1, at, at + 128, at + 256, at + 384, 0))
        .isGreaterThanOrEqualTo(0);
    int r = 0;
    for (int set = 0; set < 3; set++) {
      if (buffer.get(ValueLayout.JAVA_LONG, 128L * set + 8L * (fd / 64)) != 0) {
        r |= 1 << set;
      }
    }
    return r;
  }

  private int edgeTriggered() {
    int epoll = (int) Linux.epollCreate(EPOLL_CLOEXEC);
    buffer.set(ValueLayout.JAVA_INT, 0, EPOLLET | POLLIN | POLLOUT | POLLRDHUP);
    assertThat(Linux.epollCtl(epoll, EPOLL_CTL_ADD, b, buffer.address())).isZero();
    return epoll;
  }

  private int wait(int epoll) {
    long n = Linux.epollWait(epoll, buffer.address(), 1, 0);
    return n == 0 ? 0 : buffer.get(ValueLayout.JAVA_INT, 0);
  }

  private static int openDescriptors() throws IOException {
    try (var list = Files.list(Path.of("/proc/self/fd"))) {
      return (int) list.count();
    }
  }
}
