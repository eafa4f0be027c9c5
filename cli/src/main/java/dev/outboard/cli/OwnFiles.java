// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Capabilities;
import dev.outboard.posix.Landlock;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Restriction;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The files of this program's own: what a JVM of it opens, whatever it is for. Immutable; any
 * thread.
 */
final class OwnFiles {
  private static final int WRITABLE = 2;

  /** Programs and libraries of the machine. */
  private static final List<String> SYSTEM =
      List.of("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin");

  /** What the C library and the JDK read of the machine's configuration; no secrets. */
  private static final List<String> CONFIGURATION =
      List.of(
          "/etc/ld.so.cache",
          "/etc/ld.so.preload",
          "/etc/nsswitch.conf",
          "/etc/passwd",
          "/etc/group",
          "/etc/hosts",
          "/etc/host.conf",
          "/etc/gai.conf",
          "/etc/resolv.conf",
          "/etc/localtime",
          "/etc/timezone",
          "/etc/ssl/certs",
          "/run/systemd/resolve");

  private static final List<String> DEVICES =
      List.of("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom");

  /** Options of a JVM that name a file. */
  private static final List<String> CACHES = List.of("-XX:AOTCache=", "-XX:SharedArchiveFile=");

  private final Set<Path> own;

  private OwnFiles(Set<Path> own) {
    this.own = own;
  }

  /** Those of this JVM and of the devices that it starts. */
  static OwnFiles ofThisProgram() {
    Set<Path> own = new LinkedHashSet<>();
    own.add(Path.of(System.getProperty("java.home")));
    for (String list :
        List.of(
            System.getProperty("jdk.module.path", ""), System.getProperty("java.class.path", ""))) {
      for (String part : list.split(":", -1)) {
        if (!part.isEmpty()) {
          own.add(Path.of(part).toAbsolutePath());
        }
      }
    }
    // Their directories, as they may be made anew while a service runs.
    Versions.libraryKernel().map(OwnFiles::directory).ifPresent(own::add);
    List<String> words = new ArrayList<>(EmbeddedDevice.prefix());
    try {
      words.addAll(RawArguments.split(Files.readAllBytes(Path.of("/proc/self/cmdline"))));
    } catch (IOException e) {
      // The devices' command has the same files.
    }
    for (String word : words) {
      for (String cache : CACHES) {
        if (word.startsWith(cache)) {
          own.add(directory(Path.of(word.substring(cache.length()))));
        }
      }
    }
    return new OwnFiles(own);
  }

  private static Path directory(Path file) {
    Path absolute = file.toAbsolutePath();
    Path parent = absolute.getParent();
    return parent == null ? absolute : parent;
  }

  /** All that may be opened by who needs nothing else. */
  Landlock landlock() {
    Landlock files = Landlock.nothing();
    for (String path : SYSTEM) {
      files = files.allow(Path.of(path), Landlock.RUN);
    }
    for (Path path : own) {
      files = files.allow(path, Landlock.RUN);
    }
    for (Path path : configurationOfJava()) {
      files = files.allow(path, Landlock.READ);
    }
    for (String path : CONFIGURATION) {
      files = files.allow(Path.of(path), Landlock.READ);
    }
    for (String path : DEVICES) {
      files = files.allow(Path.of(path), Landlock.WRITE);
    }
    // Of other processes they show what Landlock, too, keeps from being looked into.
    return files.allow(Path.of("/proc"), Landlock.READ).allow(Path.of("/sys"), Landlock.READ);
  }

  /** Distributions keep the JDK's files of configuration elsewhere, and links in their place. */
  private static List<Path> configurationOfJava() {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(Path.of("/etc"), "java*")) {
      entries.forEach(found::add);
    } catch (IOException e) {
      // Then there are none.
    }
    return found;
  }

  /**
   * What root has to keep to reach files as any other user, or as root of another tree: nothing, as
   * a rule.
   *
   * @param left what it keeps otherwise
   * @param read files and directories beside the program's own
   * @param written files, and directories of which entries are made and removed
   */
  Reach reach(long left, List<Path> read, List<Path> written) {
    @Nullable Path[] found = new @Nullable Path[2];
    // Of a thread that ends then: capabilities are each thread's own.
    Restriction without =
        new Restriction(left & ~(Capabilities.DAC_OVERRIDE | Capabilities.DAC_READ_SEARCH), null);
    without.inThread(() -> {
      List<Path> all = new ArrayList<>(read);
      own.forEach(path -> all.addAll(withEntries(path)));
      found[0] = unreachable(all, Fcntl.R_OK);
      found[1] = unreachable(written, WRITABLE);
    });
    return found[1] != null
        ? new Reach(Capabilities.DAC_OVERRIDE, "CAP_DAC_OVERRIDE", found[1])
        : found[0] != null
            ? new Reach(Capabilities.DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", found[0])
            : new Reach(0, "", null);
  }

  /**
   * A capability that is to be kept.
   *
   * @param capabilities 0: none
   * @param because what could not be reached without
   */
  record Reach(long capabilities, String name, @Nullable Path because) {}

  private static List<Path> withEntries(Path path) {
    List<Path> all = new ArrayList<>(List.of(path));
    // A directory of jars; the JDK's own are all alike.
    if (Files.isDirectory(path) && !path.equals(Path.of(System.getProperty("java.home")))) {
      try (DirectoryStream<Path> entries = Files.newDirectoryStream(path)) {
        entries.forEach(all::add);
      } catch (IOException e) {
        // It is one of them.
      }
    }
    return all;
  }

  private static @Nullable Path unreachable(List<Path> paths, int mode) {
    try (Arena arena = Arena.ofConfined()) {
      for (Path path : paths) {
        long r =
            Linux.syscall(
                SyscallNumbers.FACCESSAT2,
                Fcntl.AT_FDCWD,
                Linux.cString(arena, path.toString()).address(),
                mode,
                Fcntl.AT_EACCESS,
                0,
                0);
        if (r == -Errno.EACCES) {
          return path;
        }
      }
      return null;
    }
  }
}
