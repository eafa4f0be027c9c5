// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The command line as UTF-8, whatever the locale.
 *
 * <p>The JVM decodes its arguments by the locale's character set, and in the C locale that loses
 * every byte above 127: the program would get other arguments than the user gave. The kernel still
 * has the bytes.
 */
final class RawArguments {
  private static final Path COMMAND_LINE = Path.of("/proc/self/cmdline");

  private RawArguments() {}

  /** {@code decoded}, read again from the kernel where the JVM may have lost something. */
  static String[] restore(String[] decoded) {
    boolean ascii = Arrays.stream(decoded).allMatch(a -> a.chars().allMatch(c -> c < 128));
    if (ascii) {
      return decoded;
    }
    try {
      List<String> all = split(Files.readAllBytes(COMMAND_LINE));
      int first = all.size() - decoded.length;
      return first < 1 ? decoded : all.subList(first, all.size()).toArray(String[]::new);
    } catch (IOException e) {
      // Without /proc the JVM's own reading is the best there is.
      return decoded;
    }
  }

  /** The NUL-terminated strings in {@code bytes}. */
  static List<String> split(byte[] bytes) {
    List<String> strings = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < bytes.length; i++) {
      if (bytes[i] == 0) {
        strings.add(new String(bytes, start, i - start, StandardCharsets.UTF_8));
        start = i + 1;
      }
    }
    return strings;
  }
}
