// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.hook.Hook;
import java.util.Arrays;
import java.util.List;

/** Where the {@code outboard} command begins. */
public final class Main {
  private Main() {}

  /** Runs the command that {@code arguments} name, and ends the JVM with its status. */
  public static void main(String[] arguments) {
    Terminal terminal = Terminal.ofThisProcess();
    int status = run(Arrays.asList(RawArguments.restore(arguments)), terminal);
    terminal.out().flush();
    terminal.err().flush();
    Front.finish(status);
    leave(status);
  }

  /** Ends the JVM. */
  private static void leave(int status) {
    if (Boolean.getBoolean("outboard.training") || Hook.recorded()) {
      System.exit(status); // which writes the AOT cache, or JFR's recording
    }
    // Runtime.exit() looks for a logger to tell, in each of our jars: as long as all else that an
    // embedded device does at its end. No command leaves anything to a shutdown hook.
    Runtime.getRuntime().halt(status);
  }

  /** Runs the command that {@code words} name; its exit status. Throws nothing. */
  static int run(List<String> words, Terminal terminal) {
    try {
      if (words.isEmpty() || words.getFirst().startsWith("-")) {
        return call(new Outboard(), words, terminal);
      }
      Command command = Commands.named(words.getFirst());
      return call(command, words.subList(1, words.size()), terminal);
    } catch (Failure e) {
      terminal.say(String.valueOf(e.getMessage()));
    } catch (RuntimeException | Error e) {
      terminal.say("this should not have happened, and is a bug in outboard:");
      e.printStackTrace(terminal.err());
    }
    return ExitStatus.OURS;
  }

  private static int call(Command command, List<String> words, Terminal terminal) {
    Syntax syntax = command.syntax();
    Arguments arguments = syntax.parse(words);
    if (arguments.has(Syntax.HELP.name())) {
      syntax.help().forEach(terminal.out()::println);
      return ExitStatus.OK;
    }
    return command.run(arguments, terminal);
  }
}
