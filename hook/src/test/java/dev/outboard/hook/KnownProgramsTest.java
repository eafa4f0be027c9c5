// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class KnownProgramsTest {
  private final KnownPrograms programs = new KnownPrograms();

  @Test
  void knowsWhatWasAddedUntilItIsRemoved() {
    programs.add(17);
    assertThat(programs.has(17)).isTrue();
    assertThat(programs.has(18)).isFalse();
    programs.remove(17);
    assertThat(programs.has(17)).isFalse();
  }

  @Test
  void ofTwoThatFallTogetherTheLaterOneIsKnown() {
    programs.add(17);
    programs.add(17 + 1024);
    assertThat(programs.has(17)).isFalse();
    assertThat(programs.has(17 + 1024)).isTrue();
    programs.remove(17);
    assertThat(programs.has(17 + 1024)).isTrue();
  }

  @Test
  void noProgramIsNeverKnown() {
    programs.add(KnownPrograms.NONE);
    assertThat(programs.has(KnownPrograms.NONE)).isFalse();
  }
}
