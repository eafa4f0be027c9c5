// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.List;

/** The modes that can be asked for. */
final class Modes {
  static final Mode NATIVE = new NativeMode("native");

  /** A program that has put itself under a seccomp filter which allows all. */
  static final Mode FILTERED = new NativeMode("filtered");

  static final Mode LIBRARY = new OutboardMode(OutboardMode.Kind.LIBRARY);
  static final Mode WITHOUT_OFFLOADS = new OutboardMode(OutboardMode.Kind.WITHOUT_OFFLOADS);

  private Modes() {}

  /** What {@code --vs} may name, all but the native run, which always takes part. */
  static List<Mode> peers() {
    List<Mode> all = new ArrayList<>();
    all.add(new OutboardMode(OutboardMode.Kind.HOST));
    all.add(new OutboardMode(OutboardMode.Kind.NOTIFIER));
    for (PeerMode.Kind kind : PeerMode.Kind.values()) {
      all.add(new PeerMode(kind));
    }
    all.add(
        new AbsentMode("uml", "not measured: it needs a root file system, which is not made here"));
    all.add(
        new AbsentMode(
            "proxychains", "not measured: it takes outgoing connections only, these are servers"));
    return List.copyOf(all);
  }

  /**
   * Native, outboard, and those of {@code --vs} in that order.
   *
   * @throws BenchException if a name is not known
   */
  static List<Mode> chosen(List<String> names) throws BenchException {
    List<Mode> modes = new ArrayList<>(List.of(NATIVE, LIBRARY));
    List<Mode> peers = peers();
    for (String name : names) {
      if (name.equals(NATIVE.name()) || name.equals(LIBRARY.name())) {
        continue;
      }
      List<Mode> found =
          name.equals("all") ? peers : peers.stream().filter(p -> p.name().equals(name)).toList();
      if (found.isEmpty()) {
        throw new BenchException(
            "--vs: '"
                + name
                + "' is not known; there are native, all, "
                + String.join(", ", peers.stream().map(Mode::name).toList()));
      }
      found.stream().filter(m -> !modes.contains(m)).forEach(modes::add);
    }
    return List.copyOf(modes);
  }
}
