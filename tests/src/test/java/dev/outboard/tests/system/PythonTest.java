// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/** Python programs whose output says all. */
class PythonTest {
  @Scenario
  void asyncioEchoWith200Clients(Trial trial) {
    same(trial, "asyncio_echo");
  }

  @Scenario
  void threads(Trial trial) {
    same(trial, "threads");
  }

  @Scenario
  void subprocesses(Trial trial) {
    same(trial, "subprocesses");
  }

  @Scenario(link = Link.TO_MACHINE)
  void interfaces(Trial trial) {
    same(trial, "interfaces");
  }

  private static void same(Trial trial, String script) {
    Finished done =
        trial
            .program(Programs.PYTHON, Programs.python(script))
            .run(Duration.ofSeconds(60))
            .expectSuccess();
    trial.outcome("output", done.output());
  }
}
