// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What the memory in use of a JVM of ours is for, as its mappings tell: {@code proc_pid_smaps(5)}.
 * All figures in KiB.
 */
public final class MemoryParts {
  private static final Pattern MAPPING =
      Pattern.compile("^([0-9a-f]+)-([0-9a-f]+) (\\S+) \\S+ \\S+ \\S+ *(.*)$");
  private static final Pattern FIGURE = Pattern.compile("^(Rss|Pss): +(\\d+) kB$");

  /** Up to there the JVM puts its heap and its classes, if it can. */
  private static final long LOW = 1L << 32;

  /** A library kernel's memory is one mapping of 256 MiB and a little, unless asked otherwise. */
  private static final long KERNEL_BYTES = 200L << 20;

  private record Part(long rss, long pss) {
    Part plus(Part other) {
      return new Part(rss + other.rss, pss + other.pss);
    }
  }

  private final Map<String, Part> parts = new LinkedHashMap<>();

  private MemoryParts() {}

  /** Those of a process; empty if they are a secret. */
  public static MemoryParts of(long pid) {
    MemoryParts made = new MemoryParts();
    String part = "";
    long rss = 0;
    for (String line : ProcFile.read(pid, "smaps").split("\n", -1)) {
      Matcher mapping = MAPPING.matcher(line);
      if (mapping.matches()) {
        part =
            part(
                Long.parseUnsignedLong(mapping.group(1), 16),
                Long.parseUnsignedLong(mapping.group(2), 16),
                mapping.group(3),
                mapping.group(4));
        continue;
      }
      Matcher figure = FIGURE.matcher(line);
      if (figure.matches()) {
        long kib = Long.parseLong(figure.group(2));
        if (figure.group(1).equals("Rss")) {
          rss = kib;
        } else {
          made.parts.merge(part, new Part(rss, kib), Part::plus);
        }
      }
    }
    return made;
  }

  private static String part(long from, long to, String access, String name) {
    if (name.endsWith(".aot")) {
      return "classes, from the AOT cache";
    }
    if (name.contains("liboutboard-kernel")) {
      return "the kernel's code";
    }
    if (name.contains(".so")) {
      return "the JVM's libraries, and libc";
    }
    if (name.startsWith("/memfd:")) {
      return "call slots";
    }
    if (!name.isEmpty() && name.charAt(0) == '/') {
      return "jars, and the JDK's modules";
    }
    if (access.indexOf('x') >= 0) {
      return "compiled code";
    }
    if (to - from >= KERNEL_BYTES && from >= LOW) {
      return "the kernel's memory";
    }
    return from < LOW && name.isEmpty() ? "Java heap, and classes" : "the JVM's own, stacks, libc";
  }

  /** One part a line. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    parts.forEach((name, part) ->
        text.append(
            String.format(
                Locale.ROOT,
                "  %-32s RSS %5.1f MiB, PSS %5.1f%n",
                name,
                part.rss / 1024.0,
                part.pss / 1024.0)));
    return text.toString();
  }
}
