// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/** What a call's result means when it is not {@code -errno}. */
public enum ResultKind {
  /** Zero: it worked. */
  ZERO,
  /** How many bytes were moved. */
  BYTES,
  /** A count of something other than bytes. */
  COUNT,
  /** A new descriptor. */
  FD,
  /** A process, thread, group or session id. */
  PID,
  /** An address, printed in hexadecimal. */
  ADDRESS,
  /** A plain number. */
  VALUE,
  /** The call does not return. */
  NEVER
}
