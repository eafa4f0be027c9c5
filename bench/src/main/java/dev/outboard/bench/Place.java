// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Path;

/**
 * What one run of a program has for itself, so that runs in different modes can stand side by side.
 *
 * @param site where all of them are
 * @param number distinguishes it, from 1
 * @param directory of its own, empty at first
 */
record Place(Site site, int number, Path directory) {
  private static final int FIRST_PORT = 20_000;

  /** The port on which it listens. */
  int port() {
    return FIRST_PORT + number;
  }

  /** The address of a network of its own, if the mode makes one; the router is at .1. */
  String address() {
    return "10.77." + number + ".2";
  }

  /** What is written to standard error, and to standard output by servers. */
  Path log() {
    return directory.resolve("log");
  }

  Path statistics() {
    return directory.resolve("stats.json");
  }
}
