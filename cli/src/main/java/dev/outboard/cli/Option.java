// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.util.List;

/**
 * One option of a command, from which parsing, help and the documentation's test are derived.
 *
 * @param name its long name, with the dashes
 * @param letter its short name without the dash, or 0
 * @param value what its value is called in the help; empty if it takes none
 * @param kind how it takes its value
 * @param help what it does, as lines that need no further breaking
 */
record Option(String name, char letter, String value, Kind kind, List<String> help) {
  /** How an option takes its value. */
  enum Kind {
    /** It takes none. */
    FLAG,
    /** One; given twice, it is an error. */
    SINGLE,
    /** One, only as {@code --name=value}; without it the option stands for itself. */
    OPTIONAL,
    /** Any number: given repeatedly. */
    REPEATED,
    /** Any number: given repeatedly, or separated by commas. */
    LIST
  }

  static Option flag(String name, char letter, String... help) {
    return new Option(name, letter, "", Kind.FLAG, List.of(help));
  }

  static Option single(String name, String value, String... help) {
    return new Option(name, (char) 0, value, Kind.SINGLE, List.of(help));
  }

  static Option optional(String name, String value, String... help) {
    return new Option(name, (char) 0, value, Kind.OPTIONAL, List.of(help));
  }

  static Option repeated(String name, char letter, String value, String... help) {
    return new Option(name, letter, value, Kind.REPEATED, List.of(help));
  }

  static Option list(String name, String value, String... help) {
    return new Option(name, (char) 0, value, Kind.LIST, List.of(help));
  }

  /** How it is written: {@code -p, --publish=[ADDR:]PORT:PORT}. */
  String usage() {
    String values =
        switch (kind) {
          case FLAG -> "";
          case SINGLE, REPEATED -> "=" + value;
          case OPTIONAL -> "[=" + value + "]";
          case LIST -> "=" + value + "[," + value + "...]";
        };
    return (letter == 0 ? "    " : "-" + letter + ", ") + name + values;
  }
}
