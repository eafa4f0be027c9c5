// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import org.junit.jupiter.api.Test;

/** The inputs that {@link RingFuzz} starts from, and those that it has found. */
class RingFuzzTest {
  @Test
  void rings() throws Exception {
    FuzzInputs.replay(RingFuzz.class, "anyRings", new RingFuzz()::anyRings);
  }
}
