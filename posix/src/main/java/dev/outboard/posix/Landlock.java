// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Which files may be opened, made, removed: all that is not said here is refused with EACCES. What
 * is open already may be used. A rule is about a file, or a directory and all below it, and follows
 * the file when that is renamed: another one in its place is another file.
 *
 * <p>A value; any thread. Source: {@code landlock(7)}, {@code linux/landlock.h}. Versions from 2 on
 * are used, as with the first no file can be moved to another directory.
 */
public final class Landlock {
  private static final long EXECUTE = 1;
  private static final long WRITE_FILE = 1L << 1;
  private static final long READ_FILE = 1L << 2;
  private static final long READ_DIR = 1L << 3;
  private static final long REMOVE_DIR = 1L << 4;
  private static final long REMOVE_FILE = 1L << 5;
  private static final long MAKE_DIR = 1L << 7;
  private static final long MAKE_SOCK = 1L << 9;
  private static final long TRUNCATE = 1L << 14;
  private static final long IOCTL_DEV = 1L << 15;

  /** To read files, and lists of files. */
  public static final long READ = READ_FILE | READ_DIR;

  /** To execute programs as well. */
  public static final long RUN = READ | EXECUTE;

  /** To read and write files that are there. */
  public static final long WRITE = READ | WRITE_FILE | TRUNCATE;

  /** To use a device. */
  public static final long DEVICE = WRITE | IOCTL_DEV;

  /** To make and remove control groups, and write to their files. */
  public static final long GROUPS = WRITE | MAKE_DIR | REMOVE_DIR;

  /** To make and remove Unix sockets; files that are no directories can be removed, too. */
  public static final long SOCKETS = MAKE_SOCK | REMOVE_FILE;

  /** Everything. */
  public static final long EVERYTHING = (1L << 16) - 1;

  /** What can be said of a file that is no directory. */
  private static final long OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

  private static final int FIRST_VERSION = 2;
  private static final int CREATE_RULESET_VERSION = 1;
  private static final int RULE_PATH_BENEATH = 1;
  private static final int RULE_BYTES = 12;

  private final List<Rule> rules;

  private record Rule(Path path, long rights) {}

  private Landlock(List<Rule> rules) {
    this.rules = List.copyOf(rules);
  }

  /** Nothing may be opened. */
  public static Landlock nothing() {
    return new Landlock(List.of());
  }

  /** Its version here; 0 if the machine's kernel has none that can be used. */
  public static int version() {
    long version =
        Linux.syscall(SyscallNumbers.LANDLOCK_CREATE_RULESET, 0, 0, CREATE_RULESET_VERSION);
    return version < FIRST_VERSION ? 0 : (int) version;
  }

  /**
   * The same with one rule more.
   *
   * @param path links in it are followed; if nothing is there when this comes into force, it says
   *     nothing
   * @param rights of the constants of this class
   */
  public Landlock allow(Path path, long rights) {
    List<Rule> more = new ArrayList<>(rules);
    more.add(new Rule(path, rights));
    return new Landlock(more);
  }

  /**
   * Binds the calling thread, and all that it starts, for ever. It must have {@code no_new_privs}.
   *
   * @return 0, or {@code -errno}: ENOSYS or EOPNOTSUPP without a {@link #version}
   */
  long install() {
    int version = version();
    if (version == 0) {
      return -Errno.EOPNOTSUPP;
    }
    long handled =
        EVERYTHING
            & ~(version < 3 ? TRUNCATE : 0)
            // Without it, a device can be used by whoever may open it.
            & ~(version < 5 ? IOCTL_DEV : 0);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment attributes = arena.allocateFrom(ValueLayout.JAVA_LONG, handled);
      long ruleset =
          Linux.syscall(
              SyscallNumbers.LANDLOCK_CREATE_RULESET,
              attributes.address(),
              attributes.byteSize(),
              0);
      if (ruleset < 0) {
        return ruleset;
      }
      long r = 0;
      for (Rule rule : rules) {
        r = r < 0 ? r : add((int) ruleset, rule, handled);
      }
      if (r == 0) {
        r = Linux.syscall(SyscallNumbers.LANDLOCK_RESTRICT_SELF, ruleset, 0, 0);
      }
      Linux.close((int) ruleset);
      return r;
    }
  }

  private static long add(int ruleset, Rule rule, long handled) {
    try (Arena arena = Arena.ofConfined()) {
      long fd =
          Linux.open(
              Linux.cString(arena, rule.path().toString()).address(),
              Fcntl.O_PATH | Fcntl.O_CLOEXEC);
      if (fd < 0) {
        return fd == -Errno.ENOENT || fd == -Errno.ENOTDIR ? 0 : fd;
      }
      long rights = rule.rights() & handled & (Files.isDirectory(rule.path()) ? -1 : OF_FILES);
      if (rights == 0) {
        Linux.close((int) fd);
        return 0;
      }
      MemorySegment attributes = arena.allocate(RULE_BYTES, 8);
      attributes.set(ValueLayout.JAVA_LONG, 0, rights);
      attributes.set(ValueLayout.JAVA_INT, 8, (int) fd);
      long r =
          Linux.syscall(
              SyscallNumbers.LANDLOCK_ADD_RULE,
              ruleset,
              RULE_PATH_BENEATH,
              attributes.address(),
              0,
              0,
              0);
      Linux.close((int) fd);
      // A pipe or a socket: the rules are not about these.
      return r == -Errno.EBADFD ? 0 : r;
    }
  }
}
