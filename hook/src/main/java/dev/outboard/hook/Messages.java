// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/** Lines for the user, each kind of them once. Any thread may call. */
final class Messages {
  private final Consumer<String> sink;
  private final Set<String> said = ConcurrentHashMap.newKeySet();

  Messages(Consumer<String> sink) {
    this.sink = sink;
  }

  /** Prints a line. */
  void say(String line) {
    sink.accept(line);
  }

  /** Prints a line, unless one of this kind was printed before. */
  void once(String kind, String line) {
    if (said.add(kind)) {
      sink.accept(line);
    }
  }

  /** Reports a bug of the product's own. */
  void bug(String where, Throwable t) {
    StringBuilder b = new StringBuilder("internal error in ").append(where).append(": ").append(t);
    StackTraceElement[] trace = t.getStackTrace();
    for (int i = 0; i < Math.min(12, trace.length); i++) {
      b.append("\n    at ").append(trace[i]);
    }
    once(b.toString(), b.toString());
  }
}
