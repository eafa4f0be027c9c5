// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, and a macvtap on its far end. */
class MacvtapTest extends VethLinkTest {
  @Override
  String plug() throws Exception {
    makePair();
    command(
        "ip",
        "link",
        "add",
        "link",
        farEnd(),
        "name",
        stem + "m",
        "type",
        "macvtap",
        "mode",
        "bridge");
    return net("macvtap");
  }

  @Override
  String deviceInterface() {
    return stem + "m";
  }

  @Override
  String epitaph() {
    return "the macvtap was removed";
  }

  @Override
  String lowerInterface() {
    return farEnd();
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
