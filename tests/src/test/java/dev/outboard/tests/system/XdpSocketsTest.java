// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;

/**
 * XDP sockets by their bare calls on a veth pair, of the machine's kernel and of the library
 * kernel: the same frames at the same addresses, the same counts, the same errors.
 */
class XdpSocketsTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void framesThatComeAndGo(Trial trial) {
    Assumptions.assumeTrue(
        System.getProperty("user.name").equals("root"), "it takes CAP_NET_ADMIN");
    Finished done =
        trial
            .program(Programs.staticC("xdp"))
            .with("--bpf=device", "--memory=64M") // too little for what would be left behind
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "errors", "frames that come", "frames that go", "frames that come back", "lives");
  }

  /** Debian's library, with the program that it loads into the kernel. */
  @Tag("judges")
  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void framesByLibxdp(Trial trial) {
    Assumptions.assumeTrue(
        System.getProperty("user.name").equals("root"), "it takes CAP_NET_ADMIN");
    Finished done =
        trial
            .program(Programs.PYTHON, Programs.python("libxdp_frames"))
            .with("--bpf=device")
            .environment("LIBXDP_SKIP_DISPATCHER", "1")
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }
}
