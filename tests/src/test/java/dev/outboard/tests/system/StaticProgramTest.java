// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/** A program that no loader touches: what it does with sockets, descriptors and children. */
class StaticProgramTest {
  @Scenario
  void whatProgramsDoEveryDay(Trial trial) {
    Finished done = trial.program(Programs.staticC("everyday")).run(Duration.ofSeconds(60));
    // It is refused on purpose, which the hook explains: HttpTest looks at that.
    trial.outcome(
        "errors", done.errors().replaceAll("(?m)^outboard: A connection to 127.*\\R", ""));
    trial.outcome("output", done.output());
    done.expectSuccess();
  }

  @Scenario
  void pointersThatFault(Trial trial) {
    Finished done = trial.program(Programs.staticC("faults")).run(Duration.ofSeconds(60));
    trial.outcome("output", done.output());
    done.expectSuccess();
  }
}
