// SPDX-License-Identifier: MIT
/** The host side: intercepts the program's calls and sends the device's part of them there. */
module dev.outboard.hook {
  requires transitive dev.outboard.channel;
  requires static jdk.jfr;
  requires static org.jspecify;

  exports dev.outboard.hook;
}
