// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A peer: another program that stands between a program and its kernel, or its network. What can be
 * measured with it differs; what each of them does is in the comments.
 */
final class PeerMode implements Mode {
  /** Those that are known. */
  enum Kind {
    /** A ptrace(2) tracer that looks at calls; the kernel stays the machine's. */
    PROOT("proot", "proot", "proot", Side.HOOK),
    /** A namespace whose connections a process splices into the outer one's. */
    PASTA("pasta", "pasta", "passt", Side.DEVICE),
    /** A kernel in Go; its sandbox is the host side's, as it runs the program too. */
    GVISOR("gvisor", "runsc", "runsc", Side.HOOK);

    private final String word;
    private final String program;
    private final String debianPackage;
    private final Side side;

    Kind(String word, String program, String debianPackage, Side side) {
      this.word = word;
      this.program = program;
      this.debianPackage = debianPackage;
      this.side = side;
    }

    private Tool tool() {
      return new Tool(program, debianPackage);
    }
  }

  private final Kind kind;

  PeerMode(Kind kind) {
    this.kind = kind;
  }

  @Override
  public String name() {
    return kind.word;
  }

  @Override
  public Optional<String> lack() {
    // gVisor's own set-up of a network calls it.
    return Tool.lacking(
        kind == Kind.GVISOR
            ? List.of(kind.tool(), new Tool("iptables", "iptables"))
            : List.of(kind.tool()));
  }

  @Override
  public Launch launch(Program program, Place place, boolean network) {
    Site site = place.site();
    List<String> command =
        new ArrayList<>(kind == Kind.GVISOR ? site.inClient(network) : site.inServer(network));
    command.add(kind.tool().path());
    String address = Site.SERVER_ADDRESS;
    switch (kind) {
      case PROOT -> {}
      case PASTA ->
          command.addAll(
              network
                  // As nobody it may not enter the namespace that root has made.
                  ? List.of("--runas", "0", "--config-net", "-q", "-t", "" + place.port(), "--")
                  : List.of("--runas", "0", "--config-net", "-q", "--"));
      case GVISOR -> {
        // Without -ip, each sandbox has the same address.
        address = place.address();
        command.addAll(List.of("--ignore-cgroups", "--platform=ptrace"));
        command.add(network ? "--network=sandbox" : "--network=none");
        command.add("do");
        if (network) {
          command.add("-ip=" + address);
        }
        command.add("--");
      }
    }
    command.addAll(program.command());
    return new Launch(command, address, null);
  }

  @Override
  public Side side(ProcessTree tree, ProcessTree.Node node) {
    return kind == Kind.GVISOR || tree.isRoot(node) ? kind.side : Side.PROGRAM;
  }
}
