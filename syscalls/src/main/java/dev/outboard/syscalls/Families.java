// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import static dev.outboard.abi.Socket.AF_ALG;
import static dev.outboard.abi.Socket.AF_INET;
import static dev.outboard.abi.Socket.AF_INET6;
import static dev.outboard.abi.Socket.AF_NETLINK;
import static dev.outboard.abi.Socket.AF_PACKET;
import static dev.outboard.abi.Socket.NETLINK_GENERIC;
import static dev.outboard.abi.Socket.NETLINK_NETFILTER;
import static dev.outboard.abi.Socket.NETLINK_ROUTE;
import static dev.outboard.abi.Socket.NETLINK_SOCK_DIAG;
import static dev.outboard.abi.Xdp.AF_XDP;

/** Which sockets are the device's. */
public final class Families {
  private Families() {}

  /**
   * Whether a device makes a socket of that domain and protocol. For all others it answers
   * EAFNOSUPPORT, so that, above all, no AF_UNIX socket is ever a device fd. XDP sockets it makes
   * only where it offers bpf(2), too.
   */
  public static boolean onDevice(int domain, int protocol) {
    return switch (domain) {
      case AF_INET, AF_INET6, AF_PACKET, AF_ALG, AF_XDP -> true;
      case AF_NETLINK ->
          switch (protocol) {
            case NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER, NETLINK_GENERIC -> true;
            default -> false;
          };
      default -> false;
    };
  }
}
