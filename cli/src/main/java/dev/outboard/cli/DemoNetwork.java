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
 * @param url what reaches the device's server from this machine
 * @param port on which the server listens there
 * @param description for people
 */
record DemoNetwork(List<String> settings, String url, int port, String description) {
  private static final int PORT = 8080;

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
              "http://" + address + ":" + PORT,
              PORT,
              address + " behind TAP " + name);
        }
      }
    }
    int published = freePort();
    return new DemoNetwork(
        List.of("--net=passt", "--publish=127.0.0.1:" + published + ":" + PORT),
        "http://127.0.0.1:" + published,
        PORT,
        "port " + published + " published through passt");
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

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }
}
