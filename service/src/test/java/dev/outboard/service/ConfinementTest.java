// SPDX-License-Identifier: MIT
package dev.outboard.service;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.posix.Capabilities;
import dev.outboard.posix.Landlock;
import dev.outboard.posix.Restriction;
import dev.outboard.syscalls.Row;
import dev.outboard.syscalls.SyscallTable;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** What a service gives up, and for which kernels it has kept enough. */
class ConfinementTest {
  private static final Confinement.Needs LEAST = needs(false, false, false);
  private static final Confinement.Needs PASST = needs(false, true, false);
  private static final Confinement.Needs XDP = needs(false, false, true);
  private static final Confinement.Needs HOST = needs(true, false, false);
  private static final List<Confinement.Needs> ALL = List.of(LEAST, PASST, XDP, HOST);

  private static Confinement.Needs needs(boolean hostKernel, boolean passt, boolean bpf) {
    return new Confinement.Needs(hostKernel, passt, bpf, 0, List.of());
  }

  private static Confinement.Needs needs(long capabilities, Confinement.Place... places) {
    return new Confinement.Needs(false, false, false, capabilities, List.of(places));
  }

  private static Confinement.Place place(String path, boolean writable) {
    return new Confinement.Place(Path.of(path), writable);
  }

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
        assertThat(asked.within(kept, true, true))
            .as("%s within %s", asked, kept)
            .isEqualTo(Confinement.refused(asked).containsAll(Confinement.refused(kept)));
      }
    }
  }

  @Test
  void aReloadHasNoCapabilityThatWasGivenUp() {
    Confinement.Needs kept = needs(Capabilities.SETUID | Capabilities.SETGID);
    assertThat(needs(Capabilities.SETUID).within(kept, true, true)).isTrue();
    assertThat(needs(Capabilities.NET_ADMIN).within(kept, true, true)).isFalse();
    // A service that is no superuser's has had none, and lacks none.
    assertThat(needs(Capabilities.NET_ADMIN).within(kept, false, true)).isTrue();
  }

  @Test
  void aReloadHasNoFileThatWasGivenUp() {
    Confinement.Needs kept = needs(0, place("/srv", true), place("/images/a", false));
    assertThat(needs(0, place("/srv/data", true)).within(kept, true, true)).isTrue();
    assertThat(needs(0, place("/srv", false)).within(kept, true, true)).isTrue();
    assertThat(needs(0, place("/images/a", false)).within(kept, true, true)).isTrue();
    assertThat(needs(0, place("/images/a", true)).within(kept, true, true)).isFalse();
    assertThat(needs(0, place("/images", false)).within(kept, true, true)).isFalse();
    assertThat(needs(0, place("/srv2", false)).within(kept, true, true)).isFalse();
    // Where files are not confined, none was given up.
    assertThat(needs(0, place("/srv2", false)).within(kept, true, false)).isTrue();
  }

  /** Who is bound by Landlock may not mount, which passt does first of all. */
  @Test
  void filesAreConfinedWhereNothingIsMounted() {
    assertThat(LEAST.restriction(Landlock.nothing()).files()).isNotNull();
    assertThat(PASST.restriction(Landlock.nothing()).files()).isNull();
    assertThat(HOST.restriction(Landlock.nothing())).isEqualTo(Restriction.NONE);
    assertThat(HOST.ofService(Landlock.nothing(), 0)).isEqualTo(Restriction.NONE);
  }
}
