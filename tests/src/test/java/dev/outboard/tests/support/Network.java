// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The network of one trial. Natively and with {@code --kernel host} it is a network namespace, with
 * a veth pair when there is a link to the machine; with the library kernel it is the device's own,
 * with a TAP, or passt in such a namespace. The addresses are the same in every mode.
 */
final class Network implements AutoCloseable {
  private static final AtomicInteger COUNTER = new AtomicInteger();

  private final Mode mode;
  private final Link link;
  private final String name;
  private final String prefix;
  private final boolean namespace;

  private Network(Mode mode, Link link) {
    this.mode = mode;
    this.link = link;
    long pid = ProcessHandle.current().pid();
    int number = COUNTER.incrementAndGet();
    // At most 15 characters, and no two runs at one time share them or the prefix.
    this.name = "obt%x.%x".formatted(pid, number);
    long place = (pid * 61 + number) % (64 * 256);
    this.prefix = "10.%d.%d".formatted(128 + place / 256, place % 256);
    this.namespace = Machine.root() && (mode != Mode.LIBRARY || link == Link.NAMESPACE);
  }

  /** Makes what {@code mode} needs; all of it goes in {@link #close}. */
  static Network create(Mode mode, Link link) {
    Network n = new Network(mode, link);
    if (n.namespace) {
      // One command for each namespace: a process for each line costs more than what it does.
      List<String> here = new ArrayList<>(List.of("netns add " + n.name));
      List<String> there = new ArrayList<>(List.of("link set lo up"));
      if (link != Link.NONE) {
        here.add("link add %s type veth peer eth0 netns %s".formatted(n.name, n.name));
        here.add("addr add %s/24 dev %s".formatted(n.outside(), n.name));
        here.add("link set %s up".formatted(n.name));
        there.add("addr add %s/24 dev eth0".formatted(n.inside()));
        there.add("link set eth0 up");
        there.add("route add default via " + n.outside());
      }
      Machine.feed(String.join("\n", here), "ip", "-batch", "-");
      Machine.feed(String.join("\n", there), "ip", "-n", n.name, "-batch", "-");
    }
    return n;
  }

  /** The address of the scenario's programs on the link. */
  String inside() {
    return prefix + ".2";
  }

  /** The address of the machine on the link. */
  String outside() {
    return prefix + ".1";
  }

  /** The link's name on the machine. */
  String linkName() {
    return name;
  }

  /** The words that put a command on this network, before the command's own. */
  List<String> entering() {
    return namespace ? List.of("nsenter", "--net=/run/netns/" + name, "--") : List.of();
  }

  /** The options that give {@code outboard run} this network. */
  List<String> options() {
    if (mode != Mode.LIBRARY) {
      return List.of();
    }
    return switch (link) {
      case NONE -> List.of("--net", "none");
      case TO_MACHINE -> List.of("--net", "tap:name=%s,addr=%s/24".formatted(name, inside()));
      case NAMESPACE -> List.of();
    };
  }

  /** Whether the device's TAP is still there; it must go with the device. */
  boolean linkLeft() {
    return mode == Mode.LIBRARY && link == Link.TO_MACHINE && Machine.hasLink(name);
  }

  @Override
  public void close() {
    if (linkLeft()) {
      Machine.command("ip", "link", "del", name);
    }
    if (namespace) {
      Machine.command("ip", "netns", "del", name);
      // The veth goes with the namespace, which the kernel takes down in its own time.
      Eventually.require(
          Duration.ofSeconds(10), () -> name + " is still there", () -> !Machine.hasLink(name));
    }
  }
}
