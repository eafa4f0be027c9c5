// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.PrintStream;
import java.util.List;

/** {@code outboard check}: what this machine offers, and for each lack what to do about it. */
final class CheckCommand implements Command {
  @Override
  public Syntax syntax() {
    return new Syntax(
        "check",
        "",
        "Shows what this machine offers to outboard, and how to get what it lacks.",
        List.of(
            "Nothing runs without what is marked 'lacks', and the exit status is 1 then; without what",
            "is marked 'note' only a part of outboard does not work."),
        List.of(),
        List.of());
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    List<Finding> findings = Machine.examine();
    PrintStream out = terminal.out();
    int width = findings.stream().mapToInt(f -> f.what().length()).max().orElse(0);
    for (Finding f : findings) {
      out.printf("%-6s %-" + width + "s  %s%n", f.level().word(), f.what(), f.found());
      if (!f.fix().isEmpty()) {
        out.printf("%-6s %-" + width + "s  fix: %s%n", "", "", f.fix());
      }
    }
    boolean lacking = findings.stream().anyMatch(f -> f.level() == Finding.Level.LACKS);
    out.println();
    out.println(
        lacking
            ? "outboard cannot run programs here yet: see 'lacks' above."
            : "outboard can run programs here.");
    return lacking ? ExitStatus.LACKING : ExitStatus.OK;
  }
}
