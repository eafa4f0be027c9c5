// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What becomes of a traced thread that is let go. */
@Timeout(30)
class DetachTest {
  private static final int SIGHUP = 1;
  private static final int KILLED_BY_IT = SIGHUP;

  @Test
  void theSignalForWhichItHasStoppedIsDelivered() {
    assertThat(statusAfter(true)).isEqualTo(KILLED_BY_IT);
  }

  @Test
  void noSignalComesOfAStopThatWasAskedFor() {
    assertThat(statusAfter(false)).isEqualTo(Processes.SIG_KILL);
  }

  /** The wait status of a process that was stopped for a signal, or by request, and let go. */
  private static int statusAfter(boolean signalled) {
    try (Arena a = Arena.ofConfined()) {
      MemorySegment info = a.allocate(Processes.SIGINFO_BYTES, 8);
      int pid = (int) new Spawn(List.of("/bin/sleep", "60")).start();
      assertThat(pid).isPositive();
      assertThat(Processes.detach(pid, info)).isEqualTo(-Errno.ESRCH);
      assertThat(Processes.ptrace(Processes.PTRACE_SEIZE, pid, 0, 0)).isZero();
      assertThat(Processes.detach(pid, info)).isEqualTo(-Errno.ESRCH);
      if (signalled) {
        assertThat(Processes.tgkill(pid, pid, SIGHUP)).isZero();
      } else {
        assertThat(Processes.ptrace(Processes.PTRACE_INTERRUPT, pid, 0, 0)).isZero();
      }
      while (Processes.stoppedFor(pid, info) == -Errno.ESRCH) {
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(1));
      }
      assertThat(Processes.stoppedFor(pid, info)).isEqualTo(signalled ? SIGHUP : 0);
      assertThat(Processes.detach(pid, info)).isZero();
      if (!signalled) {
        Linux.syscall(SyscallNumbers.KILL, pid, Processes.SIG_KILL, 0);
      }
      MemorySegment status = a.allocate(ValueLayout.JAVA_INT);
      assertThat(Processes.waitTask(pid, status.address(), 0)).isEqualTo(pid);
      return status.get(ValueLayout.JAVA_INT, 0);
    }
  }
}
