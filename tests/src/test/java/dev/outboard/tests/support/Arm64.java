// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/**
 * What an arm64 device needs on this machine, where qemu-user runs it: {@code
 * docs/architectures.md}. For {@code -Parm64}.
 */
public final class Arm64 {
  /** Debian 12's emulator: the one that can have larger pages. */
  public static final String QEMU = "qemu-aarch64-static";

  /**
   * The variable by which {@code scripts/arm64-device} knows the size of pages, in bytes; with any
   * size it takes {@link #QEMU}.
   */
  public static final String PAGES = "OUTBOARD_ARM64_PAGES";

  /** The compiler that makes programs, and the library kernel, for arm64. */
  public static final String COMPILER = "aarch64-linux-gnu-gcc";

  /** Minutes, where one processor has to compile the kernel, and is not alone. */
  private static final Duration BUILD = Duration.ofMinutes(60);

  private Arm64() {}

  /**
   * Skips the tests, with a line that says what to install, if emulator, compiler or JRE are
   * missing. What is installed and does not work is no reason to skip.
   */
  public static void assumeInstalled() {
    List<String> missing = new ArrayList<>();
    if (!Programs.installed(QEMU) || !Programs.installed(COMPILER)) {
      missing.add("scripts/install-packages arm64");
    }
    if (!Files.exists(root().resolve(".complete"))) {
      missing.add("scripts/arm64-root");
    }
    String say = "arm64 is not judged; to have it judged run: " + String.join("; ", missing);
    if (!missing.isEmpty()) {
      System.err.println(say); // Surefire shows no reason of a class that is skipped
    }
    Assumptions.assumeTrue(missing.isEmpty(), say);
  }

  /** The directory with the arm64 JRE and its libraries, whether it is there or not. */
  public static Path root() {
    return Path.of(
        Machine.command(inTree("scripts/arm64-root").toString(), "--print-path").strip());
  }

  /** The emulator that devices run under. */
  public static Path qemu() {
    return root().resolve("qemu-aarch64");
  }

  /** The library kernel for arm64, which is made if it is missing: that takes minutes. */
  public static Path kernel() {
    String said = Machine.command(BUILD, inTree("kernel/build").toString(), "--arch", "arm64");
    // Progress comes before it.
    return Path.of(said.strip().lines().toList().getLast());
  }

  /** What takes the place of {@code outboard} where the device is one of arm64. */
  static Path launcher() {
    return inTree("scripts/arm64-device");
  }

  /** A file of the source tree. */
  public static Path inTree(String name) {
    return Programs.tree().resolve(name);
  }
}
