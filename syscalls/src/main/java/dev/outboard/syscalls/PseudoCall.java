// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

/**
 * Requests of the hook to the device that are no system calls, but travel in call slots like them.
 *
 * <p>A readiness sample is 16 bytes, little-endian, at offset {@code 16 n} of the call's data:
 *
 * <pre>
 *   0        4          8                16
 *   +--------+----------+----------------+
 *   | handle | pollMask |     stamp      |
 *   +--------+----------+----------------+
 * </pre>
 */
public final class PseudoCall {
  /** Lowest number of a pseudo call; system call numbers are below it. */
  public static final int FIRST = 0x10000;

  /** {@code args[0]} handle, {@code args[1]} 1 to watch its readiness, 0 to stop. */
  public static final int WATCH = FIRST;

  /** Samples of all watched handles that changed, in data; the result is how many. */
  public static final int SYNC = FIRST + 1;

  /** {@code args[0]} handle; the result is its poll mask now. */
  public static final int SAMPLE = FIRST + 2;

  /** Does nothing; the result is 0. */
  public static final int PING = FIRST + 3;

  public static final int SAMPLE_BYTES = 16;
  public static final int SAMPLE_HANDLE = 0;
  public static final int SAMPLE_MASK = 4;
  public static final int SAMPLE_STAMP = 8;

  private PseudoCall() {}

  /** Whether {@code number} is a pseudo call's, known or not. */
  public static boolean isPseudo(int number) {
    return number >= FIRST;
  }

  /** Its name, for traces and statistics. */
  public static String name(int number) {
    return switch (number) {
      case WATCH -> "watch";
      case SYNC -> "sync";
      case SAMPLE -> "sample";
      case PING -> "ping";
      default -> "pseudo_" + Integer.toHexString(number);
    };
  }
}
