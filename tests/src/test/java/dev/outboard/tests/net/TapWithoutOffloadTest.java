// SPDX-License-Identifier: MIT
package dev.outboard.tests.net;

/** A TAP on which nothing crosses that a wire would not carry. */
class TapWithoutOffloadTest extends LinkTest {
  @Override
  String plug() {
    return "tap:name=" + stem + ",addr=" + prefix + "2/24,offload=off";
  }

  @Override
  void unplug() {
    // It goes with the device, as TapTest shows.
  }

  @Override
  String hostInterface() {
    return stem;
  }

  @Override
  String deviceInterface() {
    return stem;
  }

  @Override
  String epitaph() {
    return "the TAP was removed";
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
