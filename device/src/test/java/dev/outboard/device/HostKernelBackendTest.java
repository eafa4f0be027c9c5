// SPDX-License-Identifier: MIT
package dev.outboard.device;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** The whole path on this machine's own kernel. */
class HostKernelBackendTest extends WholePathSuite {
  private static Kernel kernel;

  @BeforeAll
  static void start() throws DeviceException {
    kernel = new HostKernelBackend();
  }

  @AfterAll
  static void stop() {
    kernel.close();
  }

  @Override
  Kernel kernel() {
    return kernel;
  }
}
