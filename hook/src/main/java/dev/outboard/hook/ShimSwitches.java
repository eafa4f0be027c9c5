// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/** What the shim does, each on a switch of its own: {@code -Doutboard.shim.NAME=false}. */
final class ShimSwitches {
  /** {@code epoll_ctl} of sets that are the process's own: ADR 0041. */
  static final boolean SETS = isOn("sets");

  /** Looks into such sets, {@link KnownSets}: ADR 0052. */
  static final boolean WAITS = isOn("waits");

  /** {@code poll} and {@code select}: ADR 0041. */
  static final boolean LOOKS = isOn("looks");

  /** {@code sendfile}: ADR 0041. */
  static final boolean FILES = isOn("files");

  /** Ends of files that were only read: ADR 0076. */
  static final boolean ENDS = isOn("ends");

  /** Questions about sockets and files: ADRs 0049 and 0054. */
  static final boolean QUESTIONS = isOn("questions");

  /** Sends that nobody waits for: ADR 0046. */
  static final boolean AHEAD = isOn("ahead");

  /** Options that nobody waits for, between sends: ADR 0070. */
  static final boolean OPTIONS = isOn("options");

  /** Looks at what may be received next: ADR 0051. */
  static final boolean PEEKS = isOn("peeks");

  /** Receives that leave in the socket what the process has not taken: ADR 0067. */
  static final boolean TAKES = isOn("takes");

  /** Slots that the hook serves, where the device is at the other end of a link: ADR 0073. */
  static final boolean NEAR = isOn("near");

  /** Answers that such a slot's thread need not be woken for: ADR 0081. */
  static final boolean ANSWERS = isOn("answers");

  /** {@code sendfile} from files of the device, where that is at the other end: ADR 0081. */
  static final boolean FAR_FILES = isOn("farfiles");

  /** Paths of the host: ADR 0055. */
  static final boolean PATHS = isOn("paths");

  /** Finding out that a descriptor is the host's: ADR 0057. */
  static final boolean LEARNS = isOn("learns");

  /** Handlers of signals: ADR 0057. */
  static final boolean HANDLERS = isOn("handlers");

  /** Places that are known from other programs: ADR 0056. */
  static final boolean KNOWN = isOn("known");

  /** The shim at a known program's first trapped call: ADR 0059. */
  static final boolean SOON = isOn("soon");

  private ShimSwitches() {}

  private static boolean isOn(String name) {
    return Boolean.parseBoolean(System.getProperty("outboard.shim." + name, "true"));
  }
}
