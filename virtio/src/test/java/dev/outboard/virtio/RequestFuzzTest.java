// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import org.junit.jupiter.api.Test;

/** The inputs that {@link RequestFuzz} starts from, and those that it has found. */
class RequestFuzzTest {
  @Test
  void requestsToADisk() throws Exception {
    FuzzInputs.replay(RequestFuzz.class, "anyRequestToADisk", new RequestFuzz()::anyRequestToADisk);
  }

  @Test
  void requestsToADirectory() throws Exception {
    FuzzInputs.replay(
        RequestFuzz.class, "anyRequestToADirectory", new RequestFuzz()::anyRequestToADirectory);
  }
}
