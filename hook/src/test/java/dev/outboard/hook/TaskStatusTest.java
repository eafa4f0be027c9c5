// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.SyscallNumbers;
import dev.outboard.channel.Credentials;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import dev.outboard.posix.Spawn;
import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;

class TaskStatusTest {
  private static final int USR1 = 10;

  @Test
  void readsThisThread() {
    try (Arena arena = Arena.ofConfined()) {
      TaskStatus status = new TaskStatus(arena);
      assertThat(status.read(arena, Processes.gettid())).isZero();
      assertThat(status.state).isEqualTo('R');
      assertThat(status.tgid).isEqualTo(Processes.getpid());
      assertThat(status.threads).isGreaterThan(1);
      assertThat(status.tracer).isZero();
      Credentials c = status.credentials(true);
      assertThat(c.uid()).isEqualTo((int) Linux.syscall(SyscallNumbers.GETUID, 0));
      assertThat(status.credentials(false).effective()).isZero();
      assertThat(status.user).isEqualTo(c.euid());
      assertThat(UserNamespaces.isOurs(Processes.gettid())).isTrue();
    }
  }

  @Test
  void seesPendingSignalsStopsAndEnds() throws InterruptedException {
    // Blocked in a child of its own: a signal that waits is seen, and whether it is blocked.
    long pid =
        new Spawn(
                List.of(
                    "/usr/bin/python3",
                    "-c",
                    "import signal,time;signal.pthread_sigmask(signal.SIG_BLOCK,[10]);time.sleep(60)"))
            .start();
    assertThat(pid).isPositive();
    try (Arena arena = Arena.ofConfined()) {
      TaskStatus status = new TaskStatus(arena);
      int child = (int) pid;
      do {
        Thread.sleep(10);
        assertThat(status.read(arena, child)).isZero();
      } while ((status.blocked & 1L << (USR1 - 1)) == 0);
      assertThat(status.ppid).isEqualTo(Processes.getpid());
      assertThat(status.sharedPending).isZero();
      Processes.kill(child, USR1);
      assertThat(status.read(arena, child)).isZero();
      assertThat(status.sharedPending).isEqualTo(1L << (USR1 - 1));
      Processes.kill(child, Processes.SIG_STOP);
      do {
        Thread.sleep(5);
        assertThat(status.read(arena, child)).isZero();
      } while (status.state != 'T');
      long fd = TaskStatus.open(arena, child);
      Processes.kill(child, Processes.SIG_KILL);
      Processes.waitTask(child, 0, 0);
      assertThat(status.read((int) fd)).isNegative();
      Linux.close((int) fd);
    }
  }
}
