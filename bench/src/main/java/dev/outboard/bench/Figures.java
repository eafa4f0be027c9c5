// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.Locale;

/** Numbers for people. */
final class Figures {
  private static final int DIGITS = 3;

  private Figures() {}

  /** Three digits that count, without an exponent; a dash for what is not known. */
  static String of(double value) {
    if (!Double.isFinite(value)) {
      return "–";
    }
    if (value == 0) {
      return "0";
    }
    int whole = (int) Math.floor(Math.log10(Math.abs(value))) + 1;
    int decimals = Math.clamp(DIGITS - whole, 0, DIGITS);
    String s = String.format(Locale.ROOT, "%,." + decimals + "f", value);
    return Double.parseDouble(s.replace(",", "")) == 0 ? "<0.001" : s;
  }

  /** The median, and the lowest and the highest in parentheses. */
  static String of(Spread s) {
    return of(s.median()) + " (" + of(s.lowest()) + "–" + of(s.highest()) + ")";
  }

  static String percent(double share) {
    return String.format(Locale.ROOT, "%.0f %%", share * 100);
  }
}
