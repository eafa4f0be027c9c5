// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** What a service gives up, and for which kernels it has kept enough. */
class ConfinementTest {
  private static final Confinement.Needs LEAST = new Confinement.Needs(false, false, false);
  private static final Confinement.Needs PASST = new Confinement.Needs(false, true, false);
  private static final Confinement.Needs XDP = new Confinement.Needs(false, false, true);
  private static final Confinement.Needs HOST = new Confinement.Needs(true, false, false);
  private static final List<Confinement.Needs> ALL = List.of(LEAST, PASST, XDP, HOST);

  @Test
  void whatIsNeededIsKept() {
    assertThat(Confinement.refused(LEAST))
        .contains("ptrace", "mount", "pivot_root", "bpf", "setns", "userfaultfd");
    assertThat(Confinement.refused(PASST))
        .contains("ptrace", "bpf", "setns", "fsmount")
        .doesNotContain("mount", "umount2", "pivot_root");
    assertThat(Confinement.refused(XDP)).contains("ptrace", "mount").doesNotContain("bpf");
    assertThat(Confinement.refused(HOST)).contains("ptrace").doesNotContain("setns", "mount");
  }

  /** With the machine's own kernel a device makes programs' calls itself. */
  @Test
  void noCallOfProgramsIsRefusedWhereTheMachinesKernelServesThem() {
    for (String name : Confinement.refused(HOST)) {
      Row row = Objects.requireNonNull(SyscallTable.byName(name), name);
      assertThat(row.onDevice()).as(name).isFalse();
    }
  }

  /** Whatever is within what was kept has nothing refused that it needs. */
  @Test
  void aReloadMayAskForLessAndNotForMore() {
    for (Confinement.Needs kept : ALL) {
      for (Confinement.Needs asked : ALL) {
        assertThat(asked.within(kept))
            .as("%s within %s", asked, kept)
            .isEqualTo(Confinement.refused(asked).containsAll(Confinement.refused(kept)));
      }
    }
  }
}
