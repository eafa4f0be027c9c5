// SPDX-License-Identifier: MIT
package dev.outboard.syscalls;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The paths that are a device's: those of its network, and those that it says. A path that matches
 * one of them, and all below, is the device's.
 *
 * <p>A pattern is an absolute path whose names may have {@code *} and {@code ?} in them, which do
 * not match a slash. Paths are bytes, as the kernel has them.
 *
 * <p>Immutable; any thread may call any method, and none allocates.
 */
public final class PathSet {
  /** What the network shows of itself, in the form that {@link #match} takes. */
  private static final List<String> NETWORK =
      List.of(
          "/proc/net",
          "/proc/self/net",
          "/proc/thread-self/net",
          "/proc/sys/net",
          "/sys/class/net",
          "/sys/devices/virtual/net",
          "/dev/net/tun");

  private final byte[][] patterns;
  private final byte[][] lastNames;

  private PathSet(byte[][] patterns, byte[][] lastNames) {
    this.patterns = patterns;
    this.lastNames = lastNames;
  }

  /** The network's paths and these patterns. */
  public static PathSet of(List<String> more) {
    List<byte[]> patterns = new ArrayList<>();
    List<byte[]> names = new ArrayList<>();
    List<String> all = new ArrayList<>(NETWORK);
    all.addAll(more);
    for (String pattern : all) {
      patterns.add(pattern.getBytes(StandardCharsets.UTF_8));
      String name = pattern.substring(pattern.lastIndexOf('/') + 1);
      names.add(name.getBytes(StandardCharsets.UTF_8));
    }
    return new PathSet(patterns.toArray(new byte[0][]), names.toArray(new byte[0][]));
  }

  /**
   * How many bytes of a path name what is the device's; the rest leads down from there.
   *
   * @param path absolute, without empty, {@code .} and {@code ..} names
   * @return -1 if the path is not the device's
   */
  public int match(byte[] path, int length) {
    for (byte[] pattern : patterns) {
      int end = match(pattern, path, length);
      if (end >= 0) {
        return end;
      }
    }
    return -1;
  }

  /** Whether a relative path may lead to one of the paths: it has the last name of a pattern. */
  public boolean mayLead(byte[] path, int length) {
    for (int start = 0; start < length; ) {
      int end = start;
      while (end < length && path[end] != '/') {
        end++;
      }
      for (byte[] name : lastNames) {
        if (name(name, 0, name.length, path, start, end)) {
          return true;
        }
      }
      start = end + 1;
    }
    return false;
  }

  /** The last name of each pattern, one of which {@link #mayLead} looks for. */
  public List<byte[]> lastNames() {
    return List.of(lastNames);
  }

  /** Whether a pattern's name may be more than one name of a path. */
  public static boolean isPattern(byte[] name) {
    for (byte b : name) {
      if (b == '*' || b == '?') {
        return true;
      }
    }
    return false;
  }

  /** Whether one of a path's names is {@code ..}. */
  public static boolean climbs(byte[] path, int length) {
    for (int i = 0; i + 1 < length; i++) {
      if (path[i] == '.'
          && path[i + 1] == '.'
          && (i == 0 || path[i - 1] == '/')
          && (i + 2 == length || path[i + 2] == '/')) {
        return true;
      }
    }
    return false;
  }

  /** Whether a path's names lead above where it starts, if only on their way. */
  public static boolean leaves(byte[] path, int length) {
    int depth = 0;
    for (int at = 0; at < length; at++) {
      int end = end(path, at, length);
      int bytes = end - at;
      if (bytes == 2 && path[at] == '.' && path[at + 1] == '.') {
        depth--;
      } else if (bytes > 1 || (bytes == 1 && path[at] != '.')) {
        depth++;
      }
      if (depth < 0) {
        return true;
      }
      at = end;
    }
    return false;
  }

  private static int match(byte[] pattern, byte[] path, int length) {
    int p = 0;
    int at = 0;
    while (p < pattern.length) {
      if (at >= length || path[at] != '/') {
        return -1;
      }
      int patternEnd = end(pattern, p + 1, pattern.length);
      int pathEnd = end(path, at + 1, length);
      if (!name(pattern, p + 1, patternEnd, path, at + 1, pathEnd)) {
        return -1;
      }
      p = patternEnd;
      at = pathEnd;
    }
    return at;
  }

  private static int end(byte[] path, int from, int length) {
    int i = from;
    while (i < length && path[i] != '/') {
      i++;
    }
    return i;
  }

  /** Matches one name; the usual way back to the last star keeps it linear in practice. */
  private static boolean name(byte[] pattern, int from, int to, byte[] path, int start, int end) {
    int p = from;
    int s = start;
    int star = -1;
    int resume = 0;
    while (s < end) {
      if (p < to && pattern[p] == '*') {
        star = p++;
        resume = s;
      } else if (p < to && (pattern[p] == '?' || pattern[p] == path[s])) {
        p++;
        s++;
      } else if (star >= 0) {
        p = star + 1;
        s = ++resume;
      } else {
        return false;
      }
    }
    while (p < to && pattern[p] == '*') {
      p++;
    }
    return p == to;
  }
}
