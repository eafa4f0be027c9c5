// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.virtio.Resolver;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The text that programs find as {@code /etc/resolv.conf}; see {@code resolv.conf(5)}. */
final class ResolvConf {
  private static final int MAX_BYTES = 16 * 1024;

  private ResolvConf() {}

  /**
   * For a device with a network of its own.
   *
   * @param nameservers the first three are used; if there is none, the text is empty and programs
   *     keep their own file
   */
  static String of(
      List<InetAddress> nameservers, List<String> searchDomains, List<String> options) {
    if (nameservers.isEmpty()) {
      return "";
    }
    StringBuilder text = new StringBuilder("# The device's name servers.\n");
    for (InetAddress server :
        nameservers.subList(0, Math.min(Resolver.MAX_SERVERS, nameservers.size()))) {
      text.append("nameserver ").append(server.getHostAddress()).append('\n');
    }
    if (!searchDomains.isEmpty()) {
      text.append("search ").append(String.join(" ", searchDomains)).append('\n');
    }
    if (!options.isEmpty()) {
      text.append("options ").append(String.join(" ", options)).append('\n');
    }
    return text.toString();
  }

  /** The machine's own, for a device whose network is the machine's; a stub is in reach there. */
  static String ofMachine() {
    try {
      Path file = Path.of("/etc/resolv.conf");
      return Files.size(file) > MAX_BYTES
          ? ""
          : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      return "";
    }
  }
}
