// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Poll;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SparePipesTest {
  private static final int PAGE = 4096;
  private static final int PIPE = 16 * PAGE;

  private final Arena arena = Arena.ofConfined();
  private final SparePipes spares = new SparePipes();

  @AfterEach
  void close() {
    spares.close();
    arena.close();
  }

  @Test
  void aPipeTakesWhatItHasRoomForAndNoWriteWaits() {
    int[] pipe = pipe(0);
    byte[] sent = pattern(3 * PIPE);
    MemorySegment bytes = arena.allocateFrom(ValueLayout.JAVA_BYTE, sent);
    assertThat(spares.put(pipe[1], bytes.address(), 1000)).isEqualTo(1000);
    assertThat(spares.put(pipe[1], bytes.address() + 1000, sent.length - 1000))
        .isEqualTo(PIPE - PAGE);
    assertThat(spares.put(pipe[1], bytes.address(), 1)).isEqualTo(-Errno.EAGAIN);
    assertThat(read(pipe[0], PIPE)).isEqualTo(Arrays.copyOf(sent, PIPE - PAGE + 1000));
    assertThat(spares.put(pipe[1], bytes.address(), 5)).isEqualTo(5);
    assertThat(read(pipe[0], 5)).isEqualTo(Arrays.copyOf(sent, 5));
    closeAll(pipe);
  }

  @Test
  void aPipeThatNobodyReadsIsBroken() {
    int[] pipe = pipe(0);
    Linux.close(pipe[0]);
    MemorySegment bytes = arena.allocate(PAGE);
    assertThat(spares.put(pipe[1], bytes.address(), PAGE)).isEqualTo(-Errno.EPIPE);
    Linux.close(pipe[1]);
  }

  @Test
  void aLookTakesNothingOut() {
    int[] pipe = pipe(0);
    byte[] sent = pattern(2 * PAGE + 100);
    write(pipe[1], sent);
    MemorySegment seen = arena.allocate(PIPE);
    assertThat(spares.peek(pipe[0], seen.address(), 10)).isEqualTo(10);
    assertThat(spares.peek(pipe[0], seen.address(), PIPE)).isEqualTo(sent.length);
    assertThat(seen.asSlice(0, sent.length).toArray(ValueLayout.JAVA_BYTE)).isEqualTo(sent);
    assertThat(read(pipe[0], PIPE)).isEqualTo(sent);
    assertThat(spares.peek(pipe[0], seen.address(), 10)).isEqualTo(-Errno.EAGAIN);
    Linux.close(pipe[1]);
    assertThat(spares.peek(pipe[0], seen.address(), 10)).isZero();
    Linux.close(pipe[0]);
  }

  @Test
  void packetsAreSeenOneAfterTheOther() {
    int[] pipe = pipe(Fcntl.O_DIRECT);
    byte[] sent = pattern(300);
    write(pipe[1], Arrays.copyOf(sent, 100));
    write(pipe[1], Arrays.copyOfRange(sent, 100, 300));
    MemorySegment seen = arena.allocate(PIPE);
    assertThat(spares.peek(pipe[0], seen.address(), PIPE)).isEqualTo(300);
    assertThat(seen.asSlice(0, 300).toArray(ValueLayout.JAVA_BYTE)).isEqualTo(sent);
    assertThat(read(pipe[0], PIPE)).hasSize(100);
    closeAll(pipe);
  }

  @Test
  void aPipeComesBackOnlyIfItIsEmpty() {
    SparePipes.Pipe first = Objects.requireNonNull(spares.take());
    spares.give(first, true);
    assertThat(spares.take()).isSameAs(first);
    spares.give(first, false);
    MemorySegment poll = arena.allocate(8, 4);
    poll.set(ValueLayout.JAVA_INT, 0, first.out());
    poll.set(ValueLayout.JAVA_INT, 4, Poll.POLLIN);
    Linux.poll(poll.address(), 1, 0);
    assertThat(poll.get(ValueLayout.JAVA_SHORT, 6) & Poll.POLLNVAL).isNotZero();
  }

  private int[] pipe(int flags) {
    MemorySegment ends = arena.allocate(8, 4);
    assertThat(Linux.pipe2(ends.address(), Fcntl.O_CLOEXEC | flags)).isZero();
    return ends.toArray(ValueLayout.JAVA_INT);
  }

  private static void closeAll(int[] fds) {
    for (int fd : fds) {
      Linux.close(fd);
    }
  }

  private static byte[] pattern(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 7 + i / 251);
    }
    return bytes;
  }

  private void write(int fd, byte[] bytes) {
    MemorySegment from = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
    assertThat(Linux.write(fd, from.address(), bytes.length)).isEqualTo(bytes.length);
  }

  private byte[] read(int fd, int most) {
    MemorySegment to = arena.allocate(most);
    long r = Linux.read(fd, to.address(), most);
    assertThat(r).isPositive();
    return to.asSlice(0, r).toArray(ValueLayout.JAVA_BYTE);
  }
}
