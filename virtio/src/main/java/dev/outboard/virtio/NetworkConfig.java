// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.net.InetAddress;
import java.util.List;

/**
 * What the kernel on the device has to be told about its card, and a program about names.
 *
 * @param mac the card's address, as the driver reports it: by it the interface is found
 * @param mtu bytes of the largest packet
 * @param addresses at most one IPv4 and one IPv6 address, at least one of them
 * @param gateways next hops of the default routes, at most one IPv4 and one IPv6; each is on the
 *     link
 * @param nameservers addresses for {@code /etc/resolv.conf}, reachable from the device; may be
 *     empty
 * @param searchDomains domains for its {@code search} line; may be empty
 * @param notices sentences that the user should be told once
 */
public record NetworkConfig(
    MacAddress mac,
    int mtu,
    List<InterfaceAddress> addresses,
    List<InetAddress> gateways,
    List<InetAddress> nameservers,
    List<String> searchDomains,
    List<String> notices) {
  public NetworkConfig {
    addresses = List.copyOf(addresses);
    gateways = List.copyOf(gateways);
    nameservers = List.copyOf(nameservers);
    searchDomains = List.copyOf(searchDomains);
    notices = List.copyOf(notices);
  }
}
