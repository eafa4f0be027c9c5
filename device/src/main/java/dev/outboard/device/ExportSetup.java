// SPDX-License-Identifier: MIT
package dev.outboard.device;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.virtio.Exports;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;

/** Mounts a device's exports in its library kernel, and unmounts them. */
final class ExportSetup {
  private static final int MS_RDONLY = 1;
  private static final int MS_NOSUID = 2;
  private static final int MS_NODEV = 4;
  private static final int MNT_DETACH = 2;

  /** As much as one request of the kernel carries. */
  private static final String READ_AHEAD_KIB = "1024";

  // Scratch memory.
  private static final int STATX = 0;
  private static final int PATH = 512;
  private static final int TEXT = PATH + 1536;
  private static final int TYPE = TEXT + 1536;
  private static final int TEXT_BYTES = 64;

  private final Kernel kernel;
  private final MemorySegment scratch;

  private ExportSetup(Kernel kernel, MemorySegment scratch) {
    this.kernel = kernel;
    this.scratch = scratch;
  }

  /**
   * Mounts all; a mount point that is missing is made, unless it would lie in another export.
   *
   * @throws DeviceException if the kernel refuses; what is mounted by then stays
   */
  static void mount(Kernel kernel, Exports exports) throws DeviceException {
    List<Exports.Mount> mounts = exports.mounts();
    SetupTask.run(
        kernel,
        scratch -> {
          ExportSetup setup = new ExportSetup(kernel, scratch);
          for (Exports.Mount mount : mounts) {
            setup.mountPoint(mount, mounts);
            setup.mount(mount, exports);
          }
        });
  }

  /** Writes everything back and unmounts all; what is in use goes when it no longer is. */
  static void unmount(Kernel kernel, List<Exports.Mount> mounts, Consumer<String> log) {
    try {
      SetupTask.run(
          kernel,
          scratch -> {
            ExportSetup setup = new ExportSetup(kernel, scratch);
            for (Exports.Mount mount : mounts.reversed()) {
              setup.unmount(mount, log);
            }
          });
    } catch (DeviceException e) {
      log.accept(String.valueOf(e.getMessage()));
    }
  }

  /**
   * Makes the kernel forget what it has cached of files that nobody uses.
   *
   * @throws DeviceException if it does not
   */
  static void dropCaches(Kernel kernel) throws DeviceException {
    SetupTask.run(
        kernel,
        scratch -> {
          long r = new ExportSetup(kernel, scratch).write("/proc/sys/vm/drop_caches", "3");
          if (r < 0) {
            throw new DeviceException(
                "The device's kernel does not drop its caches: " + Errno.name((int) -r) + ".");
          }
        });
  }

  private void mountPoint(Exports.Mount mount, List<Exports.Mount> mounts) throws DeviceException {
    String at = mount.spec().at();
    for (int end = at.indexOf('/', 1); ; end = at.indexOf('/', end + 1)) {
      String path = end < 0 ? at : at.substring(0, end);
      if (look(path) < 0) {
        for (Exports.Mount other : mounts) {
          String there = other.spec().at();
          if (path.startsWith(there + "/")) {
            throw new DeviceException(
                "There is no " + path + " in the export at " + there + " to mount on.");
          }
        }
        check("make the directory " + path, call(Canonical.MKDIRAT, path, 0755, 0));
      }
      if (end < 0) {
        return;
      }
    }
  }

  private void mount(Exports.Mount mount, Exports exports) throws DeviceException {
    String source = mount.source();
    if (mount.spec().disk()) {
      source = "/dev/" + source;
      long device = device(mount.source());
      check("make " + source, call(Canonical.MKNODAT, source, Stat.S_IFBLK | 0600, device));
    }
    text(PATH, mount.spec().at());
    text(TEXT, source);
    text(TYPE, mount.type());
    long r =
        kernel.syscall(
            Canonical.MOUNT,
            scratch.address() + TEXT,
            scratch.address() + PATH,
            scratch.address() + TYPE,
            MS_NOSUID | MS_NODEV | (mount.readOnly() ? MS_RDONLY : 0),
            0,
            0);
    if (r < 0) {
      throw new DeviceException(refusal(mount, (int) -r));
    }
    check("look at " + mount.spec().at(), look(mount.spec().at()));
    int major = scratch.get(ValueLayout.JAVA_INT, STATX + Stat.STATX_DEV_MAJOR);
    int minor = scratch.get(ValueLayout.JAVA_INT, STATX + Stat.STATX_DEV_MINOR);
    exports.mounted(mount, major, minor);
    // The kernel's own bound is what suits a disk.
    String readAhead = "/sys/class/bdi/" + major + ":" + minor + "/read_ahead_kb";
    check("set " + readAhead, write(readAhead, READ_AHEAD_KIB));
  }

  private static String refusal(Exports.Mount mount, int errno) {
    String start = "The device's kernel does not mount " + mount.spec().title() + ": ";
    if (errno == Errno.EROFS && mount.type().equals("ext4")) {
      return start + "its journal has to be recovered first, which :ro rules out.";
    }
    if (errno == Errno.EOPNOTSUPP && mount.type().equals("erofs")) {
      return start + "it is compressed, which needs an MMU; make it without -z, or use squashfs.";
    }
    if (mount.spec().disk()) {
      return start + Errno.name(errno) + "; the image is damaged, or has features that it lacks.";
    }
    return start + Errno.name(errno) + ".";
  }

  private void unmount(Exports.Mount mount, Consumer<String> log) {
    long r = call(Canonical.UMOUNT2, mount.spec().at(), 0);
    if (r == -Errno.EBUSY) {
      kernel.syscall(Canonical.SYNC, 0, 0, 0, 0, 0, 0);
      r = call(Canonical.UMOUNT2, mount.spec().at(), MNT_DETACH);
    }
    if (r < 0) {
      log.accept(mount.spec().title() + " is not unmounted: " + Errno.name((int) -r));
    }
  }

  /** The number of a disk, as the kernel encodes it for {@code mknod}. */
  private long device(String disk) throws DeviceException {
    String path = "/sys/block/" + disk + "/dev";
    long fd = call(Canonical.OPENAT, path, Fcntl.O_RDONLY, 0);
    check("open " + path, fd);
    long n = kernel.syscall(Canonical.READ, fd, scratch.address() + TEXT, TEXT_BYTES, 0, 0, 0);
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
    check("read " + path, n);
    scratch.set(ValueLayout.JAVA_BYTE, TEXT + Math.max(n, 0), (byte) 0);
    String[] numbers = scratch.getString(TEXT, StandardCharsets.US_ASCII).strip().split(":", 2);
    long major = Long.parseLong(numbers[0]);
    long minor = Long.parseLong(numbers[1]);
    return (minor & 0xff) | major << 8 | (minor & ~0xffL) << 12;
  }

  private long look(String path) {
    text(PATH, path);
    return kernel.syscall(
        Canonical.STATX,
        Fcntl.AT_FDCWD,
        scratch.address() + PATH,
        0,
        Stat.STATX_WANTED,
        scratch.address() + STATX,
        0);
  }

  private long write(String path, String value) {
    long fd = call(Canonical.OPENAT, path, Fcntl.O_WRONLY, 0);
    if (fd < 0) {
      return fd;
    }
    text(TEXT, value);
    long r = kernel.syscall(Canonical.WRITE, fd, scratch.address() + TEXT, value.length(), 0, 0, 0);
    kernel.syscall(Canonical.CLOSE, fd, 0, 0, 0, 0, 0);
    return r;
  }

  private void text(int at, String s) {
    scratch.setString(at, s, StandardCharsets.UTF_8);
  }

  /** A call about a path that begins with a directory's descriptor. */
  private long call(int number, String path, long a2, long a3) {
    text(PATH, path);
    return kernel.syscall(number, Fcntl.AT_FDCWD, scratch.address() + PATH, a2, a3, 0, 0);
  }

  /** One that begins with the path. */
  private long call(int number, String path, long a1) {
    text(PATH, path);
    return kernel.syscall(number, scratch.address() + PATH, a1, 0, 0, 0, 0);
  }

  private static void check(String what, long r) throws DeviceException {
    if (r < 0) {
      throw new DeviceException(
          "The device's kernel does not " + what + ": " + Errno.name((int) -r) + ".");
    }
  }
}
