// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ProgramsTest {
  @Test
  void aJudgeThatIsNotInstalledIsAFailure() {
    Programs.require("sh");
    assertThatThrownBy(() -> Programs.require("sh", "no-such-program"))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("[no-such-program]")
        .hasMessageContaining("scripts/install-packages judges");
  }
}
