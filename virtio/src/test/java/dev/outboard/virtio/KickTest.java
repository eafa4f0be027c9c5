// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.posix.Linux;
import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;

class KickTest {
  /** Its descriptor may be somebody else's by then. */
  @Test
  void signalsNobodyAfterTheEnd() throws NetException {
    try (Arena arena = Arena.ofConfined()) {
      Kick kick = new Kick(arena);
      kick.signal();
      kick.await();
      // Another file under its number, in the same moment.
      int other = (int) Linux.eventfd(File.EFD_CLOEXEC | File.EFD_NONBLOCK);
      int number = kick.descriptor();
      kick.close();
      assertThat(Linux.fcntl(other, Fcntl.F_DUPFD, number)).isEqualTo(number);
      kick.signal();
      assertThat(Linux.read(number, arena.allocate(8).address(), 8)).isEqualTo(-Errno.EAGAIN);
      Linux.close(number);
      Linux.close(other);
    }
  }
}
