// SPDX-License-Identifier: MIT
package dev.outboard.hook;

/**
 * Serves the notifications of one or more system calls.
 *
 * <p>Called on a notifier thread. Ends every notification with exactly one answer. Calls {@link
 * Notification#willBlock} before anything that may take longer than some tens of microseconds. What
 * it throws is a bug: it is reported, and the call ends with EIO.
 */
@FunctionalInterface
interface Handler {
  void handle(Notification n);
}
