// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/** How well a call is supported for a program that is offloaded. */
public enum Support {
  /** As natively, on device fds too. */
  SUPPORTED,
  /** As natively but for what the row's note says. */
  PARTIAL,
  /** The host's kernel serves it, as if there were no device. */
  HOST,
  /** Refused with the row's errno; its note says why. */
  REFUSED
}
