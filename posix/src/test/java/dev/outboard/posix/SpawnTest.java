// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.SyscallNumbers;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SpawnTest {
  private static final int O_RDWR = 2;
  private static final int O_RDWR_CREAT = 0102;

  @TempDir Path directory;

  @Test
  void theChildHasTheDescriptorsItWasGivenAndNoOther() throws IOException {
    Path output = directory.resolve("output");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pair = arena.allocate(8);
      assertThat(Linux.syscall(SyscallNumbers.PIPE2, pair.address(), 0, 0)).isZero();
      int readEnd = pair.get(ValueLayout.JAVA_INT, 0);
      int writeEnd = pair.get(ValueLayout.JAVA_INT, 4);
      Spawn spawn =
          new Spawn(List.of("/bin/sh", "-c", "for f in /proc/self/fd/*; do echo ${f##*/}; done"))
              .open(0, "/dev/null", O_RDWR)
              .open(1, output.toString(), O_RDWR_CREAT)
              .duplicate(1, 2)
              .duplicate(writeEnd, 3)
              .closeFrom(4);
      assertThat(status(spawn.start())).isZero();
      Linux.close(readEnd);
      Linux.close(writeEnd);
    }
    // The shell's own glob opens the directory: that descriptor is gone when the names are used.
    assertThat(Files.readAllLines(output)).startsWith("0", "1", "2", "3").hasSizeLessThan(6);
  }

  @Test
  void signalsHaveTheirDefaultsAndNoneIsBlocked() throws IOException {
    Path output = directory.resolve("output");
    Spawn spawn =
        new Spawn(List.of("/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
            .open(1, output.toString(), O_RDWR_CREAT);
    assertThat(status(spawn.start())).isZero();
    assertThat(Files.readAllLines(output))
        .containsExactly("SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000");
  }

  @Test
  void aNewSessionHasNoTerminalAndTheEnvironmentIsOurs() {
    Spawn spawn =
        new Spawn(
                List.of(
                    "/bin/sh",
                    "-c",
                    "read -r _ _ _ _ _ sid _ </proc/self/stat; [ $sid = $$ ] && [ \"$PATH\" = \"$1\" ]",
                    "sh",
                    System.getenv("PATH")))
            .newSession();
    assertThat(status(spawn.start())).isZero();
  }

  @Test
  void aFailedExecIsTheSpawnersError() {
    assertThat(new Spawn(List.of("/nonexistent/program")).start()).isEqualTo(-Errno.ENOENT);
    assertThat(new Spawn(List.of("/etc/passwd")).start()).isEqualTo(-Errno.EACCES);
  }

  /** Waits for a child; its wait status. */
  private static int status(long pid) {
    assertThat(pid).as("pid or -errno").isPositive();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment status = arena.allocate(ValueLayout.JAVA_INT);
      assertThat(Linux.syscall(SyscallNumbers.WAIT4, pid, status.address(), 0)).isEqualTo(pid);
      return status.get(ValueLayout.JAVA_INT, 0);
    }
  }
}
