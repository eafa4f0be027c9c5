// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Where a command writes: results to {@code out}, messages to {@code err}. UTF-8 whatever the
 * locale; {@code err} is written line by line.
 */
record Terminal(PrintStream out, PrintStream err) {
  private static final int BUFFER_BYTES = 8192;

  /** This process's standard output and error. */
  static Terminal ofThisProcess() {
    return new Terminal(stream(FileDescriptor.out), stream(FileDescriptor.err));
  }

  private static PrintStream stream(FileDescriptor descriptor) {
    return new PrintStream(
        new java.io.BufferedOutputStream(new FileOutputStream(descriptor), BUFFER_BYTES),
        true,
        StandardCharsets.UTF_8);
  }

  /** Says something to the user, as outboard, on standard error; each line by itself. */
  void say(String message) {
    message.lines().forEach(line -> err.println("outboard: " + line));
  }
}
