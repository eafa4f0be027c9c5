// SPDX-License-Identifier: MIT
package dev.outboard.cli;

/**
 * One thing that {@code outboard check} looked at.
 *
 * @param level how it stands
 * @param what it is, in a few words
 * @param found what is there
 * @param fix what to do; empty if there is nothing to do
 */
record Finding(Level level, String what, String found, String fix) {
  /** How a thing stands. */
  enum Level {
    /** There, and good enough. */
    OK("ok"),
    /** Missing; a part of the product does not work. */
    NOTE("note"),
    /** Missing; nothing works. */
    LACKS("lacks");

    private final String word;

    Level(String word) {
      this.word = word;
    }

    String word() {
      return word;
    }
  }

  static Finding ok(String what, String found) {
    return new Finding(Level.OK, what, found, "");
  }

  static Finding note(String what, String found, String fix) {
    return new Finding(Level.NOTE, what, found, fix);
  }

  static Finding lacks(String what, String found, String fix) {
    return new Finding(Level.LACKS, what, found, fix);
  }
}
