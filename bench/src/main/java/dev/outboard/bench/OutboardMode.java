// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** {@code outboard run}, started as a user starts it. */
final class OutboardMode implements Mode {
  /** What carries the program's calls out. */
  enum Kind {
    /** The library kernel, behind a TAP in the client's namespace. */
    LIBRARY("outboard"),
    /** The same, with frames as a wire would carry them. */
    WITHOUT_OFFLOADS("outboard offload=off"),
    /** The library kernel again, all of whose calls trap. */
    NOTIFIER("notifier"),
    /** The kernel of this machine, in the namespace of the native run. */
    HOST("host");

    private final String word;

    Kind(String word) {
      this.word = word;
    }
  }

  private static final String JVM = "dev.outboard.cli.Main ";

  private final Kind kind;

  OutboardMode(Kind kind) {
    this.kind = kind;
  }

  @Override
  public String name() {
    return kind.word;
  }

  @Override
  public Optional<String> lack() {
    return Optional.empty();
  }

  @Override
  public Launch launch(Program program, Place place, boolean network) {
    Site site = place.site();
    boolean host = kind == Kind.HOST;
    List<String> command = new ArrayList<>(host ? site.inServer(network) : site.inClient(network));
    command.add(site.launcher().toString());
    command.add("run");
    command.add("--stats=" + place.statistics());
    if (kind == Kind.NOTIFIER) {
      command.add("--hook=notifier");
    }
    if (host) {
      command.add("--kernel=host");
    } else if (network) {
      command.add(
          "--net=tap:name=ob"
              + place.number()
              + ",addr="
              + place.address()
              + "/24"
              + (kind == Kind.WITHOUT_OFFLOADS ? ",offload=off" : ""));
    } else {
      command.add("--net=none");
    }
    Path export = program.export();
    if (export != null) {
      command.add("--export=" + export + ":" + export + ":ro");
    }
    command.add("--");
    command.addAll(program.command());
    return new Launch(command, host ? Site.SERVER_ADDRESS : place.address(), place.statistics());
  }

  @Override
  public Side side(ProcessTree tree, ProcessTree.Node node) {
    return sideOf(tree, node);
  }

  /**
   * The front and what it starts beside the hook belong to the hook; below the hook are the device,
   * with what that starts, and the program.
   */
  static Side sideOf(ProcessTree tree, ProcessTree.Node node) {
    ProcessTree.Node parent = tree.parent(node);
    if (parent == null) {
      return Side.HOOK;
    }
    if (tree.isRoot(parent)) {
      // The hook, or the witness of signals.
      return Side.HOOK;
    }
    ProcessTree.Node grandparent = tree.parent(parent);
    if (grandparent != null && tree.isRoot(grandparent)) {
      return node.command().contains(JVM + "device ") ? Side.DEVICE : Side.PROGRAM;
    }
    return sideOf(tree, parent);
  }
}
