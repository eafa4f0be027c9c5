// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Fcntl;
import dev.outboard.posix.Linux;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Keeps the descriptors of this JVM from the program, which is to have those that the user gave it
 * and no others. Java's libraries open some without close-on-exec: the first use of a file channel,
 * which may be before {@code main}, makes a socket, for instance.
 */
final class OwnDescriptors {
  private static final int LAST_STANDARD = 2;
  private static final Path ANY_FILE = Path.of("/proc/self/comm");

  private final Set<String> inherited;

  private OwnDescriptors(Set<String> inherited) {
    this.inherited = inherited;
  }

  /**
   * Finds out what this process was given: the front says so; without a front, it is what is open
   * now but for what the JVM maps, so this is to be called before anything is opened.
   */
  static OwnDescriptors find() {
    String given = System.getProperty("outboard.front.inherited");
    return new OwnDescriptors(
        given == null ? openButNotMapped() : Set.copyOf(Arrays.asList(given.split(",", -1))));
  }

  /** The JVM's own files, its jars among them, are mapped. */
  private static Set<String> openButNotMapped() {
    Set<String> fds = new HashSet<>(open());
    try {
      String maps = Files.readString(Path.of("/proc/self/maps"));
      fds.removeIf(
          fd -> Integer.parseInt(fd) > LAST_STANDARD && maps.contains(" " + target(fd) + "\n"));
    } catch (IOException e) {
      // Then some of them are the program's, too.
    }
    return fds;
  }

  /** The path of an open file; not a path if it has none. */
  private static String target(String fd) {
    try {
      return Files.readSymbolicLink(Path.of("/proc/self/fd", fd)).toString();
    } catch (IOException e) {
      // The one that listed the directory is closed by now.
      return "?";
    }
  }

  /** Makes all others close-on-exec. */
  void keep() {
    openJars();
    try {
      // The last that opens one: the hook reads files, too.
      Files.readString(ANY_FILE);
    } catch (IOException e) {
      // Then it makes none.
    }
    for (String fd : open()) {
      if (!inherited.contains(fd)) {
        Linux.fcntl(Integer.parseInt(fd), Fcntl.F_SETFD, Fcntl.FD_CLOEXEC);
      }
    }
  }

  /**
   * Opens each jar that a class may yet come from, as its first class would: a jar that is opened
   * while the program starts would be the program's, too.
   */
  private static void openJars() {
    for (Module m : ModuleLayer.boot().modules()) {
      if (m.getName().startsWith("dev.outboard.")) {
        try {
          InputStream in = m.getResourceAsStream("module-info.class");
          if (in != null) {
            in.close();
          }
        } catch (IOException e) {
          // Then no class comes from it either.
        }
      }
    }
  }

  private static List<String> open() {
    String[] names = new File("/proc/self/fd").list();
    return names == null ? List.of() : List.of(names);
  }
}
