// SPDX-License-Identifier: MIT
package dev.outboard.hook;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A part of a process's memory that is code of a file which nobody writes to: private, and not
 * writable; a line of {@code /proc/PID/maps} (proc(5)).
 *
 * @param start its address
 * @param end the address behind it
 * @param offset in the file, in bytes, of what is at {@code start}
 * @param file device and inode
 */
record TextMapping(long start, long end, long offset, String file) {
  /** All of a process; none if it is gone. */
  static List<TextMapping> all(ProcessEntry p) {
    List<TextMapping> found = new ArrayList<>();
    try (Stream<String> lines = Files.lines(Path.of("/proc/" + p.pid() + "/maps"))) {
      lines.forEach(line -> {
        TextMapping m = text(line);
        if (m != null) {
          found.add(m);
        }
      });
    } catch (IOException | UncheckedIOException e) {
      return List.of();
    }
    return found;
  }

  /** The one that an address is in; null if that is in no such mapping, or the process is gone. */
  static @Nullable TextMapping of(ProcessEntry p, long address) {
    return all(p).stream().filter(m -> m.contains(address)).findFirst().orElse(null);
  }

  boolean contains(long address) {
    return Long.compareUnsigned(start, address) <= 0 && Long.compareUnsigned(address, end) < 0;
  }

  /** {@code start-end r-xp offset device inode path}, or null if it is no such line. */
  private static @Nullable TextMapping text(String line) {
    String[] words = line.split(" +", 6);
    if (!words[1].equals("r-xp") || words[4].equals("0")) {
      return null;
    }
    int dash = words[0].indexOf('-');
    return new TextMapping(
        Long.parseUnsignedLong(words[0], 0, dash, 16),
        Long.parseUnsignedLong(words[0], dash + 1, words[0].length(), 16),
        Long.parseLong(words[2], 16),
        words[3] + " " + words[4]);
  }
}
