// SPDX-License-Identifier: MIT
package dev.outboard.virtio;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.File;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.posix.Processes;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The exports of a device: directories and images of its machine, each behind a virtual device that
 * the library kernel mounts. How it is wired:
 *
 * <pre>{@code
 * Exports exports = Exports.open(specs);               // directories and images are open
 * LinuxKernel kernel = LinuxKernel.boot(...);
 * exports.attach(guestKernel, line, notices, forget);  // the kernel has its devices
 * for (Exports.Mount mount : exports.mounts()) ...     // it mounts them
 * ...                                                  // it has unmounted them
 * exports.detach();                                    // no thread touches the kernel any more
 * kernel.close();
 * exports.close();
 * }</pre>
 *
 * <p>All methods are for one thread at a time.
 */
public final class Exports implements AutoCloseable {
  /** Exports that a device may have. */
  public static final int LIMIT = 16;

  /** Files of all exports together that a kernel may know, and that it may have open. */
  private static final int MAX_FILES = 1 << 17;

  /** Descriptors that are left to the rest of the process. */
  private static final int OTHER_DESCRIPTORS = 1024;

  private static final int LEAST_FILES = 128;

  private static final int LOCK_SH = 1;
  private static final int LOCK_EX = 2;
  private static final int LOCK_NB = 4;

  /** Switch: whether files of read-only directories are opened without a message. */
  private static final boolean UNTOLD =
      Boolean.parseBoolean(System.getProperty("outboard.exports.untold", "true"));

  /** File systems that a disk may hold: a name, where its mark is, and the mark's bytes. */
  private enum Format {
    EXT4("ext4", 1080, "S\u00ef"),
    SQUASHFS("squashfs", 0, "hsqs"),
    EROFS("erofs", 1024, "\u00e2\u00e1\u00f5\u00e0");

    final String type;
    final int at;
    final String magic;

    Format(String type, int at, String magic) {
      this.type = type;
      this.at = at;
      this.magic = magic;
    }
  }

  /**
   * What the kernel is to mount.
   *
   * @param source the tag of a file system, or the name of a disk, without {@code /dev/}
   * @param type the file system's type
   * @param readOnly whether it is asked for, or the file system can do nothing else
   */
  public record Mount(ExportSpec spec, String source, String type, boolean readOnly) {}

  /** An export that is open. */
  private static final class Export {
    final ExportSpec spec;
    int fd;
    long bytes;
    String type = "virtiofs";
    @Nullable RequestDevice device;
    @Nullable FuseServer server;

    /** The file system's device in the kernel, {@link #NOWHERE} until it is mounted. */
    volatile long mounted = NOWHERE;

    Export(ExportSpec spec, int fd) {
      this.spec = spec;
      this.fd = fd;
    }
  }

  private static final long NOWHERE = -1;

  private final List<Export> exports = new ArrayList<>();
  private final int limit;

  private Exports(int limit) {
    this.limit = limit;
  }

  /**
   * Opens what is to be exported.
   *
   * @throws ExportException if something is missing or not what it should be; nothing is left open
   *     then
   */
  public static Exports open(List<ExportSpec> specs) throws ExportException {
    if (specs.size() > LIMIT) {
      throw new ExportException("A device has " + LIMIT + " exports and disks at most.");
    }
    for (int i = 0; i < specs.size(); i++) {
      for (int j = 0; j < i; j++) {
        if (specs.get(i).at().equals(specs.get(j).at())) {
          throw new ExportException("Two exports are to be seen at " + specs.get(i).at() + ".");
        }
      }
    }
    // Each file takes a descriptor, a second one when it is open; where the server is not told of
    // opens, until the kernel forgets it, beside those of open directories.
    int files =
        Math.clamp(
            (descriptors() - OTHER_DESCRIPTORS) / (3L * Math.max(specs.size(), 1)),
            LEAST_FILES,
            MAX_FILES / Math.max(specs.size(), 1));
    Exports exports = new Exports(files);
    try {
      for (ExportSpec spec : specs) {
        exports.exports.add(spec.disk() ? image(spec) : directory(spec));
      }
      return exports;
    } catch (ExportException e) {
      exports.close();
      throw e;
    }
  }

  private static long descriptors() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment limits = arena.allocate(16, 8);
      Linux.syscall(
          SyscallNumbers.PRLIMIT64, 0, Processes.RLIMIT_NOFILE, 0, limits.address(), 0, 0);
      long soft = limits.get(ValueLayout.JAVA_LONG, 0);
      return soft < 0 ? Long.MAX_VALUE : soft;
    }
  }

  private static Export directory(ExportSpec spec) throws ExportException {
    try (Arena arena = Arena.ofConfined()) {
      String shown = "--export " + spec.source();
      long fd = open(arena, spec, Fcntl.O_RDONLY | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
      if (fd == -Errno.ENOTDIR) {
        throw new ExportException(shown + " is not a directory; use --disk for an image.");
      }
      check(shown, fd);
      Linux.close((int) fd);
      fd = open(arena, spec, Fcntl.O_PATH | Fcntl.O_DIRECTORY | Fcntl.O_CLOEXEC);
      check(shown, fd);
      return new Export(spec, (int) fd);
    }
  }

  private static long open(Arena arena, ExportSpec spec, int flags) {
    return Linux.open(Linux.cString(arena, spec.source().toString()).address(), flags);
  }

  private static void check(String shown, long r) throws ExportException {
    if (r >= 0) {
      return;
    }
    throw new ExportException(
        switch ((int) -r) {
          case Errno.ENOENT -> shown + " does not exist on the device's machine.";
          case Errno.EACCES, Errno.EPERM -> shown + " is not to be opened by the device's user.";
          case Errno.EROFS -> shown + " lies on a read-only file system; add :ro.";
          default -> shown + " cannot be opened: " + Errno.name((int) -r) + ".";
        });
  }

  private static Export image(ExportSpec spec) throws ExportException {
    String shown = "--disk " + spec.source();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment statx = arena.allocate(Stat.STATX_BYTES, 8);
      long r =
          Linux.syscall(
              SyscallNumbers.STATX,
              Fcntl.AT_FDCWD,
              Linux.cString(arena, spec.source().toString()).address(),
              0,
              Stat.STATX_WANTED,
              statx.address(),
              0);
      check(shown, r);
      // Asked before it is opened: a FIFO would wait for a writer.
      int type = statx.get(ValueLayout.JAVA_SHORT, Stat.STATX_MODE) & Stat.S_IFMT;
      if (type != Stat.S_IFREG && type != Stat.S_IFBLK) {
        throw new ExportException(
            shown
                + " is no image"
                + (type == Stat.S_IFDIR ? " but a directory; use --export." : "."));
      }
      int mode = spec.readOnly() ? Fcntl.O_RDONLY : Fcntl.O_RDWR;
      long fd = open(arena, spec, mode | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC);
      if (fd == -Errno.EACCES && !spec.readOnly()) {
        throw new ExportException(
            shown + " is not to be written by the device's user; add :ro to read it.");
      }
      check(shown, fd);
      Export export = new Export(spec, (int) fd);
      boolean done = false;
      try {
        // Two kernels that write one image destroy it.
        int lock = (spec.readOnly() ? LOCK_SH : LOCK_EX) | LOCK_NB;
        if (Linux.syscall(SyscallNumbers.FLOCK, fd, lock, 0) == -Errno.EAGAIN) {
          throw new ExportException(shown + " is in use by another device or program.");
        }
        long bytes = Linux.lseek((int) fd, 0, File.SEEK_END);
        export.bytes = bytes & -512;
        export.type = format(arena, (int) fd, shown);
        done = true;
        return export;
      } finally {
        if (!done) {
          Linux.close((int) fd);
        }
      }
    }
  }

  private static String format(Arena arena, int fd, String shown) throws ExportException {
    MemorySegment start = arena.allocate(2048, 8);
    long n = Linux.syscall(SyscallNumbers.PREAD64, fd, start.address(), 2048, 0, 0, 0);
    check(shown, n);
    for (Format format : Format.values()) {
      boolean is = n >= format.at + format.magic.length();
      for (int i = 0; is && i < format.magic.length(); i++) {
        is = (start.get(ValueLayout.JAVA_BYTE, format.at + i) & 0xff) == format.magic.charAt(i);
      }
      if (is) {
        return format.type;
      }
    }
    throw new ExportException(
        shown + " is no image of a file system that the device knows (ext4, squashfs, erofs).");
  }

  /** Paths at which programs see exports. */
  public List<String> paths() {
    return exports.stream().map(e -> e.spec.at()).toList();
  }

  /**
   * Gives the kernel a device for each export.
   *
   * @param lastLine the highest of {@link #LIMIT} interrupt lines that are the exports'
   * @param notices takes a sentence if a device fails later; called by the devices' threads
   * @param forget called when the kernel should forget files that nobody uses; must not wait
   * @throws ExportException if the kernel does not take it
   */
  public void attach(GuestKernel kernel, int lastLine, Consumer<String> notices, Runnable forget)
      throws ExportException {
    int line = lastLine;
    int number = 0;
    for (Export export : exports) {
      String title = export.spec.title();
      try {
        RequestDevice device;
        if (export.spec.disk()) {
          device =
              new BlockDevice(
                  kernel,
                  line,
                  title,
                  "outboard-" + number,
                  export.fd,
                  export.bytes,
                  export.spec.readOnly(),
                  notices);
        } else {
          int fd = export.fd;
          export.fd = -1;
          boolean readOnly = export.spec.readOnly();
          FuseServer server =
              new FuseServer(kernel.memory(), fd, readOnly, readOnly && UNTOLD, limit, forget);
          export.server = server;
          device = new FileSystemDevice(kernel, line, title, tag(number), server, notices);
        }
        export.device = device;
        device.start();
        long r = kernel.registerVirtioDevice(device.pageAddress());
        if (r < 0) {
          throw new ExportException(
              "The device's kernel does not take " + title + ": " + Errno.name((int) -r) + ".");
        }
      } catch (NetException e) {
        throw new ExportException("No device for " + title + ": " + e.getMessage() + ".");
      }
      line--;
      number++;
    }
  }

  private static String tag(int number) {
    return "export" + number;
  }

  /** What the kernel is to mount, each after what it lies in. */
  public List<Mount> mounts() {
    List<Mount> mounts = new ArrayList<>();
    char disk = 'a';
    int number = 0;
    for (Export export : exports) {
      boolean readOnly = export.spec.readOnly() || export.type.matches("squashfs|erofs");
      // Disks are named in the order in which they came.
      String source = export.spec.disk() ? "vd" + disk++ : tag(number);
      mounts.add(new Mount(export.spec, source, export.type, readOnly));
      number++;
    }
    mounts.sort((a, b) -> a.spec().at().compareTo(b.spec().at()));
    return mounts;
  }

  /**
   * Takes note of the number that the kernel has given to a file system.
   *
   * @param mount one of {@link #mounts}
   */
  public void mounted(Mount mount, int major, int minor) {
    for (Export export : exports) {
      if (export.spec.equals(mount.spec())) {
        export.mounted = device(major, minor);
      }
    }
  }

  /**
   * What is to be asked by whoever opens files of a file system; null if there is nothing. Any
   * thread.
   */
  public @Nullable UntoldOpens untoldOpens(int major, int minor) {
    long device = device(major, minor);
    for (int i = 0; i < exports.size(); i++) {
      Export export = exports.get(i);
      if (export.mounted == device && export.server != null) {
        return export.server.untoldOpens();
      }
    }
    return null;
  }

  private static long device(int major, int minor) {
    return (long) major << 32 | Integer.toUnsignedLong(minor);
  }

  /** Requests that the kernel has made of all exports so far. Any thread. */
  public long requests() {
    long sum = 0;
    for (Export export : exports) {
      RequestDevice device = export.device;
      sum += device == null ? 0 : device.requests();
    }
    return sum;
  }

  /** Ends all threads that could touch the kernel: to be called before the kernel is halted. */
  public void detach() {
    for (Export export : exports) {
      RequestDevice device = export.device;
      if (device != null) {
        device.stop();
      }
    }
  }

  /** Closes all files; the kernel, if one was attached, has been halted before. */
  @Override
  public void close() {
    for (Export export : exports) {
      RequestDevice device = export.device;
      if (device != null) {
        device.close();
      }
      FuseServer server = export.server;
      if (server != null) {
        server.close();
      }
      if (export.fd >= 0) {
        Linux.close(export.fd);
        export.fd = -1;
      }
    }
    exports.clear();
  }
}
