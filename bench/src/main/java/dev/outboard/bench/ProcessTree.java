// SPDX-License-Identifier: MIT
package dev.outboard.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A process and its descendants at one moment, from {@code /proc} (proc_pid_stat(5)). */
final class ProcessTree {
  /** Linux's USER_HZ, the unit of times in {@code /proc}: 100 on x86-64 whatever CONFIG_HZ is. */
  static final double TICKS_PER_SECOND = 100;

  private static final int PARENT = 1;
  private static final int OWN_TICKS = 11;
  private static final int CHILDREN_TICKS = 13;

  /**
   * One process.
   *
   * @param command its command line, words separated by blanks
   * @param ownSeconds CPU of all its threads, also of those that have ended
   * @param reapedSeconds CPU of its children that have ended and were waited for, and of theirs
   */
  record Node(int pid, int parent, String command, double ownSeconds, double reapedSeconds) {}

  private final Map<Integer, Node> nodes;

  private ProcessTree(Map<Integer, Node> nodes) {
    this.nodes = nodes;
  }

  /** A tree of these, the root first; for tests. */
  static ProcessTree of(List<Node> nodes) {
    Map<Integer, Node> map = new LinkedHashMap<>();
    nodes.forEach(n -> map.put(n.pid, n));
    return new ProcessTree(map);
  }

  /** What {@code root} consists of now; empty if it has ended. */
  static ProcessTree below(long root) {
    Map<Integer, List<Node>> children = new LinkedHashMap<>();
    Node first = null;
    try (DirectoryStream<Path> all = Files.newDirectoryStream(Path.of("/proc"), "[1-9]*")) {
      for (Path directory : all) {
        Node n = read(directory);
        if (n == null) {
          continue;
        }
        children.computeIfAbsent(n.parent, p -> new ArrayList<>()).add(n);
        if (n.pid == root) {
          first = n;
        }
      }
    } catch (IOException e) {
      throw new IllegalStateException("/proc cannot be read", e);
    }
    Map<Integer, Node> found = new LinkedHashMap<>();
    Deque<Node> left = new ArrayDeque<>();
    if (first != null) {
      left.add(first);
    }
    while (!left.isEmpty()) {
      Node n = left.remove();
      found.put(n.pid, n);
      left.addAll(children.getOrDefault(n.pid, List.of()));
    }
    return new ProcessTree(found);
  }

  private static @Nullable Node read(Path directory) {
    try {
      String stat = Files.readString(directory.resolve("stat"), StandardCharsets.ISO_8859_1);
      String command =
          Files.readString(directory.resolve("cmdline"), StandardCharsets.ISO_8859_1)
              .replace('\0', ' ');
      return parse(stat, command);
    } catch (IOException e) {
      // It ended meanwhile.
      return null;
    }
  }

  /** A process from the contents of its {@code stat} and its command line. */
  static Node parse(String stat, String command) {
    // The name, in parentheses, may hold anything; the fields after it are counted from 3.
    int open = stat.indexOf('(');
    String[] f = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
    return new Node(
        Integer.parseInt(stat.substring(0, open).strip()),
        Integer.parseInt(f[PARENT]),
        command,
        (Long.parseLong(f[OWN_TICKS]) + Long.parseLong(f[OWN_TICKS + 1])) / TICKS_PER_SECOND,
        (Long.parseLong(f[CHILDREN_TICKS]) + Long.parseLong(f[CHILDREN_TICKS + 1]))
            / TICKS_PER_SECOND);
  }

  /** All of it, parents before children. */
  List<Node> all() {
    return List.copyOf(nodes.values());
  }

  /** The parent, if it is in this tree. */
  @Nullable Node parent(Node n) {
    return nodes.get(n.parent);
  }

  /** Whether that is the process whose tree this is. */
  boolean isRoot(Node n) {
    return parent(n) == null;
  }
}
