// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;

/** Which kernel does a scenario's work. */
public enum Mode {
  /** The machine's own, with no hook: what the other two are judged by. */
  NATIVE,
  /** The library kernel, in a device process beside the program. */
  LIBRARY,
  /** The device process uses the kernel of its own machine. */
  HOST;

  /** Whether the program runs under {@code outboard run}. */
  public boolean offloaded() {
    return this != NATIVE;
  }

  /** The word of the command line: {@code --kernel library}. */
  public String word() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The modes asked for by {@code -Doutboard.modes=library,host}, native ones always among them and
   * first: a scenario must hold on plain Linux before it judges anything else.
   */
  static List<Mode> selected() {
    EnumSet<Mode> chosen = EnumSet.of(NATIVE);
    for (String word : System.getProperty("outboard.modes", "native,library,host").split(",", -1)) {
      chosen.add(valueOf(word.strip().toUpperCase(Locale.ROOT)));
    }
    return new ArrayList<>(chosen);
  }
}
