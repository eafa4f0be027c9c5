// SPDX-License-Identifier: MIT
package dev.outboard.service;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where a process is among the control groups that share out CPU time: {@code cgroups(7)}.
 *
 * @param unified version 2, with one hierarchy for all controllers; else version 1's for CPU time
 * @param group the directory of the group that the process is in
 */
record Hierarchy(boolean unified, Path group) {
  private static final String CPU = "cpu";

  /**
   * @param memberships the lines of {@code /proc/PID/cgroup}
   * @param mounts those of {@code /proc/PID/mountinfo}
   * @throws NoControlGroups if the group is not to be seen
   */
  static Hierarchy find(List<String> memberships, List<String> mounts) throws NoControlGroups {
    String one = null;
    String two = null;
    for (String line : memberships) {
      // Number of the hierarchy, its controllers, the group.
      String[] parts = line.split(":", 3);
      if (parts.length == 3 && parts[0].equals("0") && parts[1].isEmpty()) {
        two = parts[2];
      } else if (parts.length == 3 && has(parts[1], CPU)) {
        one = parts[2];
      }
    }
    // A controller is in one hierarchy only, and version 2 has what no mount of version 1 has.
    boolean unified = one == null;
    String path = one == null ? two : one;
    if (path == null) {
      throw new NoControlGroups("this kernel has no control groups for CPU time");
    }
    for (String line : mounts) {
      Path directory = directory(line, unified, path);
      if (directory != null) {
        return new Hierarchy(unified, directory);
      }
    }
    throw new NoControlGroups(
        "no file system of control groups is mounted in which its own, " + path + ", can be seen");
  }

  /** The group's directory by a mount, null if it is not below that. */
  private static @Nullable Path directory(String mount, boolean unified, String path) {
    // ID, parent, device, root, mount point, options, more of them, "-", type, source, options.
    String[] halves = mount.split(" - ", 2);
    String[] first = halves[0].split(" ", -1);
    String[] second = halves.length < 2 ? new String[0] : halves[1].split(" ", -1);
    if (first.length < 6 || second.length < 3) {
      return null;
    }
    boolean right =
        unified ? second[0].equals("cgroup2") : second[0].equals("cgroup") && has(second[2], CPU);
    if (!right) {
      return null;
    }
    Path root = Path.of(plain(first[3]));
    Path group = Path.of(path);
    // What begins with /.. lies outside of what this process may see.
    if (!group.startsWith(root) || group.startsWith("/..")) {
      return null;
    }
    return Path.of(plain(first[4])).resolve(root.relativize(group)).normalize();
  }

  private static boolean has(String list, String word) {
    return Arrays.asList(list.split(",", -1)).contains(word);
  }

  /** As it was before the kernel has written some characters as octal numbers. */
  private static String plain(String text) {
    StringBuilder b = new StringBuilder();
    for (int i = 0; i < text.length(); i++) {
      if (text.startsWith("\\", i) && i + 4 <= text.length()) {
        b.append((char) Integer.parseInt(text.substring(i + 1, i + 4), 8));
        i += 3;
      } else {
        b.append(text.charAt(i));
      }
    }
    return b.toString();
  }
}
