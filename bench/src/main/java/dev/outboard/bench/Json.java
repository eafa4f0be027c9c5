// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * JSON (RFC 8259) as maps, lists, strings, doubles, booleans and null. What it reads are short
 * reports of programs that the benchmarks start; a library for that would be one more module in
 * each {@code outboard run}.
 */
final class Json {
  private static final int MAX_DEPTH = 64;
  private static final int HEX_DIGITS = 4;
  private static final int HEX = 16;

  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /**
   * Reads one value; duplicate names are not noticed.
   *
   * @throws IllegalArgumentException if it is not JSON
   */
  static @Nullable Object read(String text) {
    Json j = new Json(text);
    Object value = j.value(0);
    j.blanks();
    if (j.at != text.length()) {
      throw j.wrong("the end");
    }
    return value;
  }

  /** What {@code keys} lead to in nested objects; null if that is not there. */
  static @Nullable Object at(@Nullable Object value, String... keys) {
    Object v = value;
    for (String key : keys) {
      v = v instanceof Map<?, ?> m ? m.get(key) : null;
    }
    return v;
  }

  /** The number that {@code keys} lead to, or {@code otherwise}. */
  static double number(@Nullable Object value, double otherwise, String... keys) {
    return at(value, keys) instanceof Double d ? d : otherwise;
  }

  private IllegalArgumentException wrong(String expected) {
    return new IllegalArgumentException("no JSON: expected " + expected + " at character " + at);
  }

  private void blanks() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private boolean take(String word) {
    blanks();
    if (!text.startsWith(word, at)) {
      return false;
    }
    at += word.length();
    return true;
  }

  private void need(String word) {
    if (!take(word)) {
      throw wrong("'" + word + "'");
    }
  }

  private @Nullable Object value(int depth) {
    if (depth > MAX_DEPTH) {
      throw wrong("less nesting");
    }
    if (take("{")) {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      if (take("}")) {
        return map;
      }
      do {
        need("\"");
        String name = string();
        need(":");
        map.put(name, value(depth + 1));
      } while (take(","));
      need("}");
      return map;
    }
    if (take("[")) {
      List<@Nullable Object> list = new ArrayList<>();
      if (take("]")) {
        return list;
      }
      do {
        list.add(value(depth + 1));
      } while (take(","));
      need("]");
      return list;
    }
    if (take("\"")) {
      return string();
    }
    if (take("true")) {
      return true;
    }
    if (take("false")) {
      return false;
    }
    return take("null") ? null : number();
  }

  private Double number() {
    int begin = at;
    while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
    try {
      return Double.valueOf(text.substring(begin, at));
    } catch (NumberFormatException e) {
      at = begin;
      throw wrong("a value");
    }
  }

  /** The rest of a string, of which the opening quote was taken. */
  private String string() {
    StringBuilder s = new StringBuilder();
    while (at < text.length()) {
      char c = text.charAt(at++);
      if (c == '"') {
        return s.toString();
      }
      s.append(c == '\\' ? escaped() : c);
    }
    throw wrong("'\"'");
  }

  private char escaped() {
    char c = at < text.length() ? text.charAt(at++) : 0;
    return switch (c) {
      case '"', '\\', '/' -> c;
      case 'b' -> '\b';
      case 'f' -> '\f';
      case 'n' -> '\n';
      case 'r' -> '\r';
      case 't' -> '\t';
      case 'u' -> {
        try {
          yield (char) Integer.parseInt(text.substring(at, at += HEX_DIGITS), HEX);
        } catch (IndexOutOfBoundsException | NumberFormatException e) {
          throw wrong("four hexadecimal digits");
        }
      }
      default -> throw wrong("an escape");
    };
  }

  /** Writes a value, indented; the inverse of {@link #read}. */
  static String write(@Nullable Object value) {
    StringBuilder out = new StringBuilder();
    write(value, "\n", out);
    return out.append('\n').toString();
  }

  private static void write(@Nullable Object value, String line, StringBuilder out) {
    switch (value) {
      case null -> out.append("null");
      case Map<?, ?> map -> {
        BiConsumer<Map.Entry<?, ?>, String> one =
            (e, inner) -> {
              quote(String.valueOf(e.getKey()), out);
              out.append(": ");
              write(e.getValue(), inner, out);
            };
        many(List.<Map.Entry<?, ?>>copyOf(map.entrySet()), "{}", line, out, one);
      }
      case List<?> list -> many(list, "[]", line, out, (v, inner) -> write(v, inner, out));
      case Double d -> out.append(number(d));
      case Number n -> out.append(n);
      case Boolean b -> out.append(b);
      default -> quote(value.toString(), out);
    }
  }

  private static String number(double d) {
    if (!Double.isFinite(d)) {
      return "null";
    }
    // Nothing here is known to more than a few digits.
    return d == Math.rint(d) && Math.abs(d) < 1e15
        ? Long.toString((long) d)
        : String.format(Locale.ROOT, "%.6g", d);
  }

  private static <T> void many(
      List<T> all, String brackets, String line, StringBuilder out, BiConsumer<T, String> each) {
    out.append(brackets.charAt(0));
    String inner = line + "  ";
    String separator = inner;
    for (T one : all) {
      out.append(separator);
      each.accept(one, inner);
      separator = "," + inner;
    }
    out.append(all.isEmpty() ? "" : line).append(brackets.charAt(1));
  }

  private static void quote(String s, StringBuilder out) {
    out.append('"');
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ') {
        out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }
}
