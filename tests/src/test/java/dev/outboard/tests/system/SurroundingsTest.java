// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.nio.file.Path;
import java.time.Duration;

/** What a program finds around it, and what is passed on when it ends: as without outboard. */
@HostKernelByJudges
class SurroundingsTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @Scenario
  void environmentLimitsSignalsAndDescriptors(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                env | grep -v -e ^_= -e ^PPID | sort
                ulimit -a
                umask; pwd; nice
                grep -e "^Sig[^Q]" -e ^Cap -e ^NoNewPrivs -e ^Uid -e ^Groups /proc/self/status
                ls /proc/$$/fd >numbers # no pipe, of which the shell may still have an end
                grep -v -x 255 numbers
                cat /proc/self/oom_score_adj /proc/self/personality
                """)
            .environment("WITH_SPACES", "two words")
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("surroundings", done.output());
    trial.outcome("errors", done.errors());
  }

  @Scenario
  void inheritedDescriptorsIgnoredSignalsAndTunables(Trial trial) {
    Finished done =
        trial
            .program(
                "sh",
                "-c",
                "cat <&7; grep -e SigIgn -e SigBlk /proc/self/status; ls /proc/self/fd | head -9; ls -l /proc/self/fd >&2; printenv GLIBC_TUNABLES")
            .environment("GLIBC_TUNABLES", "glibc.malloc.tcache_count=5") // our JVMs have their own
            .under("sh", "-c", "trap '' HUP USR1; exec 7<data; exec \"$@\"", "sh")
            .input(trial.file("data", "seven\n"))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario
  void standardStreams(Trial trial) {
    Path data = trial.file("data", 3 << 20);
    Finished done =
        trial.shell("tee copy | wc -c; echo on errors >&2").input(data).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    trial.outcome("errors", done.errors());
    assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
        .isEqualTo(TestFiles.checksum(data));
  }

  @Scenario
  void closedStandardStreams(Trial trial) {
    Finished done =
        trial
            .program("sh", "-c", "ls -l /proc/self/fd | wc -l >count; exit 5")
            .under("sh", "-c", "exec \"$@\" <&- 2>&-", "sh")
            .run(LIMIT);
    trial.outcome("status", done.status());
  }

  /** The device has no part in them. */
  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void exitStatuses(Trial trial) {
    for (String script :
        new String[] {"exit 7", "exit 255", "kill -TERM $$", "kill -KILL $$", "kill -SEGV $$"}) {
      trial.outcome(script, trial.shell("ulimit -c 0; " + script).run(LIMIT).status());
    }
  }
}
