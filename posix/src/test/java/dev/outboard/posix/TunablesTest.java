// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What the command has glibc do in its JVMs is not in the environment of what they start. */
class TunablesTest {
  private static final String OURS = "glibc.malloc.arena_max=2";

  private static List<String> environment(@Nullable String ours, String... entries) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment environ = arena.allocate(ValueLayout.JAVA_LONG, entries.length + 1L);
      for (int i = 0; i < entries.length; i++) {
        MemorySegment entry = arena.allocateFrom(entries[i], StandardCharsets.ISO_8859_1);
        environ.setAtIndex(ValueLayout.JAVA_LONG, i, entry.address());
      }
      long result = Tunables.removedFrom(environ.address(), ours, arena);
      MemorySegment all = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);
      List<String> found = new ArrayList<>();
      for (long at = result; all.get(ValueLayout.JAVA_LONG, at) != 0; at += Long.BYTES) {
        found.add(all.getString(all.get(ValueLayout.JAVA_LONG, at), StandardCharsets.ISO_8859_1));
      }
      return found;
    }
  }

  @Test
  void aCallerWithoutTheVariableHasNone() {
    assertThat(environment(OURS, "A=1", "GLIBC_TUNABLES=" + OURS, "B=\u00ff\u0080"))
        .containsExactly("A=1", "B=\u00ff\u0080");
  }

  @Test
  void aCallersOwnValueStaysByteForByte() {
    assertThat(environment(OURS, "GLIBC_TUNABLES=" + OURS + ":glibc.malloc.check=3\u00e9", "A=1"))
        .containsExactly("GLIBC_TUNABLES=glibc.malloc.check=3\u00e9", "A=1");
    assertThat(environment(OURS, "GLIBC_TUNABLES=" + OURS + ":"))
        .containsExactly("GLIBC_TUNABLES=");
    assertThat(environment(OURS, "GLIBC_TUNABLES=" + OURS + ":" + OURS))
        .containsExactly("GLIBC_TUNABLES=" + OURS);
  }

  @Test
  void whatIsNotOursIsLeft() {
    String[] others = {
      "",
      "G",
      "GLIBC_TUNABLES",
      "GLIBC_TUNABLES=",
      "GLIBC_TUNABLES2=" + OURS,
      "GLIBC_TUNABLES=" + OURS + "4",
      "XGLIBC_TUNABLES=" + OURS
    };
    assertThat(environment(OURS, others)).containsExactly(others);
    assertThat(environment(null, "GLIBC_TUNABLES=" + OURS))
        .containsExactly("GLIBC_TUNABLES=" + OURS);
    assertThat(environment(OURS)).isEmpty();
  }
}
