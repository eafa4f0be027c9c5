// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.outboard.abi.Socket;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Set;

/**
 * Services of the host that find out names for programs, by their Unix sockets. They ask the host's
 * name servers, over its network. A C library that cannot reach them goes on with the next word in
 * {@code nsswitch.conf(5)}, which at the end is {@code dns}, and so with the device.
 *
 * <p>Each of them does nothing else, but for nscd, which is a cache of users and groups as well:
 * without it they are looked up as on a machine that has none.
 */
final class HostNames {
  /** {@code sun_family}, and where {@code sun_path} begins. */
  private static final int PATH_AT = 2;

  /** {@code sizeof(struct sockaddr_un)}. */
  private static final int ADDRESS_BYTES = 110;

  private static final String OLD_RUN = "/var/run/";
  private static final String RUN = "/run/";

  private static final Set<String> SOCKETS =
      Set.of(
          // glibc, before any word of nsswitch.conf(5)
          "/run/nscd/socket",
          // resolve: systemd-resolved
          "/run/systemd/resolve/io.systemd.Resolve",
          // mdns, mdns_minimal, mdns4 …: avahi-daemon
          "/run/avahi-daemon/socket");

  private HostNames() {}

  /** Whether a call of {@code connect(2)}, on a Unix socket of the host, is to such a service. */
  static boolean asked(Notification n) {
    int bytes = n.intArg(2);
    if (bytes <= PATH_AT || bytes > ADDRESS_BYTES) {
      return false;
    }
    MemorySegment address = n.statScratch();
    return n.memory().read(n.args()[1], address, 0, bytes) >= 0
        && address.get(JAVA_SHORT_UNALIGNED, 0) == Socket.AF_UNIX
        && isOne(path(address, bytes));
  }

  /** By the text alone, as {@link Paths} decides, too. */
  static boolean isOne(byte[] path) {
    if (path.length == 0 || path[0] != '/') {
      return false;
    }
    byte[] shortest = new byte[ADDRESS_BYTES];
    int length = Paths.normalize(path, path.length, shortest, 0, 0);
    String text = new String(shortest, 0, length, StandardCharsets.ISO_8859_1);
    return SOCKETS.contains(
        text.startsWith(OLD_RUN) ? RUN + text.substring(OLD_RUN.length()) : text);
  }

  private static byte[] path(MemorySegment address, int bytes) {
    int end = PATH_AT;
    while (end < bytes && address.get(JAVA_BYTE, end) != 0) {
      end++;
    }
    return address.asSlice(PATH_AT, end - PATH_AT).toArray(JAVA_BYTE);
  }
}
