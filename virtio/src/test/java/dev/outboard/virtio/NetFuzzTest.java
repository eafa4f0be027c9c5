// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The inputs that {@link NetFuzz} starts from, and those that it has found. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class NetFuzzTest {
  @Test
  void framesOfTheDriver() throws Exception {
    try (NetFuzz fuzz = new NetFuzz()) {
      FuzzInputs.replay(NetFuzz.class, "anyFrameOfTheDriver", fuzz::anyFrameOfTheDriver);
    }
  }

  @Test
  void buffersForFrames() throws Exception {
    try (NetFuzz fuzz = new NetFuzz()) {
      FuzzInputs.replay(NetFuzz.class, "anyBuffersForFrames", fuzz::anyBuffersForFrames);
    }
  }
}
