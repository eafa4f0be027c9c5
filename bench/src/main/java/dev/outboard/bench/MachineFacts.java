// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;

/**
 * What was measured on.
 *
 * @param cpus that this process may use
 * @param cpu model, as {@code /proc/cpuinfo} has it
 * @param kernel release of the host's
 * @param memoryBytes of RAM
 * @param when it began, UTC
 */
record MachineFacts(int cpus, String cpu, String kernel, long memoryBytes, Instant when) {
  private static final long KIBI = 1024;

  static MachineFacts now() {
    String memory = field("/proc/meminfo", "MemTotal").split(" ", -1)[0];
    return new MachineFacts(
        Runtime.getRuntime().availableProcessors(),
        field("/proc/cpuinfo", "model name"),
        read("/proc/sys/kernel/osrelease"),
        memory.isEmpty() ? 0 : Long.parseLong(memory) * KIBI,
        Instant.now().truncatedTo(ChronoUnit.SECONDS));
  }

  private static String field(String file, String name) {
    return read(file)
        .lines()
        .filter(l -> l.startsWith(name))
        .map(l -> l.substring(l.indexOf(':') + 1).strip())
        .findFirst()
        .orElse("");
  }

  private static String read(String file) {
    try {
      return Files.readString(Path.of(file)).strip();
    } catch (IOException e) {
      return "";
    }
  }
}
