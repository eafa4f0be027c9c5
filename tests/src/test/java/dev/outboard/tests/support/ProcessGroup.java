// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * A control group that holds every process of one trial, whatever it does to leave: fork, setsid,
 * an environment overwritten or a parent that dies. Without the right to make control groups (no
 * root) nothing is held, and a trial can only vouch for the commands that it started itself.
 */
final class ProcessGroup implements AutoCloseable {
  private final Optional<Path> directory;

  private ProcessGroup(Optional<Path> directory) {
    this.directory = directory;
  }

  /** Makes the group {@code name}. */
  static ProcessGroup create(String name) {
    Optional<Path> root = hierarchy();
    if (root.isEmpty()) {
      return new ProcessGroup(root);
    }
    try {
      return new ProcessGroup(Optional.of(Files.createDirectory(root.get().resolve(name))));
    } catch (IOException e) {
      return new ProcessGroup(Optional.empty());
    }
  }

  private static Optional<Path> hierarchy() {
    try {
      return Files.readAllLines(Path.of("/proc/self/mounts")).stream()
          .map(line -> line.split(" ", -1))
          .filter(fields -> fields.length > 2 && fields[2].equals("cgroup2"))
          .map(fields -> Path.of(fields[1]))
          .filter(Files::isWritable)
          .findFirst();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** The words that put a command into the group before it starts. */
  List<String> entering() {
    return directory
        .map(d ->
            List.of("/bin/sh", "-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"", d.toString()))
        .orElse(List.of());
  }

  /** The processes in the group now; zombies are not counted. */
  List<Long> members() {
    return directory
        .map(d -> {
          try {
            return Files.readAllLines(d.resolve("cgroup.procs")).stream()
                .map(Long::valueOf)
                .filter(pid -> ProcFile.state(pid) != 'Z')
                .toList();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        })
        .orElse(List.of());
  }

  /** Ends all that is left, and the group. */
  @Override
  public void close() {
    directory.ifPresent(d -> {
      try {
        Files.writeString(d.resolve("cgroup.kill"), "1");
        Eventually.require(
            Duration.ofSeconds(10),
            () -> "processes " + members() + " did not end when killed",
            () -> members().isEmpty());
        Eventually.require(
            Duration.ofSeconds(5), () -> d + " could not be removed", () -> removed(d));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
  }

  private static boolean removed(Path d) {
    try {
      Files.deleteIfExists(d);
      return true;
    } catch (IOException e) {
      return false;
    }
  }
}
