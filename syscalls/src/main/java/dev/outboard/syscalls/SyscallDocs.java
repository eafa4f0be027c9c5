// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import dev.outboard.abi.Errno;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The table for people: {@code docs/syscalls.md} and what {@code outboard syscalls} prints. Pure
 * functions of the table.
 */
public final class SyscallDocs {
  private static final String WITH_EXPORTS = "traps only where the device has exports";

  private SyscallDocs() {}

  /** The text of {@code docs/syscalls.md}. */
  public static String markdown() {
    StringBuilder s = new StringBuilder(64 * 1024);
    s.append(
        """
        <!-- SPDX-License-Identifier: MIT -->
        # System calls

        Made from the syscall table (`syscalls/src/main/java/dev/outboard/syscalls/SyscallTable.java`); do not
        edit. After a change of the table:

            ./mvnw -q -pl syscalls -am test -Dtest=SyscallDocsTest -Dsurefire.failIfNoSpecifiedTests=false -Ddocs.update=true

        A *device fd* is a descriptor that lives in the device's kernel; on the host a *placeholder* stands for it: a
        socket, or for a regular file of an export a memory file.

        | where | what it means |
        | --- | --- |
        | host | never trapped: the host's kernel runs it; on a device fd it meets the placeholder, which answers as a socket does |
        | fd | runs on the device if its descriptor is a device fd |
        | family | runs on the device if the socket's family is the device's |
        | path | runs on the device if the path is the device's |
        | request | runs on the device if the session asks for it, as by --bpf=device for bpf; else the host's kernel runs it, untrapped |
        | process | the hook takes note, or waits with it; as a rule the host's kernel then runs it |
        | refused | answers an errno |

        """);
    Map<Support, Integer> counts = new EnumMap<>(Support.class);
    SyscallTable.rows().forEach(r -> counts.merge(r.support(), 1, Integer::sum));
    s.append(SyscallTable.rows().size()).append(" calls:");
    counts.forEach(
        (support, n) -> s.append(' ').append(n).append(' ').append(word(support)).append(','));
    s.setCharAt(s.length() - 1, '.');
    s.append("\n\n## Calls that the hook sees\n\n");
    calls(s, true);
    s.append("\n## Calls of the host, and refused ones\n\n");
    calls(s, false);
    requests(s);
    options(s);
    commands(s);
    return s.toString();
  }

  private static void calls(StringBuilder s, boolean trapped) {
    s.append("| nr | generic | call | where | support | note |\n");
    s.append("| ---: | ---: | --- | --- | --- | --- |\n");
    for (Row r : SyscallTable.rows()) {
      if (r.trapped() != trapped) {
        continue;
      }
      s.append("| ").append(r.x86()).append(" | ").append(generic(r)).append(" | `");
      s.append(prototype(r)).append("` | ").append(word(r.route())).append(" | ");
      s.append(word(r.support())).append(" | ").append(note(r)).append(" |\n");
    }
  }

  private static void requests(StringBuilder s) {
    s.append("\n## Requests of ioctl on a device fd\n\n");
    s.append(
        "FIOCLEX and FIONCLEX are the host's, for they are about the descriptor, and so are FIOASYNC,");
    s.append(
        " FIOSETOWN and FIOGETOWN, SIOCSPGRP and SIOCGPGRP, about the placeholder's owner. Others");
    s.append(
        " answer ENOTTY: in the network's ranges (0x89xx, 0x8Bxx, TUN's) and those of files (see");
    s.append(
        " fs/ioctl.c) the hook says so, elsewhere the placeholder does, which is a socket or, for a");
    s.append(" regular file of an export, a memory file. FIGETBSZ and FIOQSIZE are asked of the");
    s.append(" placeholder where the device has no exports.\n\n");
    s.append("| request | number | argument | note |\n| --- | --- | --- | --- |\n");
    for (IoctlRequests.Request q : IoctlRequests.rows()) {
      s.append("| ").append(q.name()).append(" | 0x").append(Integer.toHexString(q.number()));
      s.append(" | ").append(word(q.form()));
      s.append(q.bytes() > 0 ? ", " + q.bytes() + " bytes" : "").append(" | ");
      s.append(q.errno() == 0 ? "" : Errno.name(q.errno()) + ": ");
      s.append(q.note()).append(" |\n");
    }
  }

  private static void commands(StringBuilder s) {
    s.append("\n## Commands of bpf with `--bpf=device`\n\n");
    s.append(
        "All others answer EINVAL, but for BPF_OBJ_PIN (EPERM) and BPF_OBJ_GET (ENOENT). So does");
    s.append(" anything beyond what a command knows of its attribute.\n\n");
    s.append("| command | number | bytes known | makes |\n| --- | ---: | ---: | --- |\n");
    for (int command = 0; command <= BpfCommands.PROG_BIND_MAP; command++) {
      if (BpfCommands.known(command) >= 0) {
        s.append("| ").append(Names.format("BPF", command)).append(" | ").append(command);
        s.append(" | ").append(BpfCommands.known(command)).append(" | ");
        BpfObject.Kind made = BpfCommands.makes(command);
        s.append(made == BpfObject.Kind.NONE ? "" : "a descriptor: " + word(made)).append(" |\n");
      }
    }
  }

  private static void options(StringBuilder s) {
    s.append("\n## Socket options on a device fd\n\n");
    s.append(
        "All others answer ENOPROTOOPT. Programs with the shim ask for those marked \\* without");
    s.append(" a trap, of sockets of TCP, UDP and MPTCP.\n\n");
    s.append("| level | option | number | value | note |\n| --- | --- | ---: | --- | --- |\n");
    for (SocketOptions.Option o : SocketOptions.rows()) {
      s.append("| ").append(o.levelName()).append(" | ").append(o.cName());
      s.append(SocketOptions.isAsked(o.level(), o.name()) ? " \\*" : "").append(" | ");
      s.append(o.name()).append(" | ").append(word(o.form()));
      s.append(
          switch (o.form()) {
            case STRUCTURE, DESCRIPTOR, PROGRAM -> ", " + o.bytes() + " bytes";
            case VARIABLE -> ", at most " + o.bytes() + " bytes";
            case INTEGER, FILTER, HOOK, REFUSED -> "";
          });
      boolean refused = o.form() == SocketOptions.Form.REFUSED;
      s.append(" | ").append(refused ? Errno.name(o.errno()) + ": " : "");
      s.append(o.note()).append(" |\n");
    }
  }

  /**
   * Rows that a term finds: a number, a part of a name, or a word of route or support ({@code
   * refused}, {@code partial}, {@code fd} …). All rows for an empty term.
   */
  public static List<Row> search(String term) {
    String t = term.strip().toLowerCase(Locale.ROOT);
    List<Row> exact = new ArrayList<>();
    List<Row> found = new ArrayList<>();
    for (Row r : SyscallTable.rows()) {
      if (r.name().equals(t) || Integer.toString(r.x86()).equals(t)) {
        exact.add(r);
      }
      if (r.name().contains(t) || word(r.route()).equals(t) || word(r.support()).equals(t)) {
        found.add(r);
      }
    }
    return exact.isEmpty() ? found : exact;
  }

  /** Rows in columns for a terminal: number, name, where, support, note. */
  public static String table(List<Row> rows) {
    StringBuilder s = new StringBuilder(rows.size() * 80);
    line(s, "nr", "call", "where", "support", "note");
    for (Row r : rows) {
      line(s, Integer.toString(r.x86()), r.name(), word(r.route()), word(r.support()), note(r));
    }
    return s.toString();
  }

  private static void line(
      StringBuilder s, String nr, String name, String where, String support, String note) {
    String text =
        " ".repeat(Math.max(0, 4 - nr.length()))
            + nr
            + "  "
            + pad(name, 24)
            + pad(where, 9)
            + pad(support, 11)
            + note;
    s.append(text.stripTrailing()).append('\n');
  }

  private static String pad(String text, int width) {
    return text + " ".repeat(Math.max(1, width - text.length()));
  }

  /** All that the table knows of one call, in a few lines. */
  public static String describe(Row r) {
    StringBuilder s = new StringBuilder();
    s.append(prototype(r)).append('\n');
    s.append("  number    ").append(r.x86()).append(" on x86-64, ");
    s.append(r.canonical() >= 0 ? Integer.toString(r.canonical()) : "none").append(" generic");
    s.append(r.carrier().isEmpty() ? "" : " (" + r.carrier() + " does its work)").append('\n');
    s.append("  where     ").append(word(r.route()));
    s.append(r.mayBlock() ? ", may block" : "").append('\n');
    s.append("  support   ").append(word(r.support())).append('\n');
    if (!note(r).isEmpty()) {
      s.append("  note      ").append(note(r)).append('\n');
    }
    return s.toString();
  }

  /** The call as its manual page would write it, without types. */
  static String prototype(Row r) {
    StringBuilder s = new StringBuilder(r.name()).append('(');
    for (int i = 0; i < r.argCount(); i++) {
      Arg arg = r.arg(i);
      s.append(i == 0 ? "" : ", ").append(arg.kind().pointer() ? "*" : "").append(arg.name());
    }
    return s.append(')').toString();
  }

  private static String generic(Row r) {
    if (r.canonical() >= 0) {
      return Integer.toString(r.canonical());
    }
    return r.carrier().isEmpty() ? "–" : r.carrier();
  }

  private static String note(Row r) {
    String note = r.errno() == 0 ? r.note() : Errno.name(r.errno()) + ": " + r.note();
    boolean withExports = r.trapped() && r.trapWhen().equals(SyscallTable.NEVER);
    return withExports ? WITH_EXPORTS + (note.isEmpty() ? "" : "; " + note) : note;
  }

  private static String word(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
