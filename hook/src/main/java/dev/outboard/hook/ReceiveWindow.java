// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.channel.PeekedReceives;
import java.util.ArrayDeque;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * What of one open file's stream was looked at and not received yet; {@link ReceiveAhead}'s, and
 * guarded by this object's monitor but for the lock.
 */
final class ReceiveWindow {
  final OpenFile file;

  /**
   * Held by whoever receives from here, or ends that: programs get bytes in their order, and the
   * device is told so in the same. Before the monitor; not by the link's reader.
   */
  final ReentrantLock reading = new ReentrantLock();

  /** The device looks at the file for this generation, or has until its end. */
  boolean on;

  int generation;

  /** The device has answered. */
  boolean begun;

  /** No more will come. */
  boolean ended;

  /** Nothing of what came can be relied on; 0 if it can. */
  int errno;

  /** Received by programs, which the device has not been told yet. */
  int untold;

  /**
   * What a process may take by itself from the start of what is here, which stays here until it
   * has.
   *
   * @param by where that is offered and taken
   */
  record Offer(PeekedReceives by, int bytes) {}

  /** Null if there is none. */
  @Nullable Offer offered;

  /** Calls that receive on the device, for which nothing may be looked at. */
  int calls;

  /** So many receives are to go by before the device is asked to look again. */
  int skip;

  /** How often it was asked in vain. */
  int vain;

  private final ArrayDeque<byte[]> parts = new ArrayDeque<>();
  private int headAt;
  private int bytes;

  /** Those who wait for something to come. */
  final WindowWaiters waiters = new WindowWaiters(this);

  ReceiveWindow(OpenFile file) {
    this.file = file;
  }

  /** How many bytes are here. */
  int bytes() {
    return bytes;
  }

  /** Starts anew; nothing is here. */
  void begin(int newGeneration) {
    on = true;
    generation = newGeneration;
    begun = false;
    ended = false;
    untold = 0;
  }

  /** Nothing is here any more. */
  void clear() {
    on = false;
    parts.clear();
    headAt = 0;
    bytes = 0;
  }

  void add(byte[] part) {
    parts.add(part);
    bytes += part.length;
  }

  /** A copy of the first bytes, at most so many. */
  byte[] first(long most) {
    byte[] some = new byte[(int) Math.min(most, bytes)];
    int at = 0;
    int from = headAt;
    for (byte[] part : parts) {
      if (at == some.length) {
        break;
      }
      int n = Math.min(part.length - from, some.length - at);
      System.arraycopy(part, from, some, at, n);
      at += n;
      from = 0;
    }
    return some;
  }

  /** Takes the first bytes away, which are here. */
  void drop(int count) {
    bytes -= count;
    headAt += count;
    for (byte[] head = parts.peek(); head != null && headAt >= head.length; head = parts.peek()) {
      headAt -= head.length;
      parts.remove();
    }
  }

  /** How many bytes the device is to be told of; whoever asks tells it. */
  int tell() {
    int count = on ? untold : 0;
    untold = 0;
    return count;
  }

  /** Whether whoever wants to receive has to wait. */
  boolean waits() {
    return on && bytes == 0 && !ended;
  }

  /** Whoever waits may look whether it is to go on. */
  void wake() {
    notifyAll();
    waiters.wake();
  }
}
