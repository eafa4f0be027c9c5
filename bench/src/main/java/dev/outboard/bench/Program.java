// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The program that is offloaded: a server, or one that is told on its standard input what to do.
 *
 * @param command its words
 * @param export a directory of which it serves the files; offloaded, it lies on the device
 * @param asked whether it is told on standard input what to do, and ends with that; otherwise it
 *     listens, and ends at SIGTERM
 */
record Program(List<String> command, @Nullable Path export, boolean asked) {
  Program {
    command = List.copyOf(command);
  }
}
