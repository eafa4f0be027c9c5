// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, whose far end the device has through a packet socket. */
class PacketTest extends VethLinkTest {
  @Override
  String plug() throws Exception {
    makePair();
    return net("packet");
  }

  @Override
  String epitaph() {
    return "the interface was removed";
  }

  @Override
  int bigSegmentOut() {
    return 4 * 65535;
  }

  @Override
  int bigSegmentOut6() {
    return 0;
  }

  @Override
  int bigSegmentIn() {
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
