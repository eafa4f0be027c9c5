// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/**
 * {@code bpf(2)} by its bare calls, of the machine's kernel and of the library kernel. What only
 * one of them has is judged there alone: actions of {@code tc}, and what a kernel without an MMU
 * refuses.
 */
class BpfTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void mapsProgramsAndWhatNamesThem(Trial trial) {
    boolean device = trial.mode() == Mode.LIBRARY;
    Assumptions.assumeTrue(System.getProperty("user.name").equals("root"), "it takes CAP_BPF");
    Assumptions.assumeTrue(
        device || Files.exists(Path.of("/proc/sys/kernel/unprivileged_bpf_disabled")),
        "the machine's kernel has no bpf(2)");
    Finished done =
        trial
            .program(Programs.staticC("bpf"), device ? "device" : "machine")
            .with("--bpf=device")
            .run(LIMIT)
            .expectSuccess();
    List<String> expected =
        new ArrayList<>(
            List.of(
                "maps",
                "values of each processor",
                "batches",
                "a filter of a socket",
                "a group of sockets",
                "maps in maps, programs in maps",
                "XDP",
                "filters of tc",
                "errors",
                "lives"));
    if (device) {
      expected.add("what is refused");
    }
    assertThat(done.output().lines()).containsExactlyElementsOf(expected);
  }
}
