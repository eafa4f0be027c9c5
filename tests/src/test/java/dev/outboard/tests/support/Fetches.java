// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.util.function.UnaryOperator;

/** Clients of HTTP that get a file from a server beside them. */
public final class Fetches {
  private Fetches() {}

  /**
   * Python's server and a client over loopback, both of them the trial's, and 3 MiB that come
   * whole.
   *
   * @param client what fetches {@code $url} into the file {@code copy}; what it says is the outcome
   * @param how what else is said of the command
   * @param limit how long it all may take
   */
  public static void overLoopback(
      Trial trial, String client, UnaryOperator<Command> how, Duration limit) {
    Path data = trial.file("data", 3 << 20);
    Command command =
        trial.shell(
            """
            %1$s -u -m http.server --bind 127.0.0.1 %2$d >log 2>&1 & server=$!
            url=http://127.0.0.1:%2$d/data
            until grep -q Serving log 2>/dev/null; do sleep 0.02; done
            %3$s; status=$?
            kill $server; wait $server; echo " $?"
            exit $status
            """
                .formatted(Programs.PYTHON, trial.port(), client));
    Finished done = how.apply(command).run(limit).expectSuccess();
    assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
        .isEqualTo(TestFiles.checksum(data));
    trial.outcome("output", done.output());
  }
}
