// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

/**
 * The driver broke the rules of a queue. The device stops; the message says which rule, with the
 * clause of the virtio 1.3 specification that states it.
 */
final class RingViolation extends Exception {
  private static final long serialVersionUID = 1L;

  RingViolation(String message) {
    super(message);
  }
}
