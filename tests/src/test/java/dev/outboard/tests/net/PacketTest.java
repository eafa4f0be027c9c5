// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, whose far end the device has through a packet socket. */
class PacketTest extends LinkTest {
  @Override
  String plug() throws Exception {
    veth(stem + "n", stem + "f");
    return "packet:if=" + stem + "f,addr=" + prefix + "2/24";
  }

  @Override
  void unplug() throws Exception {
    command("sh", "-c", "ip link del " + stem + "n 2>/dev/null || true");
  }

  @Override
  String hostInterface() {
    return stem + "n";
  }

  @Override
  String deviceInterface() {
    return stem + "f";
  }

  @Override
  String epitaph() {
    return "the interface was removed";
  }

  @Override
  int bigSegment() {
    return 4 * 65535;
  }

  @Override
  boolean unsplitOut() {
    return true;
  }

  @Override
  boolean unsplitIn() {
    return true;
  }
}
