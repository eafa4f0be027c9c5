// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.kernel.KernelException;
import dev.outboard.kernel.LinuxKernel;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** The whole path on the library kernel. */
class LibraryKernelBackendTest extends WholePathSuite {
  private static Kernel kernel;

  @BeforeAll
  static void start() throws KernelException, DeviceException {
    LibraryKernelBackend.Division division =
        LibraryKernelBackend.Division.of(new Limits(3, 256, 512, 4096));
    kernel =
        new LibraryKernelBackend(
            LinuxKernel.boot(
                LinuxKernel.Options.defaults().withMemory(256L << 20, division.userBytes())),
            division);
    NetworkSetup.base(kernel);
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
