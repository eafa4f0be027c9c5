// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InterfaceAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.net.SocketException;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The network of the demo's device: a TAP with a prefix that nobody here uses, or without the right
 * to make one, passt with a published port.
 *
 * @param settings options of {@code outboard device}
 * @param address what reaches the device's server from this machine
 * @param port at which it is reached by HTTP
 * @param tlsPort the same by HTTPS
 * @param description for people
 */
record DemoNetwork(
    List<String> settings, InetAddress address, int port, int tlsPort, String description) {
  /** The ports on which the server listens on the device. */
  static final int PORT = 8080;

  static final int TLS_PORT = 8443;

  /** Chooses what this machine permits. */
  static DemoNetwork choose() throws IOException {
    if (Machine.mayMakeTap()) {
      Set<String> used = prefixes();
      for (int i = 77; i < 77 + 256; i++) {
        String prefix = "10." + i % 256 + ".0.";
        if (used.add(prefix)) {
          String name = "ob" + ProcessHandle.current().pid();
          String address = prefix + "2";
          return new DemoNetwork(
              List.of("--net=tap:name=" + name + ",addr=" + address + "/24"),
              InetAddress.ofLiteral(address),
              PORT,
              TLS_PORT,
              address + " behind TAP " + name);
        }
      }
    }
    InetAddress loopback = InetAddress.ofLiteral("127.0.0.1");
    // Both at a time, so that they differ.
    try (ServerSocket one = new ServerSocket(0, 1, loopback);
        ServerSocket other = new ServerSocket(0, 1, loopback)) {
      return published(loopback, one.getLocalPort(), other.getLocalPort());
    }
  }

  private static DemoNetwork published(InetAddress loopback, int port, int tlsPort) {
    String at = "--publish=" + loopback.getHostAddress() + ":";
    return new DemoNetwork(
        List.of("--net=passt", at + port + ":" + PORT, at + tlsPort + ":" + TLS_PORT),
        loopback,
        port,
        tlsPort,
        "ports " + port + ", " + tlsPort + " published through passt");
  }

  /** What a file is fetched by. */
  String url(DemoSite.Request request) {
    return request.by().scheme()
        + "://"
        + address.getHostAddress()
        + ":"
        + (request.by().isTls() ? tlsPort : port)
        + "/"
        + request.name();
  }

  /** First three parts of each IPv4 address that this machine has. */
  private static Set<String> prefixes() throws SocketException {
    Set<String> prefixes = new HashSet<>();
    NetworkInterface.networkInterfaces()
        .flatMap(i -> i.getInterfaceAddresses().stream())
        .map(InterfaceAddress::getAddress)
        .map(InetAddress::getHostAddress)
        .map(a -> a.substring(0, a.lastIndexOf('.') + 1))
        .forEach(prefixes::add);
    return prefixes;
  }
}
