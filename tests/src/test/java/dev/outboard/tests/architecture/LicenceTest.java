// SPDX-License-Identifier: MIT
package dev.outboard.tests.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Each source file says under which licence it stands: the port of Linux GPL, all else MIT. */
class LicenceTest {
  private static final Path PORT = Path.of("kernel/src/main/linux");
  private static final String TAG = "SPDX-License-Identifier: ";
  private static final int LINES_LOOKED_AT = 3;

  @Test
  void everySourceFileNamesItsLicence() throws IOException, InterruptedException {
    List<String> wrong = new ArrayList<>();
    int checked = 0;
    for (Path file : Sources.tracked()) {
      if (!isSource(file)) {
        continue;
      }
      checked++;
      String licence = file.startsWith(PORT) ? "GPL-2.0-only" : "MIT";
      boolean named =
          Sources.read(file).lines().limit(LINES_LOOKED_AT).anyMatch(l -> names(l, licence));
      if (!named) {
        wrong.add(file + " lacks '" + TAG + licence + "'");
      }
    }
    assertThat(checked).as("files looked at").isGreaterThan(50);
    assertThat(wrong).isEmpty();
  }

  private static boolean names(String line, String licence) {
    int at = line.indexOf(TAG);
    return at >= 0
        && line.substring(at + TAG.length())
            .replace("-->", "")
            .replace("*/", "")
            .strip()
            .equals(licence);
  }

  /** Files that cannot have a comment, or are prose, need no header. */
  private static boolean isSource(Path file) {
    String name = file.getFileName().toString();
    return !name.startsWith("LICENSE")
        && !file.startsWith("LICENSES")
        && !file.startsWith(".mvn")
        // Bytes that a fuzzed test takes.
        && !file.toString().contains("FuzzInputs/")
        && !name.equals(".gitignore")
        && !name.equals(".gitkeep")
        && !name.endsWith(".md")
        && !name.endsWith(".json");
  }

  @Test
  void theTextsOfTheLicencesAreThere() throws IOException {
    assertThat(Sources.read(Path.of("LICENSE"))).contains("GPL-2.0-only", "MIT");
    assertThat(Sources.read(Path.of("LICENSES/GPL-2.0-only.txt")))
        .contains("GNU GENERAL PUBLIC LICENSE", "Version 2, June 1991");
  }
}
