// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** What {@code /proc} says about a process; a process that is gone has empty answers. */
public final class ProcFile {
  private ProcFile() {}

  /** The command line, words separated by spaces. */
  public static String commandLine(long pid) {
    return read(pid, "cmdline").replace('\0', ' ').strip();
  }

  /** The state letter of {@code /proc/PID/stat}, 'X' for a process that is gone. */
  public static char state(long pid) {
    String stat = read(pid, "stat");
    int name = stat.lastIndexOf(')');
    return name < 0 ? 'X' : stat.charAt(name + 2);
  }

  /** Whether the process runs, and is not a zombie. */
  public static boolean alive(long pid) {
    char state = state(pid);
    return state != 'X' && state != 'Z';
  }

  /** CPU time so far in seconds, to a hundredth; 0 if it is gone: {@code proc_pid_stat(5)}. */
  public static double cpuSeconds(long pid) {
    String stat = read(pid, "stat");
    // The name may hold anything; behind it the state is the first field.
    String[] fields = stat.substring(stat.lastIndexOf(')') + 1).strip().split(" ", -1);
    return fields.length < 13
        ? 0
        : (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / 100.0;
  }

  /** Memory that the process has in use (RSS), in KiB. */
  public static long residentKib(long pid) {
    return kib(read(pid, "status"), "VmRSS");
  }

  /** The same with pages that others use as well counted in parts (PSS); 0 if that is a secret. */
  public static long proportionalKib(long pid) {
    return kib(read(pid, "smaps_rollup"), "Pss");
  }

  private static long kib(String text, String name) {
    return text.lines()
        .filter(line -> line.startsWith(name + ":"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")))
        .findFirst()
        .orElse(0);
  }

  /** The number of open descriptors. */
  public static int descriptors(long pid) {
    return entries(pid, "fd").size();
  }

  /** The number of threads. */
  public static int threads(long pid) {
    return entries(pid, "task").size();
  }

  /** What each descriptor refers to, as {@code readlink} prints it. */
  public static List<String> descriptorTargets(long pid) {
    return entries(pid, "fd").stream()
        .map(fd -> {
          try {
            return fd.getFileName() + " -> " + Files.readSymbolicLink(fd);
          } catch (IOException e) {
            return fd.getFileName() + " -> gone";
          }
        })
        .toList();
  }

  /** The names of the process's threads. */
  public static List<String> threadNames(long pid) {
    return entries(pid, "task").stream()
        .map(t -> read(pid, "task/" + t.getFileName() + "/comm").strip())
        .sorted()
        .toList();
  }

  /** The text of {@code /proc/PID/NAME}. */
  public static String read(long pid, String name) {
    try {
      return new String(
          Files.readAllBytes(Path.of("/proc/" + pid + "/" + name)), StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      return "";
    }
  }

  private static List<Path> entries(long pid, String directory) {
    try (Stream<Path> list = Files.list(Path.of("/proc/" + pid + "/" + directory))) {
      return list.toList();
    } catch (IOException e) {
      return List.of();
    }
  }
}
