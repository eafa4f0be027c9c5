// SPDX-License-Identifier: MIT
package dev.outboard.cli;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Which versions of what are at work here. */
final class Versions {
  /** This product's. The build's number stands in the POM; a test compares the two. */
  static final String OUTBOARD = "0.1.0";

  /** How Linux names itself in its own image, {@code linux_banner} of {@code init/version.c}. */
  private static final byte[] BANNER = "Linux version ".getBytes(StandardCharsets.US_ASCII);

  private static final int RELEASE_BYTES_MAX = 65;

  private Versions() {}

  /** What {@code --version} prints. */
  static List<String> lines() {
    return List.of(
        "outboard " + OUTBOARD,
        "host kernel: Linux " + hostRelease(),
        "library kernel: "
            + libraryRelease().map(r -> "Linux " + r).orElse("not built (./outboard builds it)"),
        "Java: " + Runtime.version());
  }

  /** {@code uname -r} of the kernel that this process runs on. */
  static String hostRelease() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/osrelease")).strip();
    } catch (IOException e) {
      return System.getProperty("os.version", "unknown");
    }
  }

  /** The library kernel's shared object, if there is one. */
  static Optional<Path> libraryKernel() {
    String named = System.getProperty("outboard.kernel");
    @Nullable String path = named != null ? named : System.getenv("OUTBOARD_KERNEL");
    return Optional.ofNullable(path).map(Path::of).filter(Files::isReadable);
  }

  /** The library kernel's release, read from its image: booting it would take longer. */
  static Optional<String> libraryRelease() {
    return libraryKernel().flatMap(Versions::releaseIn);
  }

  private static Optional<String> releaseIn(Path image) {
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.READ);
        Arena arena = Arena.ofConfined()) {
      MemorySegment bytes = file.map(FileChannel.MapMode.READ_ONLY, 0, file.size(), arena);
      long at = indexOf(bytes, BANNER);
      if (at < 0) {
        return Optional.empty();
      }
      StringBuilder release = new StringBuilder();
      for (long i = at + BANNER.length; i < bytes.byteSize(); i++) {
        byte b = bytes.get(ValueLayout.JAVA_BYTE, i);
        if (b <= ' ' || release.length() == RELEASE_BYTES_MAX) {
          break;
        }
        release.append((char) b);
      }
      return Optional.of(release.toString());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /** Where {@code wanted} is followed by a digit, as a format string with the same words is not. */
  private static long indexOf(MemorySegment bytes, byte[] wanted) {
    long last = bytes.byteSize() - wanted.length - 1;
    for (long i = 0; i <= last; i++) {
      int j = 0;
      while (j < wanted.length && bytes.get(ValueLayout.JAVA_BYTE, i + j) == wanted[j]) {
        j++;
      }
      if (j == wanted.length
          && Character.isDigit(bytes.get(ValueLayout.JAVA_BYTE, i + wanted.length))) {
        return i;
      }
    }
    return -1;
  }
}
