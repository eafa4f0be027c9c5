// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a program runs under: nothing, outboard, or a peer that also stands between the two. */
interface Mode {
  /**
   * How it is started.
   *
   * @param command to be run, from this machine's own network
   * @param address where its client finds it
   * @param statistics which file {@code outboard run} writes at the end
   */
  record Launch(List<String> command, String address, @Nullable Path statistics) {
    public Launch {
      command = List.copyOf(command);
    }
  }

  /** A word, as in {@code --vs}. */
  String name();

  /** Why it cannot be used on this machine, in a sentence; empty if it can. */
  Optional<String> lack();

  /**
   * Puts it before a program.
   *
   * @param network whether clients reach the program; otherwise its loopback is enough
   */
  Launch launch(Program program, Place place, boolean network);

  /** Whose a process of it is. */
  Side side(ProcessTree tree, ProcessTree.Node node);
}
