// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.LongSupplier;

/**
 * Control groups (cgroup v2) in a library kernel, one for each session: what of the kernel's memory
 * a session uses is charged to it, and is bounded.
 *
 * <p>The hierarchy is mounted nowhere: one task of the device's own has it as a descriptor, in a
 * table that it shares with nobody. So no path leads there. That task has a thread, which does all
 * of this in turn.
 *
 * <p>Any thread may call any method, whether it has a task or not. Nothing here waits for what a
 * program does.
 */
final class MemoryGroups implements AutoCloseable {
  // linux/mount.h
  private static final int FSCONFIG_CMD_CREATE = 6;
  private static final int FSMOUNT_CLOEXEC = 1;

  // Scratch memory: a path, a text.
  private static final int PATH = 0;
  private static final int TEXT = 512;
  private static final int TEXT_BYTES = 512;

  private final Kernel kernel;
  private final long limitBytes;
  private final ExecutorService keeper =
      Executors.newSingleThreadExecutor(
          Thread.ofPlatform()
              .name("memory-groups")
              .daemon(true)
              .stackSize(ShadowThread.STACK_BYTES)
              .factory());
  // Of the keeper's thread, once it is there.
  private final MemorySegment scratch;
  private long root = -1;

  private MemoryGroups(Kernel kernel, MemorySegment scratch, long limitBytes) {
    this.kernel = kernel;
    this.scratch = scratch;
    this.limitBytes = limitBytes;
  }

  /**
   * Has the kernel count what groups use; none is there yet.
   *
   * @param kernel a library kernel that was booted to count; outlives this object
   * @param limitBytes what each group may use at most
   * @throws DeviceException if it does not; nothing is left behind then
   */
  static MemoryGroups open(Kernel kernel, long limitBytes) throws DeviceException {
    MemorySegment scratch = kernel.allocate();
    if (scratch == null) {
      throw new DeviceException("The device's kernel has no memory to be configured with.");
    }
    MemoryGroups groups = new MemoryGroups(kernel, scratch, limitBytes);
    long r = groups.kept(groups::mount);
    if (r < 0) {
      groups.close();
      throw new DeviceException(
          "The device's kernel does not count the memory of sessions: "
              + Errno.name((int) -r)
              + ".");
    }
    return groups;
  }

  /** What each group may use at most, in bytes. */
  long limitBytes() {
    return limitBytes;
  }

  /**
   * Makes a session's group, and puts a task in it.
   *
   * @param session its number, of which no other group is
   * @param tid the task, which has done nothing yet
   * @return 0 or {@code -errno}; nothing is left behind then
   */
  long enter(long session, int tid) {
    return kept(() -> {
      String name = name(session);
      long r = path(Canonical.MKDIRAT, name, 0755);
      if (r < 0) {
        return r;
      }
      r = write(name + "/memory.max", Long.toString(limitBytes));
      if (r >= 0) {
        r = put(session, tid);
      }
      if (r < 0) {
        path(Canonical.UNLINKAT, name, Fcntl.AT_REMOVEDIR);
        return r;
      }
      return 0;
    });
  }

  /**
   * Puts one more task in a session's group, which may be full: what the task has by then is not
   * charged to it.
   *
   * @return 0 or {@code -errno}
   */
  long join(long session, int tid) {
    return kept(() -> put(session, tid));
  }

  /**
   * Removes a session's group, in which no task is left. What is still charged to it, such as a
   * file that stays, is the kernel's until it is given back.
   *
   * @return 0 or {@code -errno}
   */
  long remove(long session) {
    return kept(() -> path(Canonical.UNLINKAT, name(session), Fcntl.AT_REMOVEDIR));
  }

  /** What a session uses now, in bytes, or {@code -errno}. */
  long used(long session) {
    return kept(() -> number(name(session) + "/memory.current", ""));
  }

  /**
   * A line of the statistics about all groups, or {@code -errno}.
   *
   * @param key {@code nr_descendants}, {@code nr_dying_descendants}
   */
  long statistic(String key) {
    return kept(() -> number("cgroup.stat", key));
  }

  private static String name(long session) {
    return "session-" + session;
  }

  /** What is done on the keeper's thread. */
  private long kept(LongSupplier work) {
    return CompletableFuture.supplyAsync(work::getAsLong, keeper).join();
  }

  private long mount() {
    long r = kernel.enterTask(0, true);
    if (r < 0) {
      return r;
    }
    scratch.setString(TEXT, "cgroup2", StandardCharsets.US_ASCII);
    long context = kernel.syscall(Canonical.FSOPEN, scratch.address() + TEXT, 0, 0, 0, 0, 0);
    if (context < 0) {
      return context;
    }
    r = kernel.syscall(Canonical.FSCONFIG, context, FSCONFIG_CMD_CREATE, 0, 0, 0, 0);
    if (r >= 0) {
      r = kernel.syscall(Canonical.FSMOUNT, context, FSMOUNT_CLOEXEC, 0, 0, 0, 0);
      root = r;
    }
    kernel.syscall(Canonical.CLOSE, context, 0, 0, 0, 0, 0);
    return r < 0 ? r : write("cgroup.subtree_control", "+memory");
  }

  private long put(long session, int tid) {
    return Math.min(0, write(name(session) + "/cgroup.procs", Integer.toString(tid)));
  }

  private long path(int number, String path, long a2) {
    scratch.setString(PATH, path, StandardCharsets.US_ASCII);
    return kernel.syscall(number, root, scratch.address() + PATH, a2, 0, 0, 0);
  }

  private long write(String file, String value) {
    long fd = path(Canonical.OPENAT, file, Fcntl.O_WRONLY);
    if (fd < 0) {
      return fd;
    }
    scratch.setString(TEXT, value, StandardCharsets.US_ASCII);
    long r = kernel.syscall(Canonical.WRITE, fd, scratch.address() + TEXT, value.length(), 0, 0, 0);
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
    return r;
  }

  /** The number that is a file's content, or that stands behind a word in one of its lines. */
  private long number(String file, String key) {
    long fd = path(Canonical.OPENAT, file, Fcntl.O_RDONLY);
    if (fd < 0) {
      return fd;
    }
    long n = kernel.syscall(Canonical.READ, fd, scratch.address() + TEXT, TEXT_BYTES, 0, 0, 0);
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
    if (n < 0) {
      return n;
    }
    byte[] bytes = scratch.asSlice(TEXT, n).toArray(ValueLayout.JAVA_BYTE);
    for (String line : new String(bytes, StandardCharsets.US_ASCII).lines().toList()) {
      String value = line.substring(line.lastIndexOf(' ') + 1);
      if (key.isEmpty() || line.equals(key + " " + value)) {
        return Long.parseLong(value);
      }
    }
    return -Errno.ENOENT;
  }

  /** Ends the keeper; groups that are left stay as long as the kernel. Called once. */
  @Override
  public void close() {
    kept(() -> {
      kernel.leaveTask();
      return 0;
    });
    keeper.shutdown();
    kernel.free(scratch);
  }
}
