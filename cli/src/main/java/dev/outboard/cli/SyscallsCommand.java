// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallDocs;
import dev.outboard.syscalls.SyscallTable;
import java.util.List;

/** {@code outboard syscalls}: the table of system calls, or what is asked for of it. */
final class SyscallsCommand implements Command {
  @Override
  public Syntax syntax() {
    return new Syntax(
        "syscalls",
        "[NAME|WORD...]",
        "Shows where each system call runs and how well it is supported.",
        List.of(
            "Without a word, one line for each call of x86-64. The name of a call shows all that is known",
            "of it; another word, such as a number, a part of a name, 'partial' or 'refused', the lines",
            "that it finds. From the same table come the seccomp filter, the marshalling and --trace."),
        List.of(),
        List.of("  outboard syscalls partial", "  outboard syscalls sendmsg epoll_wait"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    if (arguments.operands().isEmpty()) {
      terminal.out().print(SyscallDocs.table(SyscallTable.rows()));
    }
    for (String word : arguments.operands()) {
      terminal.out().print(find(word));
    }
    return ExitStatus.OK;
  }

  private static String find(String word) {
    Row row = SyscallTable.byName(word);
    if (row != null) {
      return SyscallDocs.describe(row);
    }
    List<Row> rows = SyscallDocs.search(word);
    if (rows.isEmpty()) {
      String near = Syntax.nearest(word, SyscallTable.rows().stream().map(Row::name).toList());
      throw new Failure(
          "the table has nothing for '"
              + word
              + "'"
              + (near.isEmpty() ? "" : "; did you mean " + near + "?"));
    }
    return SyscallDocs.table(rows);
  }
}
