// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, whose far end the device has through an AF_XDP socket. */
class XdpTest extends VethLinkTest {
  @Override
  String plug() throws Exception {
    makePair();
    // A frame must be finished where it is sent.
    command("ethtool", "-K", hostInterface(), "tx", "off");
    return net("xdp");
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
