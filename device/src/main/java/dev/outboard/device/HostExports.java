// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Sched;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.ExportSpec;
import java.lang.foreign.Arena;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The exports of a device whose kernel is its machine's: a mount namespace in which the directories
 * are where programs are to see them. Every shadow thread enters it. Where nothing has to be moved
 * there is none.
 */
final class HostExports implements AutoCloseable {
  /** No export changes anything. */
  static final HostExports NONE = new HostExports(-1);

  private static final int MS_RDONLY = 1;
  private static final int MS_NOSUID = 2;
  private static final int MS_NODEV = 4;
  private static final int MS_REMOUNT = 32;
  private static final int MS_BIND = 4096;
  private static final int MS_REC = 16384;
  private static final int MS_PRIVATE = 1 << 18;

  private final int namespace;

  private HostExports(int namespace) {
    this.namespace = namespace;
  }

  /**
   * Makes the namespace.
   *
   * @param superuser whether this process may
   * @throws DeviceException if it cannot be had; the message is for the user
   */
  static HostExports open(List<ExportSpec> specs, boolean superuser) throws DeviceException {
    boolean asIs = true;
    for (ExportSpec spec : specs) {
      if (spec.disk()) {
        throw new DeviceException(
            "With the host kernel there are no disks: mount "
                + spec.source()
                + " on the machine and use --export.");
      }
      asIs &= spec.at().equals(spec.source().toString()) && !spec.readOnly();
    }
    if (asIs) {
      return NONE;
    }
    if (!superuser) {
      throw new DeviceException(
          "With the host kernel, --export DIR:AT and :ro take root; without it use --export DIR.");
    }
    Maker maker = new Maker(specs);
    Threads.join(Thread.ofPlatform().name("host-exports").start(maker));
    DeviceException failure = maker.failure;
    if (failure != null) {
      throw failure;
    }
    return new HostExports(maker.namespace);
  }

  /**
   * Brings the calling thread in, which shares its directories with no other; it stays for the rest
   * of its life.
   *
   * @return 0, or {@code -errno}
   */
  long enter() {
    return namespace < 0 ? 0 : Linux.syscall(SyscallNumbers.SETNS, namespace, Sched.CLONE_NEWNS, 0);
  }

  @Override
  public void close() {
    if (namespace >= 0) {
      Linux.close(namespace);
    }
  }

  /** A thread that leaves the machine's namespace for one of its own, which outlives it. */
  private static final class Maker implements Runnable {
    private final List<ExportSpec> specs;
    int namespace = -1;
    @Nullable DeviceException failure;

    Maker(List<ExportSpec> specs) {
      this.specs = specs;
    }

    @Override
    public void run() {
      try (Arena arena = Arena.ofConfined()) {
        make(arena);
      } catch (DeviceException e) {
        failure = e;
      }
    }

    private void make(Arena arena) throws DeviceException {
      check(
          "make a mount namespace",
          Linux.syscall(SyscallNumbers.UNSHARE, Sched.CLONE_FS | Sched.CLONE_NEWNS));
      check("keep its mounts to it", mount(arena, "none", "/", MS_REC | MS_PRIVATE));
      // All are opened before the first is mounted, which might cover another.
      int[] sources = new int[specs.size()];
      for (int i = 0; i < sources.length; i++) {
        String source = specs.get(i).source().toString();
        long fd =
            Linux.open(
                Linux.cString(arena, source).address(),
                Fcntl.O_PATH | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
        check("open " + source, fd);
        sources[i] = (int) fd;
      }
      for (int i = 0; i < sources.length; i++) {
        ExportSpec spec = specs.get(i);
        String from = "/proc/thread-self/fd/" + sources[i];
        check(
            "mount " + spec.source() + " at " + spec.at() + ", which must exist",
            mount(arena, from, spec.at(), MS_BIND | MS_REC));
        if (spec.readOnly()) {
          check(
              "make " + spec.at() + " read-only",
              mount(
                  arena,
                  "none",
                  spec.at(),
                  MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV));
        }
        Linux.close(sources[i]);
      }
      long fd =
          Linux.open(
              Linux.cString(arena, "/proc/thread-self/ns/mnt").address(),
              Fcntl.O_RDONLY | Fcntl.O_CLOEXEC);
      check("keep its mount namespace", fd);
      namespace = (int) fd;
    }

    private static long mount(Arena arena, String source, String target, long flags) {
      return Linux.syscall(
          SyscallNumbers.MOUNT,
          Linux.cString(arena, source).address(),
          Linux.cString(arena, target).address(),
          0,
          flags,
          0,
          0);
    }

    private static void check(String what, long r) throws DeviceException {
      if (r < 0) {
        throw new DeviceException("The device cannot " + what + ": " + Errno.name((int) -r) + ".");
      }
    }
  }
}
