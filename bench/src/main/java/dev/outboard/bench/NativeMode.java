// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.Optional;

/** The program as it is: in a network namespace, with a veth pair to its client. */
final class NativeMode implements Mode {
  private final String word;

  /**
   * @param word its name: more than one if a workload starts its program in another way
   */
  NativeMode(String word) {
    this.word = word;
  }

  @Override
  public String name() {
    return word;
  }

  @Override
  public Optional<String> lack() {
    return Optional.empty();
  }

  @Override
  public Launch launch(Program program, Place place, boolean network) {
    return new Launch(
        Site.joined(place.site().inServer(network), program.command()), Site.SERVER_ADDRESS, null);
  }

  @Override
  public Side side(ProcessTree tree, ProcessTree.Node node) {
    return Side.PROGRAM;
  }
}
