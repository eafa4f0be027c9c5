// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A veth pair between the kernels: the near end is the machine's, the device has the far one. */
abstract class VethLinkTest extends LinkTest {
  /** Makes the pair. */
  final void makePair() throws Exception {
    veth(hostInterface(), farEnd());
  }

  /** The option that gives the device its interface by way of {@code kind}. */
  final String net(String kind) {
    return kind + ":if=" + deviceInterface() + ",addr=" + prefix + "2/24";
  }

  @Override
  void unplug() throws Exception {
    command("sh", "-c", "ip link del " + hostInterface() + " 2>/dev/null || true");
  }

  @Override
  String hostInterface() {
    return stem + "n";
  }

  @Override
  String deviceInterface() {
    return farEnd();
  }

  /** The far end of the pair. */
  final String farEnd() {
    return stem + "f";
  }
}
