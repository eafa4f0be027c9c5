// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.net.InetAddress;
import org.jspecify.annotations.Nullable;

/**
 * A port of the device's machine that leads to a port of the device: the value of {@code
 * --publish}, written as for docker: {@code [ADDR:]PORT:PORT[/tcp|/udp]}.
 *
 * @param address to listen on, or null for all addresses of the machine, as docker does
 * @param outerPort the machine's
 * @param devicePort the device's
 * @param udp datagrams instead of TCP
 */
public record PortMapping(
    @Nullable InetAddress address, int outerPort, int devicePort, boolean udp) {
  /**
   * Parses {@code 8080:80}, {@code 127.0.0.1:8080:80}, {@code [::1]:8080:80}, {@code 53:53/udp}.
   *
   * @throws IllegalArgumentException if it is not one; the message is one sentence for the user
   */
  public static PortMapping parse(String text) {
    String ports = text;
    boolean udp = false;
    int slash = text.lastIndexOf('/');
    if (slash >= 0) {
      String protocol = text.substring(slash + 1);
      udp = protocol.equals("udp");
      if (!udp && !protocol.equals("tcp")) {
        throw new IllegalArgumentException(
            "--publish " + text + ": '" + protocol + "' is neither tcp nor udp");
      }
      ports = text.substring(0, slash);
    }
    int second = ports.lastIndexOf(':');
    int first = second < 0 ? -1 : ports.lastIndexOf(':', second - 1);
    if (second < 0) {
      throw new IllegalArgumentException(
          "--publish " + text + ": not [ADDR:]PORT:PORT[/udp], as in 127.0.0.1:8080:80");
    }
    InetAddress address = null;
    if (first >= 0) {
      String a = ports.substring(0, first);
      boolean brackets = a.startsWith("[") && a.endsWith("]");
      if (!brackets && a.indexOf(':') >= 0) {
        throw new IllegalArgumentException(
            "--publish " + text + ": an IPv6 address is put in brackets, as in [::1]:8080:80");
      }
      try {
        address = InterfaceAddress.parseAddress("", brackets ? a.substring(1, a.length() - 1) : a);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "--publish " + text + ": '" + a + "' is not an address in digits", e);
      }
    }
    return new PortMapping(
        address,
        port(text, ports.substring(first + 1, second)),
        port(text, ports.substring(second + 1)),
        udp);
  }

  private static int port(String text, String digits) {
    int port = -1;
    if (digits.matches("\\d{1,5}")) {
      port = Integer.parseInt(digits);
    }
    if (port < 1 || port > 65535) {
      throw new IllegalArgumentException(
          "--publish " + text + ": '" + digits + "' is not a port from 1 to 65535");
    }
    return port;
  }

  @Override
  public String toString() {
    String a = address == null ? "" : literal(address) + ":";
    return a + outerPort + ":" + devicePort + (udp ? "/udp" : "");
  }

  private static String literal(InetAddress address) {
    String text = address.getHostAddress();
    return text.indexOf(':') < 0 ? text : "[" + text + "]";
  }
}
