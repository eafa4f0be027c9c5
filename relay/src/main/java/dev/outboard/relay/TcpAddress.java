// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Where a device is reached by TCP: {@code HOST:PORT}.
 *
 * @param host a name or an address, without brackets
 */
public record TcpAddress(String host, int port) {
  private static final Pattern FORM =
      Pattern.compile("(?:([A-Za-z0-9_.-]+)|\\[([0-9A-Fa-f:.]+)\\]):([0-9]{1,5})");

  private static final int MAX_PORT = 65535;

  /** What {@code text} names; null if that is no address with a port. */
  public static @Nullable TcpAddress parse(String text) {
    Matcher m = FORM.matcher(text);
    if (!m.matches()) {
      return null;
    }
    int port = Integer.parseInt(m.group(3));
    String host = m.group(1) == null ? m.group(2) : m.group(1);
    return port > MAX_PORT ? null : new TcpAddress(host, port);
  }

  @Override
  public String toString() {
    return (host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + port;
  }
}
