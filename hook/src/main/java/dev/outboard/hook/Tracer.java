// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.TraceFormatter;
import java.util.function.Consumer;

/**
 * Writes a line for each trapped call, right before it is answered: who calls, who executes it
 * ({@code device}, {@code host}, or {@code hook} for what neither had to), and the call in strace's
 * style. What the host's kernel will answer is not known.
 */
final class Tracer implements Notification.Observer {
  private final Consumer<String> sink;
  private final TraceFormatter formatter = new TraceFormatter();

  Tracer(Consumer<String> sink) {
    this.sink = sink;
  }

  @Override
  public synchronized void answering(Notification n, Notification.Answer outcome, long result) {
    Row row = n.row();
    boolean host = outcome == Notification.Answer.HOST;
    String call =
        host
            ? formatter.formatContinued(row, n.args(), n.memory())
            : formatter.format(row, n.args(), n.memory(), result);
    String where = host ? "host  " : n.deviceCalls() > 0 ? "device" : "hook  ";
    sink.accept(n.tid() + " " + where + " " + call);
  }
}
