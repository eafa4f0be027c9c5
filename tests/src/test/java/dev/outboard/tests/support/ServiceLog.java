// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.util.List;

/** What a service says on its standard error. */
public final class ServiceLog {
  private static final String KEEPS =
      "outboard: the service keeps CAP_DAC_OVERRIDE, without which it has no /sys/fs/";

  private ServiceLog() {}

  /**
   * Whether it has to keep a capability, and says so: where its control groups are made at the root
   * of a hierarchy, as in a container.
   */
  public static boolean keepsMore(Running service) {
    return service.errors().contains(KEEPS);
  }

  /** Its lines so far, but for the one that depends on the machine. */
  public static List<String> lines(Running service) {
    return service.errors().lines().filter(line -> !line.startsWith(KEEPS)).toList();
  }
}
