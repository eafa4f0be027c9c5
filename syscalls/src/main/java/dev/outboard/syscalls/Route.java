// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/** Where a call runs, and so whether the filter traps it. */
public enum Route {
  /**
   * Never trapped: the host's kernel runs it. On a device fd it meets the placeholder, which is a
   * socket too and so answers as the device's socket would (ESPIPE, ENODEV, EINVAL …).
   */
  HOST,
  /** Trapped; runs on the device if {@link Row#fdIndex()} names a device fd, else is continued. */
  FD,
  /** Trapped; runs on the device if the socket's family is the device's. */
  FAMILY,
  /** Trapped, and run on the device, if the session asks for it; else the host's kernel runs it. */
  REQUEST,
  /** Trapped; the path decides. */
  PATH,
  /**
   * Trapped; the hook takes note of it or waits with it, and as a rule continues it. A few it
   * answers by {@link Row#errno()}.
   */
  PROCESS,
  /** Never runs: the filter itself answers {@link Row#errno()}. */
  REFUSED
}
