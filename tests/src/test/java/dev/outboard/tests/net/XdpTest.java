// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, whose far end the device has through an AF_XDP socket. */
class XdpTest extends LinkTest {
  @Override
  String plug() throws Exception {
    veth(stem + "n", stem + "f");
    // A frame must be finished where it is sent.
    command("ethtool", "-K", stem + "n", "tx", "off");
    return "xdp:if=" + stem + "f,addr=" + prefix + "2/24";
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
  boolean unsplitOut() {
    return false;
  }

  @Override
  boolean unsplitIn() {
    return false;
  }
}
