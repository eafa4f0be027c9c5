// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels, and a macvtap on its far end. */
class MacvtapTest extends LinkTest {
  @Override
  String plug() throws Exception {
    veth(stem + "n", stem + "f");
    command(
        "ip",
        "link",
        "add",
        "link",
        stem + "f",
        "name",
        stem + "m",
        "type",
        "macvtap",
        "mode",
        "bridge");
    return "macvtap:if=" + stem + "m,addr=" + prefix + "2/24";
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
    return stem + "m";
  }

  @Override
  String epitaph() {
    return "the macvtap was removed";
  }

  @Override
  String lowerInterface() {
    return stem + "f";
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
