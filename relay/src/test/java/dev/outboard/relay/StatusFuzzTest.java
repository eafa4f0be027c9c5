// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import org.junit.jupiter.api.Test;

/** The inputs that {@link StatusFuzz} starts from, and those that it has found. */
class StatusFuzzTest {
  @Test
  void answers() throws Exception {
    WireFuzzTest.replay(
        "StatusFuzzInputs/anyBytesAsAnAnswer", new StatusFuzz()::anyBytesAsAnAnswer);
  }

  @Test
  void questions() throws Exception {
    WireFuzzTest.replay(
        "StatusFuzzInputs/anyBytesAsQuestions", new StatusFuzz()::anyBytesAsQuestions);
  }
}
