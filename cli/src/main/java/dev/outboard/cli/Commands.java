// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.List;

/** The commands that there are. */
final class Commands {
  private static final List<String> NAMES =
      List.of("run", "demo", "bench", "check", "syscalls", "device", "status", "keys");

  private Commands() {}

  /** All of them, in the order of the help. */
  static List<Command> all() {
    return NAMES.stream().map(Commands::named).toList();
  }

  /**
   * The command of that name.
   *
   * @throws Failure if there is none
   */
  static Command named(String name) {
    // A switch, so that only the command that runs is loaded.
    return switch (name) {
      case "run" -> new RunCommand();
      case "demo" -> new DemoCommand();
      case "bench" -> new BenchCommand();
      case "check" -> new CheckCommand();
      case "syscalls" -> new SyscallsCommand();
      case "device" -> new DeviceCommand();
      case "status" -> new StatusCommand();
      case "keys" -> new KeysCommand(KeyFiles.ofThisUser());
      default -> {
        String near = Syntax.nearest(name, NAMES);
        throw new Failure(
            "there is no command '"
                + name
                + "'"
                + (near.isEmpty() ? "" : "; did you mean " + near + "?")
                + ". To run a program: outboard run -- "
                + name
                + "\nTry 'outboard --help'.");
      }
    };
  }
}
