// SPDX-License-Identifier: MIT
package dev.outboard.tests.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** NullAway checks what is marked: so every package of the product is. */
class NullnessTest {
  @Test
  void everyPackageIsNullMarked() throws IOException, InterruptedException {
    Set<Path> packages = new TreeSet<>();
    for (Path file : Sources.tracked()) {
      Path directory = file.getParent();
      if (file.toString().endsWith(".java")
          && directory != null
          && file.toString().contains("/src/main/java/")
          && !file.endsWith("module-info.java")) {
        packages.add(directory);
      }
    }
    assertThat(packages).hasSizeGreaterThan(8);
    for (Path directory : packages) {
      Path info = Sources.root().resolve(directory).resolve("package-info.java");
      assertThat(info).exists();
      assertThat(Files.readString(info)).contains("@NullMarked");
    }
  }
}
