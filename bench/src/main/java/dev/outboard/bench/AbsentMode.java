// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.Optional;

/**
 * A peer that is known by name but cannot be started here.
 *
 * @param name of it
 * @param why it cannot
 */
record AbsentMode(String name, String why) implements Mode {
  @Override
  public Optional<String> lack() {
    return Optional.of(why);
  }

  @Override
  public Launch launch(Program program, Place place, boolean network) {
    throw new IllegalStateException(name + " is not to be started");
  }

  @Override
  public Side side(ProcessTree tree, ProcessTree.Node node) {
    return Side.PROGRAM;
  }
}
