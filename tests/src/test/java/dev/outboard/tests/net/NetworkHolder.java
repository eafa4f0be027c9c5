// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

import dev.outboard.virtio.NetSpec;
import dev.outboard.virtio.Network;
import java.util.List;

/** A process that has a network, prints its children's process ids, and waits to be killed. */
final class NetworkHolder {
  private NetworkHolder() {}

  /**
   * Holds a network for a minute.
   *
   * @param args the value of {@code --net}
   */
  public static void main(String[] args) throws Exception {
    Network network = Network.open(NetSpec.parse(args[0]), List.of());
    System.out.println(ProcessHandle.current().children().map(ProcessHandle::pid).toList());
    Thread.sleep(60_000);
    network.close();
  }

  /** Starts one and waits until it has its network; the line that it prints. */
  static Started start(String net) throws java.io.IOException {
    Process process =
        new ProcessBuilder(
                java.nio.file.Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                NetworkHolder.class.getName(),
                net)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String line = process.inputReader().readLine();
    if (line == null) {
      throw new AssertionError("no network: " + net);
    }
    return new Started(process, line);
  }

  /** A holder at work. */
  record Started(Process process, String line) {}
}
