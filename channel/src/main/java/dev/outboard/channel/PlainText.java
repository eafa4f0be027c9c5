// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.util.regex.Pattern;

/** Text from elsewhere for a terminal, to which nothing in it may be a command. Any thread. */
public final class PlainText {
  /** Those of ASCII, and those above 127 that some terminals take for escapes. */
  private static final Pattern CONTROL = Pattern.compile("[\\p{Cntrl}\\x80-\\x9f]");

  private PlainText() {}

  /** The same with a space for each control character. */
  public static String of(String text) {
    return CONTROL.matcher(text).replaceAll(" ");
  }
}
