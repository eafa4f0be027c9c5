// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** Calls that move bytes from one descriptor to another, whichever kernel has which. */
class TransfersTest {
  private static final Duration LIMIT = Duration.ofSeconds(90);

  @Scenario
  void inAllDirections(Trial trial) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    Path beside = Files.createDirectory(trial.directory().resolve("beside"));
    Command command =
        trial
            .program(Programs.c("transfers"), share.toString(), beside.toString())
            .withDirectoryOfDevice(share);
    Finished done = command.run(LIMIT);
    trial.prints(done);
  }

  /** Over loopback, where a kernel copies, too. */
  @Scenario
  void sendsWithoutACopyAreToldOf(Trial trial) {
    Finished done = trial.program(Programs.staticC("zerocopy")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }
}
