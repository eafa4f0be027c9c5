// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A program that is needed.
 *
 * @param program its name
 * @param debianPackage what to install to have it
 */
record Tool(String program, String debianPackage) {
  /** Where it is. Servers lie in {@code /usr/sbin}, which is not in everyone's PATH. */
  Optional<Path> find() {
    String path = System.getenv().getOrDefault("PATH", "/usr/local/bin:/usr/bin:/bin");
    return Stream.concat(Stream.of(path.split(":", -1)), Stream.of("/usr/sbin", "/sbin"))
        .filter(d -> !d.isEmpty())
        .map(d -> Path.of(d, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /** The word to start it with. */
  String path() {
    return find().map(Path::toString).orElse(program);
  }

  /** One sentence on those of {@code tools} that are not here, with the line that installs them. */
  static Optional<String> lacking(List<Tool> tools) {
    List<Tool> missing = tools.stream().filter(t -> t.find().isEmpty()).toList();
    if (missing.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        "not installed: "
            + missing.stream().map(Tool::program).collect(Collectors.joining(", "))
            + "; apt-get install "
            + missing.stream()
                .map(Tool::debianPackage)
                .distinct()
                .collect(Collectors.joining(" ")));
  }
}
