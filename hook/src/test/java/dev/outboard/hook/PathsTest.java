// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.syscalls.PathSet;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** The names by which the shim tells paths that are certainly the host's. */
class PathsTest {
  private static final int PATHS = 200_000;
  private static final String[] NAMES = {
    "..", ".", "", "srv", "www", "data", "net", "proc", "self", "dev", "tun", "sys", "class", "fd",
    "usr", "w", "ww", "wwww", "1", "stdin", "x"
  };

  private static List<String> names(String... patterns) {
    return Objects.requireNonNull(
            Paths.namesOf(PathSet.of(List.of(patterns)), ShimTable.NAMES_BYTES))
        .stream()
        .map(name -> new String(name, StandardCharsets.UTF_8))
        .toList();
  }

  @Test
  void whateverIsTheDevicesHasANameOfTheList() {
    long seed = Long.getLong("tests.seed", System.nanoTime());
    System.out.println("-Dtests.seed=" + seed);
    SplittableRandom random = new SplittableRandom(seed);
    PathSet set = PathSet.of(List.of("/srv/www", "/data", "/usr/x/w"));
    List<String> listed = names("/srv/www", "/data", "/usr/x/w");
    int devices = 0;
    for (int i = 0; i < PATHS; i++) {
      StringBuilder text = new StringBuilder();
      int count = 1 + random.nextInt(7);
      for (int k = 0; k < count; k++) {
        text.append('/').append(NAMES[random.nextInt(NAMES.length)]);
      }
      byte[] path = text.toString().getBytes(StandardCharsets.UTF_8);
      byte[] to = new byte[256];
      int length = Paths.normalize(path, path.length, to, 0, 0);
      if (set.match(to, Paths.bare(to, length)) >= 0) {
        devices++;
        assertThat(Arrays.asList(text.toString().split("/", -1)))
            .as("names of %s", text)
            .containsAnyElementsOf(listed);
      }
    }
    assertThat(devices).isGreaterThan(PATHS / 100);
  }

  @Test
  void pathsAreMadeShorterButKeepWhatTheirEndsMean() {
    assertThat(normalized("/srv/www/", "")).isEqualTo("/srv/www/");
    assertThat(normalized("/srv//./www/..", "")).isEqualTo("/srv/");
    assertThat(normalized("/srv/www/.", "")).isEqualTo("/srv/www/.");
    assertThat(normalized("/srv/www/./", "")).isEqualTo("/srv/www/.");
    assertThat(normalized("/srv/./www", "")).isEqualTo("/srv/www");
    assertThat(normalized("/.", "")).isEqualTo("/");
    assertThat(normalized(".", "/srv")).isEqualTo("/srv/.");
    assertThat(normalized("a", "/srv")).isEqualTo("/srv/a");
    byte[] dot = ascii("/srv/.");
    assertThat(Paths.bare(dot, dot.length)).isEqualTo("/srv".length());
    assertThat(Paths.bare(ascii("/."), 2)).isEqualTo(2);
  }

  private static String normalized(String path, String base) {
    byte[] to = Arrays.copyOf(ascii(base), 64);
    int length = Paths.normalize(ascii(path), path.length(), to, base.length(), 0);
    return new String(to, 0, length, StandardCharsets.US_ASCII);
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  @Test
  void descriptorsAndTheResolversFileAreOnTheList() {
    assertThat(names())
        .contains("net", "tun", "fd", "stdin", "stdout", "stderr", "resolv.conf")
        .doesNotContain("proc", "dev", "etc");
    assertThat(names("/srv/www")).contains("www").doesNotContain("srv");
  }

  @Test
  void whereNamesSayTooLittleThereIsNoList() {
    for (String pattern : List.of("/srv/w*", "/srv/w?w", "/", "/srv/" + "w".repeat(64))) {
      assertThat(Paths.namesOf(PathSet.of(List.of(pattern)), ShimTable.NAMES_BYTES))
          .as(pattern)
          .isNull();
    }
    assertThat(Paths.namesOf(PathSet.of(List.of("/srv/www")), 20)).isNull();
  }
}
