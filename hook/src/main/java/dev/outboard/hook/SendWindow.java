// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.CallSlot;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/** What of one open file is on its way; {@link SendAhead}'s, and guarded by it but for the lock. */
final class SendWindow {
  final OpenFile file;

  /** Held by whoever puts bytes on their way, so that they leave in the order of their grants. */
  final ReentrantLock sending = new ReentrantLock();

  /** By which they go; null while none are on their way. */
  @Nullable CallSlot slot;

  /** The file's, as it was last seen. */
  @Nullable Placeholder placeholder;

  /** On their way. */
  int bytes;

  /** So many bytes were put on their way in all, and of so many it is known that they arrived. */
  long granted;

  long arrived;

  int frames;

  /** Bytes of it were thrown away. */
  boolean failed;

  /** TCP_CORK is set, as far as that went ahead. */
  boolean corked;

  /** There is no room, and there was not since. */
  boolean full;

  /** That is to be so until nothing is on its way. */
  boolean untilEmpty;

  /** Pollers were told. */
  boolean shown;

  /** Those who wait until it is not full. */
  final WindowWaiters waiters;

  /**
   * @param monitor what guards it
   */
  SendWindow(OpenFile file, Object monitor) {
    this.file = file;
    this.waiters = new WindowWaiters(monitor);
  }
}
