// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static dev.outboard.abi.Poll.*;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Real sets of this process, with placeholders as members, one of which has an error to tell. */
class EpollSetsTest {
  private static final int FAILED = POLLIN | POLLOUT | POLLERR;
  private static final int MOST = 1024;

  /** One event of a set. */
  private record Event(int events, long data) {}

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment event = arena.allocate(EpollSets.EVENT_BYTES, 8);
  private final List<Integer> open = new ArrayList<>();
  private final int self =
      (int) Linux.syscall(SyscallNumbers.PIDFD_OPEN, ProcessHandle.current().pid());
  private final EpollSets.Work work = new EpollSets.Work();
  private Placeholders placeholders;
  private EpollSets sets;
  private int set;
  private long stamp;

  @BeforeEach
  void open() {
    placeholders = new Placeholders(handle -> {}, 2000);
    sets = new EpollSets(new Descriptors(placeholders, new OpenFiles()));
    set = (int) Linux.epollCreate(EPOLL_CLOEXEC);
    assertThat(set).isNotNegative();
  }

  @AfterEach
  void close() {
    Linux.close(set);
    open.forEach(Linux::close);
    placeholders.close();
    Linux.close(self);
    arena.close();
  }

  /**
   * A new file of the device, ready for what {@code mask} says; a descriptor of its placeholder.
   */
  private int file(int handle, int mask) {
    Placeholder p = Objects.requireNonNull(placeholders.create(handle, true, false));
    int b = (int) Linux.fcntl(p.endB(), Fcntl.F_DUPFD_CLOEXEC, 0);
    p.releaseEndB();
    open.add(b);
    p.heldBy(self, b);
    if (p.watch(mask, ++stamp)) {
      p.settle();
    }
    return b;
  }

  private void becomes(int handle, int mask) {
    Objects.requireNonNull(placeholders.byHandle(handle)).update(mask, ++stamp, -1);
  }

  /** A file of the host that can be written to. */
  private int hostFile() {
    int fd = (int) Linux.eventfd(File.EFD_CLOEXEC);
    open.add(fd);
    return fd;
  }

  private void add(int fd, int events, long data) {
    event.set(ValueLayout.JAVA_INT, 0, events);
    event.set(ValueLayout.JAVA_LONG_UNALIGNED, EpollSets.EVENT_DATA, data);
    assertThat(Linux.epollCtl(set, EPOLL_CTL_ADD, fd, event.address())).isZero();
  }

  private boolean concerned() {
    work.forgetFiles();
    return sets.concerns(work, set);
  }

  private List<Event> take(int most) {
    assertThat(concerned()).isTrue();
    int n = EpollSets.take(work, set, most);
    List<Event> events = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      long at = (long) i * EpollSets.EVENT_BYTES;
      events.add(
          new Event(
              work.events.get(ValueLayout.JAVA_INT_UNALIGNED, at),
              work.events.get(ValueLayout.JAVA_LONG_UNALIGNED, at + EpollSets.EVENT_DATA)));
    }
    return events;
  }

  private List<Event> take() {
    return take(MOST);
  }

  @Test
  void aSetOfFilesThatShowTheirReadinessIsLeftAlone() {
    add(file(1, POLLIN | POLLOUT), POLLIN, 11);
    add(hostFile(), POLLOUT, 12);
    assertThat(concerned()).isFalse();
    becomes(1, FAILED);
    assertThat(concerned()).isTrue();
    becomes(1, POLLIN | POLLOUT);
    assertThat(concerned()).isFalse();
  }

  @Test
  void aFailedFileThatIsNoMemberDoesNotMatter() {
    file(2, FAILED);
    add(file(1, POLLIN), POLLIN, 11);
    assertThat(concerned()).isFalse();
  }

  @Test
  void anErrorIsToldWhetherAskedForOrNot() {
    add(file(1, FAILED), POLLIN, 11);
    assertThat(take()).containsExactly(new Event(POLLIN | POLLERR, 11));
    assertThat(take()).as("again, since it is a level").hasSize(1);
  }

  @Test
  void aHangupOfAnUnconnectedSocketIsNotData() {
    add(file(1, POLLOUT | POLLHUP), POLLIN | POLLOUT, 0xfedcba9876543210L);
    assertThat(take()).containsExactly(new Event(POLLOUT | POLLHUP, 0xfedcba9876543210L));
  }

  @Test
  void whatTheDeviceAloneSeesIsAdded() {
    add(file(1, FAILED), 0, 11);
    assertThat(Linux.epollWait(set, work.events.address(), 1, 0)).as("the host's word").isZero();
    assertThat(take()).containsExactly(new Event(POLLERR, 11));
  }

  @Test
  void otherMembersSayWhatTheySaidBefore() {
    add(file(1, FAILED), POLLIN, 11);
    add(file(2, POLLOUT), POLLIN | POLLOUT, 12);
    add(hostFile(), POLLIN | POLLOUT, 13);
    add(file(3, 0), POLLIN | POLLOUT, 14);
    assertThat(take())
        .containsExactlyInAnyOrder(
            new Event(POLLIN | POLLERR, 11), new Event(POLLOUT, 12), new Event(POLLOUT, 13));
  }

  @Test
  void anEdgeIsToldOnce() {
    add(file(1, FAILED), POLLIN | EPOLLET, 11);
    assertThat(take()).containsExactly(new Event(POLLIN | POLLERR, 11));
    assertThat(take()).isEmpty();
  }

  @Test
  void aOneShotMemberIsToldOnce() {
    add(file(1, FAILED), POLLOUT | EPOLLONESHOT, 11);
    assertThat(take()).containsExactly(new Event(POLLOUT | POLLERR, 11));
    assertThat(take()).isEmpty();
  }

  @Test
  void membersTakeTurnsWhereNotAllCanBeTold() {
    add(file(1, FAILED), POLLIN, 11);
    add(file(2, FAILED), POLLIN, 12);
    List<Event> first = take(1);
    List<Event> second = take(1);
    assertThat(first).hasSize(1);
    assertThat(second).hasSize(1);
    assertThat(first).isNotEqualTo(second);
  }

  @Test
  void membersThatShareTheirDataAreToldApartByWhatTheyShow() {
    add(file(1, FAILED), POLLIN, 7);
    add(file(2, POLLOUT), POLLOUT, 7);
    assertThat(take())
        .containsExactlyInAnyOrder(new Event(POLLIN | POLLERR, 7), new Event(POLLOUT, 7));
  }

  /** More members than there is room for at first, in their list and in its text. */
  @Test
  void aLargeSetIsReadToItsEnd() {
    int n = 700;
    List<Event> expected = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      boolean failed = i % 7 == 6;
      add(file(i, failed ? FAILED : POLLIN), POLLIN, (long) i << 33);
      expected.add(new Event(failed ? POLLIN | POLLERR : POLLIN, (long) i << 33));
    }
    assertThat(take()).containsExactlyInAnyOrderElementsOf(expected);
  }

  @Test
  void whatIsNoSetConcernsNobody() {
    assertThat(sets.concerns(work, hostFile())).isFalse();
    assertThat(sets.concerns(work, 1_000_000)).isFalse();
  }
}
