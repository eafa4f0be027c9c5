// SPDX-License-Identifier: MIT
package dev.outboard.service;

import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Control groups of this process's own: one for each kernel, beside each other in the group that
 * this process is in. So each counts as much as another, and none gets more by more threads.
 *
 * <p>In version 2 a group that hands CPU time on to groups in it may have no processes itself, but
 * for the machine's own root: then this process moves into one of its own, beside the others. That
 * takes a group with no other process: a systemd unit that has {@code Delegate=cpu}.
 *
 * <p>Each group's directory is locked as long as its owner lives. Those that nobody has locked were
 * left behind by a service that was killed; they are removed by the next that makes groups here, as
 * soon as no process is left in them. Any thread; {@link #close} once.
 */
final class ControlGroups implements AutoCloseable {
  private static final Path SELF_GROUPS = Path.of("/proc/self/cgroup");
  private static final Path SELF_MOUNTS = Path.of("/proc/self/mountinfo");

  private static final String PREFIX = "outboard-";
  private static final Pattern OURS = Pattern.compile(PREFIX + "[0-9]+-[0-9a-z-]+");
  private static final int ATTEMPTS = 8;

  private static final String PROCESSES = "cgroup.procs";
  private static final String AVAILABLE = "cgroup.controllers";
  private static final String HANDED_ON = "cgroup.subtree_control";

  private static final String CPU = "cpu";
  private static final String HAND_ON = "+cpu";
  private static final String TAKE_BACK = "-cpu";

  /** To whoever writes it: itself, in version 1 and 2. */
  private static final String MYSELF = "0";

  private final Hierarchy hierarchy;
  private final GroupFiles files;

  /** Where this process has moved to; null if it is where it was. */
  private @Nullable ControlGroup mine;

  private ControlGroups(Hierarchy hierarchy, GroupFiles files) {
    this.hierarchy = hierarchy;
    this.files = files;
  }

  /**
   * Finds out where groups can be made, and moves this process if that is necessary.
   *
   * @throws NoControlGroups if there is no such place; nothing is changed then
   */
  static ControlGroups open() throws NoControlGroups {
    return open(hierarchy(), new GroupFiles());
  }

  static ControlGroups open(Hierarchy hierarchy, GroupFiles files) throws NoControlGroups {
    ControlGroups groups = new ControlGroups(hierarchy, files);
    try {
      groups.removeStale();
    } catch (IOException e) {
      throw new NoControlGroups(hierarchy.group() + ": " + GroupFiles.reason(e));
    }
    if (hierarchy.unified()) {
      groups.handOn();
    }
    try {
      groups.make("probe").close();
    } catch (IOException e) {
      groups.close();
      throw new NoControlGroups(
          "no group can be made in " + hierarchy.group() + ": " + GroupFiles.reason(e));
    }
    return groups;
  }

  /**
   * What {@link #open} would find, as far as can be told by looking.
   *
   * @return the directory in which groups would be made
   * @throws NoControlGroups if none would be
   */
  static Path look() throws NoControlGroups {
    Hierarchy hierarchy = hierarchy();
    Path group = hierarchy.group();
    if (!Files.isWritable(group) || !Files.isWritable(group.resolve(PROCESSES))) {
      throw new NoControlGroups(group + " cannot be written to");
    }
    if (hierarchy.unified()) {
      GroupFiles files = new GroupFiles();
      try {
        if (!has(files.read(group.resolve(HANDED_ON)), CPU)
            && !has(files.read(group.resolve(AVAILABLE)), CPU)) {
          throw new NoControlGroups(lacksController(group));
        }
      } catch (IOException e) {
        throw new NoControlGroups(group + ": " + GroupFiles.reason(e));
      }
    }
    return group;
  }

  private static Hierarchy hierarchy() throws NoControlGroups {
    List<String> memberships;
    List<String> mounts;
    try {
      memberships = Files.readAllLines(SELF_GROUPS);
      mounts = Files.readAllLines(SELF_MOUNTS);
    } catch (IOException e) {
      throw new NoControlGroups("this kernel says nothing of control groups");
    }
    return Hierarchy.find(memberships, mounts);
  }

  /** The directory in which groups are made. */
  Path directory() {
    return hierarchy.group();
  }

  /**
   * Makes a group, the caller's, with nothing in it.
   *
   * @param name letters, digits, dashes; its own in this process
   */
  ControlGroup make(String name) throws IOException {
    removeStale();
    String full = PREFIX + Processes.getpid() + "-" + name;
    for (int i = 0; i < ATTEMPTS; i++) {
      Path path = directory().resolve(i == 0 ? full : full + "-" + i);
      try {
        files.make(path);
      } catch (FileAlreadyExistsException e) {
        // Of a process that had this one's number, or has it elsewhere.
        continue;
      }
      int lock = files.lock(path);
      // Before it was locked, another service may have taken it for one that was left behind.
      if (lock >= 0 && Files.isDirectory(path)) {
        return new ControlGroup(hierarchy.unified(), path, lock, files);
      }
      if (lock >= 0) {
        Linux.close(lock);
      }
    }
    throw new IOException(full + " and other names are taken");
  }

  /**
   * Finds out whether groups can be limited here.
   *
   * @throws NoControlGroups if they cannot
   */
  void requireLimit(int percent) throws NoControlGroups {
    try (ControlGroup group = make("probe")) {
      group.limit(percent);
    } catch (IOException e) {
      throw new NoControlGroups(
          "groups in " + directory() + " cannot be limited: " + GroupFiles.reason(e));
    }
  }

  /** Removes what services left behind that are no more. */
  private void removeStale() throws IOException {
    for (Path group : files.groups(directory())) {
      if (OURS.matcher(group.getFileName().toString()).matches()) {
        int lock = files.lock(group);
        if (lock >= 0) {
          try {
            files.remove(group);
          } catch (IOException e) {
            // Sessions outlive a service that is killed; it can be removed once they have ended.
          }
          Linux.close(lock);
        }
      }
    }
  }

  /** Has the groups in this process's own share out CPU time. */
  private void handOn() throws NoControlGroups {
    Path group = directory();
    boolean root = isRoot(group);
    boolean had;
    try {
      had = has(files.read(group.resolve(HANDED_ON)), CPU);
      if (had && root) {
        return;
      }
      if (!had && !has(files.read(group.resolve(AVAILABLE)), CPU)) {
        throw new NoControlGroups(lacksController(group));
      }
    } catch (IOException e) {
      throw new NoControlGroups(group + ": " + GroupFiles.reason(e));
    }
    try {
      if (!root) {
        // As long as a process is in it, the kernel would hand CPU time on all the same, but to
        // groups of threads: none of those in it could be entered by a process.
        if (had) {
          files.write(group.resolve(HANDED_ON), TAKE_BACK);
        }
        mine = make("service");
        files.write(mine.path().resolve(PROCESSES), MYSELF);
      }
    } catch (IOException e) {
      giveUp(had);
      throw new NoControlGroups("no group can be made in " + group + ": " + GroupFiles.reason(e));
    }
    try {
      files.write(group.resolve(HANDED_ON), HAND_ON);
    } catch (IOException e) {
      giveUp(had);
      throw new NoControlGroups(
          group
              + " cannot hand CPU time on to groups in it ("
              + GroupFiles.reason(e)
              + (root ? ")" : "): other processes are in it, too"));
    }
  }

  /** Leaves everything as it was found. */
  private void giveUp(boolean had) {
    close();
    if (had) {
      try {
        files.write(directory().resolve(HANDED_ON), HAND_ON);
      } catch (IOException e) {
        // Nor could it be taken back.
      }
    }
  }

  /** Whether it is the machine's own root, which alone has no type. */
  private boolean isRoot(Path group) {
    try {
      files.read(group.resolve("cgroup.type"));
      return false;
    } catch (IOException e) {
      return e instanceof NoSuchFileException;
    }
  }

  private static String lacksController(Path group) {
    return group + " is not given the cpu controller";
  }

  private static boolean has(String list, String word) {
    return Arrays.asList(list.strip().split("\\s+", -1)).contains(word);
  }

  /** Moves this process back. The groups of kernels are their owners' to close. */
  @Override
  public void close() {
    ControlGroup own = mine;
    if (own != null) {
      mine = null;
      try {
        if (has(files.read(directory().resolve(HANDED_ON)), CPU)) {
          files.write(directory().resolve(HANDED_ON), TAKE_BACK);
        }
        files.write(directory().resolve(PROCESSES), MYSELF);
      } catch (IOException e) {
        // It stays where it is, and systemd, or the next service, removes the group.
      }
      own.close();
    }
  }
}
