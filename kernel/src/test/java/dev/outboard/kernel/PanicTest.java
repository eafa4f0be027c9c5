// SPDX-License-Identifier: MIT
package dev.outboard.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A kernel that panics takes its process with it, and says why. */
@Timeout(60)
class PanicTest {
  /** The process that dies: its kernel finds no first process. */
  static final class Victim {
    private Victim() {}

    public static void main(String[] args) throws KernelException {
      LinuxKernel.boot(
          LinuxKernel.Options.defaults()
              .withMemory(32 << 20, 4 << 20)
              .withCommandLine("rdinit=/none"));
      System.out.println("booted");
    }
  }

  @Test
  void thePanicEndsTheProcess() throws IOException, InterruptedException, KernelException {
    Process p =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-D" + LinuxKernel.LIBRARY_PROPERTY + "=" + LinuxKernel.locate(),
                "-cp",
                System.getProperty("java.class.path"),
                Victim.class.getName())
            .start();
    String errors = new String(p.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    String output = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(p.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(errors)
        .contains("outboard: the library kernel has panicked")
        .contains("Kernel panic - not syncing: VFS: Unable to mount root fs")
        .contains("liboutboard-kernel.so+0x");
    assertThat(output).isEmpty();
    assertThat(p.exitValue()).isEqualTo(LinuxKernel.EXIT_PANIC);
  }
}
