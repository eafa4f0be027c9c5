// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.syscalls.Route;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import org.jspecify.annotations.Nullable;

/**
 * Who serves which row: a handler registered for the row by name, else the one of its route.
 *
 * <p>Filled before the first notification, read-only afterwards.
 */
final class Handlers {
  /** Numbers of x86-64 end well below; larger ones cannot trap. */
  private static final int MAX_NUMBER = 1024;

  private final @Nullable Row[] rows = new @Nullable Row[MAX_NUMBER];
  private final @Nullable Handler[] byNumber = new @Nullable Handler[MAX_NUMBER];

  Handlers() {
    for (Row r : SyscallTable.rows()) {
      if (r.x86() >= 0 && r.x86() < MAX_NUMBER) {
        rows[r.x86()] = r;
      }
    }
  }

  /** Lets {@code h} serve the rows named. */
  void register(Handler h, String... names) {
    for (String name : names) {
      Row row = find(name);
      if (byNumber[row.x86()] != null) {
        throw new IllegalStateException(name + " has a handler already");
      }
      byNumber[row.x86()] = h;
    }
  }

  /** Lets {@code h} serve all trapped rows of a route that have no handler yet. */
  void registerRest(Handler h, Route route) {
    for (Row r : rows) {
      if (r != null && r.trapped() && r.route() == route && byNumber[r.x86()] == null) {
        byNumber[r.x86()] = h;
      }
    }
  }

  /** Throws if a trapped row would find no handler. */
  void checkComplete() {
    for (Row r : rows) {
      if (r != null && r.trapped() && byNumber[r.x86()] == null) {
        throw new IllegalStateException("nobody serves " + r.name());
      }
    }
  }

  @Nullable Row row(int nr) {
    return nr >= 0 && nr < MAX_NUMBER ? rows[nr] : null;
  }

  @Nullable Handler handler(int nr) {
    return nr >= 0 && nr < MAX_NUMBER ? byNumber[nr] : null;
  }

  private Row find(String name) {
    for (Row r : rows) {
      if (r != null && r.name().equals(name)) {
        return r;
      }
    }
    throw new IllegalArgumentException("no row " + name);
  }
}
