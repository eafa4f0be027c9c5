// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.ArrayList;
import java.util.List;

/** {@code outboard} without a command: help and versions. */
final class Outboard implements Command {
  @Override
  public Syntax syntax() {
    List<String> description =
        new ArrayList<>(
            List.of(
                "The device is a process beside the program, or one on another machine that serves it.",
                "",
                "Commands:"));
    for (Command command : Commands.all()) {
      Syntax syntax = command.syntax();
      description.add(String.format("  %-10s%s", syntax.name(), syntax.summary()));
    }
    description.add("");
    description.add(
        "'outboard COMMAND --help' explains a command. The exit status is the program's own; 125 if");
    description.add(
        "outboard fails, 126 if the program cannot be executed, 127 if there is none, and 128+N");
    description.add("if signal N ended the program.");
    return new Syntax(
        "",
        "COMMAND ...",
        "Runs an unmodified program here while a Linux kernel on a device carries out its network calls.",
        description,
        List.of(
            Option.flag(
                "--version",
                'V',
                "Print the versions of outboard, of this machine's kernel and of the library",
                "kernel.")),
        List.of(
            "  outboard demo",
            "      stock nginx, served by a kernel in another process: what ran where",
            "  outboard run -- curl https://www.debian.org/",
            "      a program whose sockets are the device's; no root needed",
            "  outboard run --net tap:name=ob0,addr=10.77.0.2/24 -- nginx -g 'daemon off;'",
            "      a server with an address of its own on a network of this machine; as root",
            "  outboard check",
            "      what this machine has, what it lacks, and how to get that"));
  }

  @Override
  public int run(Arguments arguments, Terminal terminal) {
    if (!arguments.has("--version")) {
      throw syntax().usageError("a command is missing");
    }
    Versions.lines().forEach(terminal.out()::println);
    return ExitStatus.OK;
  }
}
