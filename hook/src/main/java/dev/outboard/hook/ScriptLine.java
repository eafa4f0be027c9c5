// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** The first line of a script, as {@code load_script()} of {@code fs/binfmt_script.c} reads it. */
final class ScriptLine {
  private final byte[] interpreter;
  private final byte @Nullable [] argument;

  private ScriptLine(byte[] interpreter, byte @Nullable [] argument) {
    this.interpreter = interpreter;
    this.argument = argument;
  }

  /** The interpreter's path. */
  byte[] interpreter() {
    return interpreter;
  }

  /** What follows, as one argument; null if nothing does. */
  byte @Nullable [] argument() {
    return argument;
  }

  /** Whether a file that begins so is a script. */
  static boolean isScript(byte[] head) {
    return head.length >= 2 && head[0] == '#' && head[1] == '!';
  }

  /**
   * Reads it.
   *
   * @param head how the file begins: at most {@link Executables#LOOKED_BYTES} bytes of it
   * @return null if a kernel would say ENOEXEC
   */
  static @Nullable ScriptLine of(byte[] head) {
    if (!isScript(head)) {
      return null;
    }
    byte[] text = Arrays.copyOf(head, Executables.LOOKED_BYTES);
    int last = text.length - 1;
    int end = 0;
    while (end < head.length && text[end] != '\n') {
      end++;
    }
    if (end == head.length) {
      // Without an end of the line a name that reaches the end of the text may go on behind it.
      int from = nextOther(text, 2, last);
      if (from > last || nextEnd(text, from, last) > last) {
        return null;
      }
      end = last;
    }
    while (isBlank(text[end - 1])) {
      end--;
    }
    int name = nextOther(text, 2, end);
    if (name >= end) {
      return null;
    }
    int nameEnd = Math.min(nextEnd(text, name, end), end);
    if (nameEnd == name) {
      return null; // It begins with a NUL.
    }
    byte[] interpreter = Arrays.copyOfRange(text, name, nameEnd);
    if (nameEnd == end || text[nameEnd] == 0) {
      return new ScriptLine(interpreter, null);
    }
    int argument = nextOther(text, nameEnd, end);
    int argumentEnd = argument;
    while (argumentEnd < end && text[argumentEnd] != 0) {
      argumentEnd++;
    }
    return new ScriptLine(interpreter, Arrays.copyOfRange(text, argument, argumentEnd));
  }

  private static boolean isBlank(byte b) {
    return b == ' ' || b == '\t';
  }

  private static int nextOther(byte[] text, int from, int last) {
    int i = from;
    while (i <= last && isBlank(text[i])) {
      i++;
    }
    return i;
  }

  private static int nextEnd(byte[] text, int from, int last) {
    int i = from;
    while (i <= last && !isBlank(text[i]) && text[i] != 0) {
      i++;
    }
    return i;
  }
}
