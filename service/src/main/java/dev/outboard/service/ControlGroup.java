// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.posix.Landlock;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Restriction;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A control group for one kernel's process and what that starts. Files and their units are those of
 * {@code Documentation/admin-guide/cgroup-v2.rst} and {@code
 * Documentation/scheduler/sched-bwc.rst}.
 *
 * <p>Any thread; {@link #close} once.
 */
final class ControlGroup implements AutoCloseable {
  /** Who has used up its part of this waits for the next: short, as calls wait for so long. */
  private static final long PERIOD_MICROS = 20_000;

  /** The kernel takes no less. */
  private static final long LEAST_QUOTA_MICROS = 1_000;

  private static final int ATTEMPTS = 40;
  private static final long ATTEMPT_MILLIS = 50;

  /** Enters the group, then becomes the command: no moment of it is spent outside. */
  private static final String ENTER =
      "echo 0 >\"$0\" || { echo \"outboard: control group $0 cannot be entered\" >&2; exit 125; };"
          + " exec \"$@\"";

  private final boolean unified;
  private final Path path;
  private final int lock;
  private final GroupFiles files;

  /**
   * @param lock the descriptor that is its directory's lock; owned by this object
   */
  ControlGroup(boolean unified, Path path, int lock, GroupFiles files) {
    this.unified = unified;
    this.path = path;
    this.lock = lock;
    this.files = files;
  }

  /**
   * What was used in it so far, by all that was ever in it.
   *
   * @param cpuNanos CPU time; -1 if it is not counted
   * @param throttledNanos how long it was kept from running by its limit
   */
  record Usage(long cpuNanos, long throttledNanos) {}

  /** Its directory. */
  Path path() {
    return path;
  }

  /** The command of a process that is in this group before it does anything else. */
  List<String> entering(List<String> command) {
    List<String> words = new ArrayList<>();
    words.addAll(List.of("/bin/sh", "-c", ENTER, path.resolve("cgroup.procs").toString()));
    words.addAll(command);
    return words;
  }

  /** What is left to such a process, which enters by a file of the group, and no other. */
  Restriction entered(Restriction left) {
    Landlock files = left.files();
    return files == null
        ? left
        : left.withFiles(files.allow(path.resolve("cgroup.procs"), Landlock.WRITE));
  }

  /**
   * Limits it from now on.
   *
   * @param percent of one processor
   */
  void limit(int percent) throws IOException {
    long period = Math.max(PERIOD_MICROS, Math.ceilDiv(LEAST_QUOTA_MICROS * 100, (long) percent));
    long quota = period * percent / 100;
    if (unified) {
      files.write(path.resolve("cpu.max"), quota + " " + period);
    } else {
      files.write(path.resolve("cpu.cfs_period_us"), Long.toString(period));
      files.write(path.resolve("cpu.cfs_quota_us"), Long.toString(quota));
    }
  }

  /** What was used. */
  Usage usage() {
    long cpu = -1;
    long throttled = 0;
    try {
      for (String line : files.read(path.resolve("cpu.stat")).lines().toList()) {
        String[] words = line.split(" ", -1);
        if (words.length == 2 && words[1].matches("[0-9]{1,18}")) {
          long number = Long.parseLong(words[1]);
          switch (words[0]) {
            case "usage_usec" -> cpu = number * 1000;
            case "throttled_usec" -> throttled = number * 1000;
            case "throttled_time" -> throttled = number;
            default -> {
              // Not asked for.
            }
          }
        }
      }
      if (cpu < 0) {
        // There if version 1 counts CPU time in the same hierarchy.
        String text = files.read(path.resolve("cpuacct.usage")).strip();
        cpu = text.matches("[0-9]{1,18}") ? Long.parseLong(text) : -1;
      }
    } catch (IOException e) {
      // It is about to go, or such things are not counted.
    }
    return new Usage(cpu, throttled);
  }

  /** Whether it could be removed; it cannot as long as a process is in it. */
  private boolean remove() {
    try {
      files.remove(path);
      return true;
    } catch (NoSuchFileException e) {
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /**
   * Removes it. What a kernel's process has started may end a moment later, and is waited for, two
   * seconds at most; what is left even then is for whoever next makes a group.
   */
  @Override
  public void close() {
    try {
      for (int i = 0; !remove() && i < ATTEMPTS; i++) {
        Thread.sleep(ATTEMPT_MILLIS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      Linux.close(lock);
    }
  }
}
