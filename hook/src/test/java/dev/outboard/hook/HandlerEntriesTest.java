// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which calls are made anew; SignalEffectsTest has the rest. */
class HandlerEntriesTest {
  @Test
  void callsThatMayWaitAreNotMadeAnew() {
    assertThat(names())
        .doesNotContain(
            "read", "write", "accept", "connect", "open", "openat", "flock", "poll", "ioctl",
            "futex", "wait4");
  }

  @Test
  void callsThatNeverWaitAre() {
    assertThat(names())
        .contains(
            "close",
            "dup2",
            "socket",
            "epoll_ctl",
            "clone",
            "fork",
            "vfork",
            "execve",
            "fcntl",
            "rt_sigaction",
            "newfstatat");
  }

  private static List<String> names() {
    return SyscallTable.rows().stream()
        .filter(row -> HandlerEntries.isRepeated(row.x86()))
        .map(Row::name)
        .toList();
  }
}
