// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * {@code docs/commands.md} is what {@code --help} prints. After a change: {@code ./mvnw -pl cli -am
 * test -Dtest=DocumentationTest -Ddocs.update=true -Dsurefire.failIfNoSpecifiedTests=false}.
 */
class DocumentationTest {
  private static final Path FILE = root().resolve("docs/commands.md");

  private static Path root() {
    Path directory = Path.of("").toAbsolutePath();
    while (!Files.exists(directory.resolve("mvnw"))) {
      directory = java.util.Objects.requireNonNull(directory.getParent());
    }
    return directory;
  }

  private static String generated() {
    List<String> lines = new ArrayList<>();
    lines.add("# The commands");
    lines.add("");
    lines.add("<!-- Written by DocumentationTest from what --help prints; edit there. -->");
    List<Command> commands = new ArrayList<>();
    commands.add(new Outboard());
    commands.addAll(Commands.all());
    for (Command command : commands) {
      lines.add("");
      lines.add("## " + command.syntax().fullName());
      lines.add("");
      lines.add("```");
      lines.addAll(command.syntax().help());
      lines.add("```");
    }
    return String.join("\n", lines) + "\n";
  }

  @Test
  void theCommandsPageIsWhatHelpPrints() throws IOException {
    if (Boolean.getBoolean("docs.update")) {
      Files.writeString(FILE, generated());
    }
    assertThat(Files.readString(FILE)).isEqualTo(generated());
  }

  @Test
  void thePagesForUsersMentionEveryOption() throws IOException {
    StringBuilder pages = new StringBuilder(Files.readString(root().resolve("README.md")));
    try (var files = Files.newDirectoryStream(root().resolve("docs"), "*.md")) {
      for (Path file : files) {
        if (!file.equals(FILE)) {
          pages.append(Files.readString(file));
        }
      }
    }
    for (Command command : Commands.all()) {
      for (Option option : command.syntax().options()) {
        assertThat(pages.indexOf(option.name()))
            .as("where the pages for users mention " + option.name())
            .isNotNegative();
      }
    }
  }

  @Test
  void theVersionIsThePoms() throws IOException {
    assertThat(Files.readString(root().resolve("pom.xml")))
        .contains("<version>" + Versions.OUTBOARD + "</version>");
  }
}
