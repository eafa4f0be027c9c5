// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import java.net.InetAddress;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the kernel on the device has to be told about its card, and a program about names.
 *
 * @param mac the card's address, as the driver reports it: by it the interface is found
 * @param mtu bytes of the largest packet
 * @param gso bytes of the largest segment to be sent and put together; 0 for the kernel's own limit
 * @param addresses at most one IPv4 and one IPv6 address, at least one of them
 * @param gateways next hops of the default routes, at most one IPv4 and one IPv6; each is on the
 *     link
 * @param nameservers addresses for {@code /etc/resolv.conf}, reachable from the device; may be
 *     empty
 * @param searchDomains domains for its {@code search} line; may be empty
 * @param resolverOptions words for its {@code options} line; may be empty
 * @param notices sentences that the user should be told once
 */
public record NetworkConfig(
    MacAddress mac,
    int mtu,
    int gso,
    List<InterfaceAddress> addresses,
    List<InetAddress> gateways,
    List<InetAddress> nameservers,
    List<String> searchDomains,
    List<String> resolverOptions,
    List<String> notices) {
  public NetworkConfig {
    addresses = List.copyOf(addresses);
    gateways = List.copyOf(gateways);
    nameservers = List.copyOf(nameservers);
    searchDomains = List.copyOf(searchDomains);
    resolverOptions = List.copyOf(resolverOptions);
    notices = List.copyOf(notices);
  }

  /**
   * What a link's device is told.
   *
   * @param mac of the card
   * @param mtu of the card
   */
  static NetworkConfig of(NetSpec.Link link, MacAddress mac, int mtu, Resolver resolver) {
    return new NetworkConfig(
        mac,
        mtu,
        link.gso(),
        present(link.address(), link.address6()),
        present(link.gateway(), link.gateway6()),
        resolver.nameservers(),
        resolver.searchDomains(),
        resolver.options(),
        resolver.notices());
  }

  private static <T> List<T> present(@Nullable T first, @Nullable T second) {
    return Stream.of(Optional.<T>ofNullable(first), Optional.<T>ofNullable(second))
        .flatMap(Optional::stream)
        .toList();
  }
}
