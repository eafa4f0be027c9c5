// SPDX-License-Identifier: MIT
package dev.outboard.service;

/** Why this process can make no control groups; a part of a sentence. */
final class NoControlGroups extends Exception {
  private static final long serialVersionUID = 1L;

  NoControlGroups(String why) {
    super(why);
  }

  /** A part of a sentence. */
  String why() {
    return String.valueOf(getMessage());
  }
}
