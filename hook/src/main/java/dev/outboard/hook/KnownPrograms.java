// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/**
 * Which programs are worth the shim at their first trapped call, as a process that executed them
 * before came to have it. A guess: one that is wrong costs an injection, or some traps.
 *
 * <p>A program is known by a hash of the path by which it was executed. Bounded: of two that fall
 * together the later one is known. Any thread.
 */
final class KnownPrograms {
  /** Stands for no program. */
  static final int NONE = 0;

  /** A power of 2. */
  private static final int SLOTS = 1024;

  private final int[] programs = new int[SLOTS];

  private static int slot(int program) {
    return (program ^ program >>> 16) & (SLOTS - 1);
  }

  synchronized boolean has(int program) {
    return program != NONE && programs[slot(program)] == program;
  }

  synchronized void add(int program) {
    programs[slot(program)] = program;
  }

  synchronized void remove(int program) {
    if (has(program)) {
      programs[slot(program)] = NONE;
    }
  }
}
