// SPDX-License-Identifier: MIT
package dev.outboard.cli;

/** What {@code outboard} returns: as {@code env(1)}, {@code timeout(1)} and the shells do. */
final class ExitStatus {
  /** Done; or the program's own success. */
  static final int OK = 0;

  /** {@code check} found that something needed is lacking; {@code demo} that contents differ. */
  static final int LACKING = 1;

  /** Outboard itself failed: wrong usage, no device, nothing that the program did. */
  static final int OURS = 125;

  /** The program was found and cannot be executed. */
  static final int NOT_EXECUTABLE = 126;

  /** The program was not found. */
  static final int NOT_FOUND = 127;

  private ExitStatus() {}
}
