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
    // Outboard explains a refusal on loopback, once (HttpTest); all else is the program's.
    trial.outcome(
        "errors", done.errors().lines().filter(l -> !l.startsWith("outboard: ")).toList());
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
