// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class SyscallDocsTest {
  /** {@code -Ddocs.update=true} writes the file instead of comparing it. */
  @Test
  void theFileInDocsIsTheTable() throws Exception {
    Path file = Path.of("..", "docs", "syscalls.md");
    if (Boolean.getBoolean("docs.update")) {
      Files.createDirectories(file.getParent());
      Files.writeString(file, SyscallDocs.markdown());
    }
    assertThat(Files.readString(file)).isEqualTo(SyscallDocs.markdown());
  }

  @Test
  void everyCallHasOneLineThere() {
    String text = SyscallDocs.markdown();
    for (Row r : SyscallTable.rows()) {
      assertThat(text).containsOnlyOnce("`" + r.name() + "(").contains("| " + r.x86() + " | ");
    }
    // A bar inside a note would add a column.
    text.lines()
        .filter(line -> line.startsWith("| ") && line.contains("`"))
        .forEach(line -> assertThat(line.chars().filter(c -> c == '|')).as(line).hasSize(7));
  }

  @Test
  void searchFindsNumbersNamesAndWords() {
    assertThat(SyscallDocs.search("47")).extracting(Row::name).containsExactly("recvmsg");
    assertThat(SyscallDocs.search("read")).extracting(Row::name).containsExactly("read");
    assertThat(SyscallDocs.search("epoll")).extracting(Row::name).contains("epoll_wait");
    assertThat(SyscallDocs.search("refused"))
        .isNotEmpty()
        .allMatch(r -> r.support() == Support.REFUSED);
    assertThat(SyscallDocs.search("no such call")).isEmpty();
    assertThat(SyscallDocs.search("")).hasSameSizeAs(SyscallTable.rows());
  }

  @Test
  void terminalTextNamesWhatMatters() {
    assertThat(SyscallDocs.table(SyscallDocs.search("io_uring_setup")))
        .contains(" 425  io_uring_setup", "refused", "ENOSYS");
    assertThat(SyscallDocs.describe(SyscallDocs.search("poll").getFirst()))
        .contains("poll(*fds, nfds, timeout)", "ppoll does its work", "may block");
  }
}
