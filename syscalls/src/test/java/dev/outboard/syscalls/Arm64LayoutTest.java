// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Architecture;
import org.junit.jupiter.api.BeforeAll;

/**
 * The same sizes, offsets and constants against the compiler and the headers of arm64, where this
 * machine has them ({@code scripts/install-packages arm64}): nothing differs but what {@link
 * Architecture} turns.
 */
class Arm64LayoutTest extends LayoutTest {
  @Override
  Architecture machine() {
    return Architecture.ARM64;
  }

  @BeforeAll
  static void compilerForIt() {
    assumeTrue(CProbe.has(Architecture.ARM64), "no compiler for arm64, or no qemu-user");
  }
}
