// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What the {@code outboard} command has glibc do in this project's JVMs, and in nothing that they
 * start. Only the environment can say it: when a JVM runs its first line of Java, a dozen of its
 * threads have taken memory already. So the command puts its own part before whatever its caller
 * had in {@code GLIBC_TUNABLES}, names it by a system property, and it is taken out again here. See
 * {@code docs/adr/0077-two-arenas.md}.
 *
 * <p>Any thread.
 */
final class Tunables {
  /** System property with the part of the variable that is the command's. */
  static final String PROPERTY = "outboard.tunables";

  private static final byte[] VARIABLE = "GLIBC_TUNABLES=".getBytes(StandardCharsets.US_ASCII);

  private Tunables() {}

  /**
   * An environment as the command's caller had it.
   *
   * @param environ address of the environment, as {@code environ(7)} says, which need not be so
   * @param ours the command's part, or null if it has none
   * @param arena owns what is new of the result
   * @return the address of an environment; the same if there is nothing to take out
   */
  static long removedFrom(long environ, @Nullable String ours, Arena arena) {
    if (ours == null) {
      return environ;
    }
    MemorySegment all = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
    List<Long> kept = new ArrayList<>();
    boolean same = true;
    for (long at = environ; ; at += Long.BYTES) {
      long entry = all.get(ValueLayout.JAVA_LONG, at);
      if (entry == 0) {
        break;
      }
      long value = valueOf(all, entry);
      String text = value == 0 ? "" : all.getString(value, StandardCharsets.ISO_8859_1);
      if (text.equals(ours)) {
        same = false;
      } else if (text.startsWith(ours + ":")) {
        same = false;
        String rest = text.substring(ours.length() + 1);
        kept.add(
            arena
                .allocateFrom(
                    new String(VARIABLE, StandardCharsets.ISO_8859_1) + rest,
                    StandardCharsets.ISO_8859_1)
                .address());
      } else {
        kept.add(entry);
      }
    }
    if (same) {
      return environ;
    }
    MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG, kept.size() + 1L);
    for (int i = 0; i < kept.size(); i++) {
      result.setAtIndex(ValueLayout.JAVA_LONG, i, kept.get(i));
    }
    return result.address();
  }

  /** Where the value of an entry begins, or 0 if it is another variable's. */
  private static long valueOf(MemorySegment all, long entry) {
    // Byte by byte: an entry that is another's may be shorter.
    for (int i = 0; i < VARIABLE.length; i++) {
      if (all.get(ValueLayout.JAVA_BYTE, entry + i) != VARIABLE[i]) {
        return 0;
      }
    }
    return entry + VARIABLE.length;
  }
}
