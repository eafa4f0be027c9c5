// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import org.junit.jupiter.api.Tag;

/** Languages whose runtimes make system calls in ways of their own: servers and clients in one. */
@Tag("judges")
class RuntimesTest {
  private static final Duration LIMIT = Duration.ofMinutes(1);

  private static void judge(Trial trial, Command program) {
    trial.outcome("output", program.run(LIMIT).expectSuccess().output());
  }

  @Scenario(trace = false)
  void goLinkedWithLibc(Trial trial) {
    judge(trial, trial.program(Programs.go("web"), "."));
  }

  /** It makes its system calls itself, and threads with {@code clone}. */
  @Scenario(trace = false)
  void goLinkedWithNothing(Trial trial) {
    judge(trial, trial.program(Programs.staticGo("web"), "."));
  }

  @Scenario(trace = false)
  void nodesHttp(Trial trial) {
    Programs.require("node");
    judge(trial, trial.program("node", Programs.data("web.js")));
  }

  @Scenario(trace = false)
  void nodesWorkersGetConnections(Trial trial) {
    Programs.require("node");
    judge(trial, trial.program("node", Programs.data("cluster.js")));
  }

  @Scenario(trace = false)
  void nodesWorkersShareAListener(Trial trial) {
    Programs.require("node");
    judge(trial, trial.program("node", Programs.data("cluster.js"), "shared"));
  }

  @Scenario(trace = false)
  void javasChannelsAndVirtualThreads(Trial trial) {
    judge(
        trial,
        trial.program(
            Programs.JAVA,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            Programs.data("NioAndVirtual.java")));
  }
}
