// SPDX-License-Identifier: MIT
package dev.outboard.bench;

/** Whose CPU it is. The host's is what the program and the hook use. */
enum Side {
  /** The program and its children; what their system calls cost natively is in it. */
  PROGRAM("program"),
  /** What traps the program's calls: the hook, or a peer's tracer. */
  HOOK("hook"),
  /** What carries them out elsewhere: the device, or a peer's kernel or network. */
  DEVICE("device");

  private final String word;

  Side(String word) {
    this.word = word;
  }

  String word() {
    return word;
  }
}
