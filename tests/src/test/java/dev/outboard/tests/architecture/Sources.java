// SPDX-License-Identifier: MIT
package dev.outboard.tests.architecture;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The files of the repository. */
final class Sources {
  private Sources() {}

  /** The repository's root. */
  static Path root() {
    Path directory = Path.of("").toAbsolutePath();
    while (!Files.exists(directory.resolve("mvnw"))) {
      Path parent = directory.getParent();
      if (parent == null) {
        throw new IllegalStateException(
            "not below the repository's root: " + Path.of("").toAbsolutePath());
      }
      directory = parent;
    }
    return directory;
  }

  /** All tracked files that exist, relative to the root. */
  static List<Path> tracked() throws IOException, InterruptedException {
    Process git =
        new ProcessBuilder("git", "-c", "safe.directory=*", "ls-files", "-z")
            .directory(root().toFile())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String names = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (git.waitFor() != 0) {
      throw new IOException("git ls-files failed");
    }
    return Stream.of(names.split("\0"))
        .map(Path::of)
        .filter(p -> Files.isRegularFile(root().resolve(p)))
        .toList();
  }

  static String read(Path relative) throws IOException {
    return Files.readString(root().resolve(relative), StandardCharsets.UTF_8);
  }
}
