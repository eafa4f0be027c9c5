// SPDX-License-Identifier: MIT
package dev.outboard.service;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A directory that behaves as the kernel's control groups do, as far as a service uses them: which
 * files a group has, who may be where, and what may be written.
 */
final class KernelGroups extends GroupFiles {
  /** The process that writes. */
  static final String SELF = "4711";

  private static final String TYPE = "cgroup.type";

  private final boolean unified;
  private final Path root;
  private final boolean realRoot;

  /** Whether a kernel of version 1 was built to limit groups. */
  boolean bandwidth = true;

  /** Every write fails like this, if it is not empty. */
  String refusal = "";

  /**
   * @param root an empty directory: the group in which everything happens
   * @param realRoot it is the machine's root, for which version 2 has a rule less
   */
  KernelGroups(boolean unified, Path root, boolean realRoot, String... processes)
      throws IOException {
    this.unified = unified;
    this.root = root;
    this.realRoot = realRoot;
    fill(root, "cpu memory pids");
    if (realRoot) {
      Files.deleteIfExists(root.resolve(TYPE));
    }
    put(root, "cgroup.procs", lines(List.of(processes)));
  }

  private void fill(Path group, String controllers) throws IOException {
    Map<String, String> files = new TreeMap<>();
    files.put("cgroup.procs", "");
    if (unified) {
      files.put("cgroup.controllers", controllers + "\n");
      files.put("cgroup.subtree_control", "\n");
      files.put(TYPE, "domain\n");
      files.put("cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n");
      if (List.of(controllers.split(" ", -1)).contains("cpu")) {
        files.put("cpu.max", "max 100000\n");
        files.put("cpu.weight", "100\n");
      }
    } else {
      files.put("tasks", "");
      files.put("cpu.shares", "1024\n");
      if (bandwidth) {
        files.put("cpu.cfs_period_us", "100000\n");
        files.put("cpu.cfs_quota_us", "-1\n");
      }
      files.put("cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n");
    }
    for (Map.Entry<String, String> file : files.entrySet()) {
      put(group, file.getKey(), file.getValue());
    }
  }

  /** What the kernel itself writes. */
  static void put(Path group, String file, String text) throws IOException {
    Files.writeString(group.resolve(file), text);
  }

  private static String lines(List<String> words) {
    StringBuilder b = new StringBuilder();
    words.forEach(word -> b.append(word).append('\n'));
    return b.toString();
  }

  /** The processes in a group. */
  static List<String> processes(Path group) throws IOException {
    return Files.readAllLines(group.resolve("cgroup.procs"));
  }

  private static FileSystemException error(Path file, String reason) {
    return new FileSystemException(file.toString(), null, reason);
  }

  @Override
  void make(Path group) throws IOException {
    if (!refusal.isEmpty()) {
      throw error(group, refusal);
    }
    super.make(group);
    String handedOn =
        unified ? Files.readString(group.resolveSibling("cgroup.subtree_control")).strip() : "";
    fill(group, handedOn);
    if (unified) {
      setTypes(group.resolveSibling(""));
    }
  }

  /**
   * A group other than the root that hands CPU time on and has processes does so for groups of
   * threads: {@code cgroup_vet_subtree_control_enable} in {@code kernel/cgroup/cgroup.c}.
   */
  private void setTypes(Path group) throws IOException {
    boolean threads =
        !realRoot
            && !Files.readString(group.resolve("cgroup.subtree_control")).isBlank()
            && !processes(group).isEmpty();
    for (Path child : groups(group)) {
      put(child, TYPE, threads ? "domain invalid\n" : "domain\n");
    }
  }

  private boolean hasPopulatedGroups(Path group) throws IOException {
    for (Path child : groups(group)) {
      if (!processes(child).isEmpty()) {
        return true;
      }
    }
    return false;
  }

  @Override
  void remove(Path group) throws IOException {
    if (!Files.exists(group)) {
      throw new NoSuchFileException(group.toString());
    }
    if (!processes(group).isEmpty() || !groups(group).isEmpty()) {
      throw error(group, "Device or resource busy");
    }
    try (Stream<Path> files = Files.list(group)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    super.remove(group);
  }

  @Override
  void write(Path file, String text) throws IOException {
    if (!refusal.isEmpty()) {
      throw error(file, refusal);
    }
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString());
    }
    Path group = file.resolveSibling("");
    switch (file.getFileName().toString()) {
      case "cgroup.procs" -> move(group, text.equals("0") ? SELF : text);
      case "cgroup.subtree_control" -> handOn(file, group, text);
      case "cpu.max" -> {
        String[] numbers = text.split(" ", -1);
        check(file, Long.parseLong(numbers[0]));
        check(file, Long.parseLong(numbers[1]));
        Files.writeString(file, text + "\n");
      }
      case "cpu.cfs_period_us", "cpu.cfs_quota_us" -> {
        check(file, Long.parseLong(text));
        Files.writeString(file, text + "\n");
      }
      default -> throw error(file, "Invalid argument");
    }
  }

  /** A period is of 1 ms to 1 s, a quota not below 1 ms. */
  private static void check(Path file, long micros) throws IOException {
    boolean period = file.getFileName().toString().equals("cpu.cfs_period_us");
    if (micros < 1000 || (period && micros > 1_000_000)) {
      throw error(file, "Invalid argument");
    }
  }

  private void move(Path to, String process) throws IOException {
    if (unified
        && !(to.equals(root) && realRoot)
        && !Files.readString(to.resolve("cgroup.subtree_control")).isBlank()
        && hasPopulatedGroups(to)) {
      throw error(to, "Device or resource busy");
    }
    if (unified
        && Files.exists(to.resolve(TYPE))
        && !Files.readString(to.resolve(TYPE)).equals("domain\n")) {
      throw error(to, "Operation not supported");
    }
    List<Path> all = new ArrayList<>(groups(root));
    all.add(root);
    for (Path group : all) {
      List<String> there = new ArrayList<>(processes(group));
      there.remove(process);
      if (group.equals(to)) {
        there.add(process);
      }
      put(group, "cgroup.procs", lines(there));
    }
    if (unified) {
      setTypes(root);
    }
  }

  private void handOn(Path file, Path group, String text) throws IOException {
    if (text.equals("-cpu")) {
      Files.writeString(file, "\n");
      setTypes(group);
      return;
    }
    if (!text.equals("+cpu")
        || !Files.readString(group.resolve("cgroup.controllers")).contains("cpu")) {
      throw error(file, "No such file or directory");
    }
    if (!processes(group).isEmpty() && !realRoot && hasPopulatedGroups(group)) {
      throw error(file, "Device or resource busy");
    }
    Files.writeString(file, "cpu\n");
    for (Path child : groups(group)) {
      put(child, "cgroup.controllers", "cpu\n");
      put(child, "cpu.max", "max 100000\n");
    }
    setTypes(group);
  }
}
