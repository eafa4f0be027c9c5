// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** The machine's routes, as {@code proc_pid_net(5)} shows them. */
final class Routes {
  static final Path IPV4 = Path.of("/proc/net/route");
  static final Path IPV6 = Path.of("/proc/net/ipv6_route");

  private Routes() {}

  /** Whether a table has a default route that leads out of the machine. */
  static boolean hasDefault(Path table) {
    try {
      return Files.readAllLines(table, StandardCharsets.ISO_8859_1).stream()
          .map(line -> line.strip().split("\\s+", -1))
          .anyMatch(table.equals(IPV4) ? Routes::isDefault4 : Routes::isDefault6);
    } catch (IOException e) {
      // No table: the kernel was built without the protocol.
      return false;
    }
  }

  /** Iface Destination Gateway Flags RefCnt Use Metric Mask ...; flag 0x200 is a reject route. */
  private static boolean isDefault4(String[] f) {
    return f.length > 7
        && f[1].equals("00000000")
        && f[7].equals("00000000")
        && (Integer.parseInt(f[3], 16) & 0x200) == 0;
  }

  /** Destination, its bits, source, its bits, next hop, metric, ..., flags, device. */
  private static boolean isDefault6(String[] f) {
    return f.length > 9 && f[0].equals("0".repeat(32)) && f[1].equals("00") && !f[9].equals("lo");
  }
}
