// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.channel.ServiceStatus;

/** A guest who asks a service what it does; as many at a time as the service allows. Any thread. */
public final class Asking implements AutoCloseable {
  private final Service service;
  private final Guest guest;
  private final boolean counted;
  private boolean closed;

  /**
   * @param counted it takes a place of those that are for everybody
   */
  Asking(Service service, Guest guest, boolean counted) {
    this.service = service;
    this.guest = guest;
    this.counted = counted;
  }

  /**
   * What there is, as {@link Service#status} says it: all of it, or what is the guest's own.
   *
   * @param all the guest may know of others
   */
  public ServiceStatus status(boolean all) {
    return all ? service.status() : service.statusOf(guest);
  }

  /** He asks no more. Repeatable. */
  @Override
  public void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
    }
    service.asksNoMore(guest, counted);
  }
}
