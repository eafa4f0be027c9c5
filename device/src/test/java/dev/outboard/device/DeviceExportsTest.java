// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Memory;
import dev.outboard.abi.Socket;
import dev.outboard.abi.Stat;
import dev.outboard.abi.SyscallNumbers;
import dev.outboard.posix.Linux;
import dev.outboard.virtio.ExportSpec;
import dev.outboard.virtio.NetSpec;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of the machine as a task of the device's kernel has them. */
@Timeout(value = 180, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class DeviceExportsTest {
  private static final Limits LIMITS = new Limits(1, 32, 32, 1024);

  private static DeviceOptions.Builder options(List<ExportSpec> exports) {
    return DeviceOptions.builder()
        .net(new NetSpec.None())
        .memoryBytes(96L << 20)
        .limits(LIMITS)
        .exports(exports);
  }

  private static DeviceOptions.Builder host(List<ExportSpec> exports) {
    return DeviceOptions.builder().hostKernel(true).limits(LIMITS).exports(exports);
  }

  // asm-generic numbers that only these tests need.
  private static final int SETXATTR = 5;
  private static final int GETXATTR = 8;
  private static final int LISTXATTR = 11;
  private static final int REMOVEXATTR = 14;
  private static final int FLOCK = 32;
  private static final int UNLINKAT = 35;
  private static final int SYMLINKAT = 36;
  private static final int LINKAT = 37;
  private static final int STATFS = 43;
  private static final int TRUNCATE = 45;
  private static final int FALLOCATE = 47;
  private static final int FCHMODAT = 53;
  private static final int FCHOWNAT = 54;
  private static final int GETDENTS64 = 61;
  private static final int LSEEK = 62;
  static final int PREAD64 = 67;
  private static final int PWRITE64 = 68;
  static final int SENDFILE = 71;
  private static final int READLINKAT = 78;
  private static final int FSYNC = 82;
  private static final int UTIMENSAT = 88;
  private static final int RENAMEAT2 = 276;
  private static final int COPY_FILE_RANGE = 285;
  static final int CREATE = Fcntl.O_RDWR | Fcntl.O_CREAT;

  private static final long WINDOW_BYTES = 4 << 20;

  // Where in the shared memory things are.
  private static final int PATH = 0;
  private static final int SECOND = 8192;
  static final int SMALL = 16384;
  private static final int EMPTY = 20480;
  private static final int OPENED = EMPTY + 8;
  private static final int DATA = 1 << 20;

  @TempDir Path machine;

  /** What a task does. */
  interface Work {
    void run(Task task) throws Exception;
  }

  /** Calls of one task, the calling thread's. */
  static final class Task {
    final Device device;
    final Kernel kernel;
    final MemorySegment memory;

    Task(Device device, MemorySegment memory) {
      this.device = device;
      this.kernel = device.kernel();
      this.memory = memory;
    }

    long call(int number, long... a) {
      long[] all = java.util.Arrays.copyOf(a, 6);
      return kernel.syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]);
    }

    /** One that must not fail. */
    long good(int number, long... a) {
      long r = call(number, a);
      assertThat(r < 0 ? Errno.name((int) -r) : "").as("call %d", number).isEmpty();
      return r;
    }

    long path(String path) {
      memory.setString(PATH, path, StandardCharsets.UTF_8);
      return memory.address() + PATH;
    }

    long second(String path) {
      memory.setString(SECOND, path, StandardCharsets.UTF_8);
      return memory.address() + SECOND;
    }

    /** As a program's open is made: {@link ShadowThread}. */
    long open(String path, int flags, int mode) {
      long fd = call(Canonical.OPENAT, Fcntl.AT_FDCWD, path(path), flags, mode);
      if (fd < 0) {
        return fd;
      }
      status((int) fd, Fcntl.AT_STATX_DONT_SYNC, OPENED);
      int type = memory.get(ValueLayout.JAVA_SHORT, OPENED + Stat.STATX_MODE) & Stat.S_IFMT;
      if (type == Stat.S_IFREG) {
        long r = kernel.opened((int) fd, memory, OPENED, OPENED + Stat.STATX_BYTES);
        if (r < 0) {
          close((int) fd);
          return r;
        }
      }
      return fd;
    }

    /** What the kernel says of a descriptor. */
    void status(int fd, int flags, long to) {
      memory.set(ValueLayout.JAVA_BYTE, EMPTY, (byte) 0);
      good(
          Canonical.STATX,
          fd,
          memory.address() + EMPTY,
          Fcntl.AT_EMPTY_PATH | flags,
          Stat.STATX_BASIC,
          memory.address() + to);
    }

    int opened(String path, int flags) {
      long fd = open(path, flags, 0644);
      assertThat(fd < 0 ? Errno.name((int) -fd) : "").as(path).isEmpty();
      return (int) fd;
    }

    void close(int fd) {
      good(Canonical.CLOSE, fd);
    }

    long data() {
      return memory.address() + DATA;
    }

    void put(byte[] bytes) {
      MemorySegment.copy(bytes, 0, memory, ValueLayout.JAVA_BYTE, DATA, bytes.length);
    }

    byte[] get(long length) {
      return memory.asSlice(DATA, length).toArray(ValueLayout.JAVA_BYTE);
    }

    void write(String path, byte[] bytes) {
      int fd = opened(path, CREATE);
      put(bytes);
      assertThat(good(Canonical.WRITE, fd, data(), bytes.length)).isEqualTo(bytes.length);
      close(fd);
    }

    byte[] read(String path) {
      int fd = opened(path, Fcntl.O_RDONLY);
      long n = good(Canonical.READ, fd, data(), 2 << 20);
      close(fd);
      return get(n);
    }

    String text(String path) {
      return new String(read(path), StandardCharsets.UTF_8);
    }

    long statx(String path, int flags) {
      return call(
          Canonical.STATX,
          Fcntl.AT_FDCWD,
          path(path),
          flags,
          Stat.STATX_WANTED,
          memory.address() + SMALL);
    }

    int number(int field) {
      return memory.get(ValueLayout.JAVA_INT, SMALL + field);
    }

    long size(String path) {
      assertThat(statx(path, 0)).isZero();
      return memory.get(ValueLayout.JAVA_LONG, SMALL + Stat.STATX_SIZE);
    }

    Set<String> list(String path) {
      int fd = opened(path, Fcntl.O_RDONLY | Fcntl.O_DIRECTORY);
      Set<String> names = new HashSet<>();
      while (true) {
        long n = good(GETDENTS64, fd, data(), 32768);
        if (n == 0) {
          break;
        }
        for (long at = DATA; at < DATA + n; ) {
          assertThat(names.add(memory.getString(at + Stat.DIRENT_NAME, StandardCharsets.UTF_8)))
              .isTrue();
          at += memory.get(ValueLayout.JAVA_SHORT, at + Stat.DIRENT_LENGTH);
        }
      }
      close(fd);
      assertThat(names.remove(".") && names.remove("..")).isTrue();
      return names;
    }
  }

  static void with(List<ExportSpec> exports, Work work) throws Exception {
    with(options(exports), work);
  }

  private static void with(DeviceOptions.Builder options, Work work) throws Exception {
    List<String> log = new ArrayList<>();
    try (Device device = Device.start(options.log(line -> log.add(line)).build());
        Arena arena = Arena.ofConfined()) {
      long memfd = Linux.memfdCreate(Linux.cString(arena, "task").address(), 3);
      assertThat(Linux.ftruncate((int) memfd, WINDOW_BYTES)).isZero();
      assertThat(Linux.fcntl((int) memfd, Memory.F_ADD_SEALS, Memory.F_SEAL_SHRINK)).isZero();
      try (Kernel.Window window = device.kernel().map((int) memfd, WINDOW_BYTES)) {
        Linux.close((int) memfd);
        assertThat(window).isNotNull();
        SetupTask.run(
            device.kernel(),
            scratch -> {
              try {
                work.run(new Task(device, window.memory()));
              } catch (Exception e) {
                throw new DeviceException(String.valueOf(e), e);
              }
            });
      }
    }
    assertThat(log).isEmpty();
  }

  private ExportSpec export(String at) {
    return ExportSpec.directory(machine + ":" + at);
  }

  private static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }

  @Test
  void everydayCalls() throws Exception {
    with(
        List.of(export("/srv/www")),
        t -> {
          t.write("/srv/www/a", "hello world".getBytes(StandardCharsets.UTF_8));
          assertThat(Files.readString(machine.resolve("a"))).isEqualTo("hello world");
          assertThat(t.size("/srv/www/a")).isEqualTo(11);
          int fd = t.opened("/srv/www/a", Fcntl.O_RDWR);
          assertThat(t.good(PREAD64, fd, t.data(), 100, 6)).isEqualTo(5);
          assertThat(t.get(5)).asString().isEqualTo("world");
          t.put("there".getBytes(StandardCharsets.UTF_8));
          assertThat(t.good(PWRITE64, fd, t.data(), 5, 6)).isEqualTo(5);
          assertThat(Files.readString(machine.resolve("a"))).isEqualTo("hello there");
          t.good(FSYNC, fd);
          t.good(FALLOCATE, fd, 0, 0, 100_000);
          assertThat(Files.size(machine.resolve("a"))).isEqualTo(100_000);
          assertThat(t.good(LSEEK, fd, 0, 4)).as("SEEK_HOLE").isPositive();
          t.close(fd);
          t.good(TRUNCATE, t.path("/srv/www/a"), 5);
          assertThat(t.text("/srv/www/a")).isEqualTo("hello");
          assertThat(t.open("/srv/www/a", CREATE | Fcntl.O_EXCL, 0600)).isEqualTo(-Errno.EEXIST);
          assertThat(t.open("/srv/www/none", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);

          t.good(Canonical.MKDIRAT, Fcntl.AT_FDCWD, t.path("/srv/www/d"), 0750);
          t.good(
              RENAMEAT2,
              Fcntl.AT_FDCWD,
              t.path("/srv/www/a"),
              Fcntl.AT_FDCWD,
              t.second("/srv/www/d/b"),
              0);
          assertThat(t.list("/srv/www")).containsExactly("d");
          assertThat(t.list("/srv/www/d")).containsExactly("b");
          t.good(SYMLINKAT, t.path("d/b"), Fcntl.AT_FDCWD, t.second("/srv/www/link"));
          assertThat(t.text("/srv/www/link")).isEqualTo("hello");
          long n = t.good(READLINKAT, Fcntl.AT_FDCWD, t.path("/srv/www/link"), t.data(), 100);
          assertThat(t.get(n)).asString().isEqualTo("d/b");
          t.good(
              LINKAT,
              Fcntl.AT_FDCWD,
              t.path("/srv/www/d/b"),
              Fcntl.AT_FDCWD,
              t.second("/srv/www/hard"),
              0);
          assertThat(t.statx("/srv/www/hard", 0)).isZero();
          assertThat(t.number(Stat.STATX_LINKS)).isEqualTo(2);
          assertThat(t.call(UNLINKAT, Fcntl.AT_FDCWD, t.path("/srv/www/d"), Fcntl.AT_REMOVEDIR))
              .isEqualTo(-Errno.ENOTEMPTY);
          t.good(UNLINKAT, Fcntl.AT_FDCWD, t.path("/srv/www/d/b"), 0);
          t.good(UNLINKAT, Fcntl.AT_FDCWD, t.path("/srv/www/d"), Fcntl.AT_REMOVEDIR);
          assertThat(t.open("/srv/www/link", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);

          t.good(FCHMODAT, Fcntl.AT_FDCWD, t.path("/srv/www/hard"), 0604);
          assertThat(Files.getAttribute(machine.resolve("hard"), "unix:mode"))
              .isEqualTo(Stat.S_IFREG | 0604);
          t.memory.set(ValueLayout.JAVA_LONG, SMALL, 1_000_000_007);
          t.memory.set(ValueLayout.JAVA_LONG, SMALL + 8, 123_456_789);
          t.memory.set(ValueLayout.JAVA_LONG, SMALL + 16, 1_000_000_009);
          t.memory.set(ValueLayout.JAVA_LONG, SMALL + 24, 5);
          t.good(UTIMENSAT, Fcntl.AT_FDCWD, t.path("/srv/www/hard"), t.memory.address() + SMALL, 0);
          assertThat(Files.getLastModifiedTime(machine.resolve("hard")).to(TimeUnit.SECONDS))
              .isEqualTo(1_000_000_009);
          t.good(STATFS, t.path("/srv/www"), t.memory.address() + SMALL);
          assertThat(t.memory.get(ValueLayout.JAVA_LONG, SMALL + 16)).as("blocks").isPositive();
          // Direct I/O would pin pages, which this kernel cannot give back.
          assertThat(t.open("/srv/www/hard", Fcntl.O_RDONLY | Fcntl.O_DIRECT, 0))
              .isEqualTo(-Errno.EINVAL);
          fd = t.opened("/srv/www/hard", Fcntl.O_RDONLY);
          assertThat(t.call(Canonical.FCNTL, fd, Fcntl.F_SETFL, Fcntl.O_DIRECT))
              .isEqualTo(-Errno.EINVAL);
          t.close(fd);
        });
  }

  @Test
  void filesBelongToWhoMakesThem() throws Exception {
    assumeTrue(Linux.syscall(SyscallNumbers.GETEUID, 0) == 0, "needs root");
    with(
        List.of(export("/x")),
        t -> {
          Files.createDirectory(machine.resolve("closed"));
          Files.setPosixFilePermissions(
              machine.resolve("closed"),
              java.nio.file.attribute.PosixFilePermissions.fromString("rwx------"));
          t.good(FCHMODAT, Fcntl.AT_FDCWD, t.path("/x"), 0777);
          t.good(Canonical.SETFSGID, 4712);
          t.good(Canonical.SETFSUID, 4711);
          t.write("/x/mine", random(10));
          assertThat(Files.getAttribute(machine.resolve("mine"), "unix:uid")).isEqualTo(4711);
          assertThat(Files.getAttribute(machine.resolve("mine"), "unix:gid")).isEqualTo(4712);
          assertThat(t.open("/x/closed/a", CREATE, 0600)).isEqualTo(-Errno.EACCES);
          assertThat(t.call(FCHOWNAT, Fcntl.AT_FDCWD, t.path("/x/mine"), 0, 0, 0))
              .isEqualTo(-Errno.EPERM);
          t.good(Canonical.SETFSUID, 0);
          t.good(Canonical.SETFSGID, 0);
          t.good(FCHOWNAT, Fcntl.AT_FDCWD, t.path("/x/mine"), 1, 2, 0);
          assertThat(Files.getAttribute(machine.resolve("mine"), "unix:uid")).isEqualTo(1);
        });
  }

  @Test
  void namelessFilesAndExtendedAttributes() throws Exception {
    with(
        List.of(export("/x")),
        t -> {
          int fd = t.opened("/x", Fcntl.O_RDWR | Fcntl.O_TMPFILE);
          t.put(random(5000));
          t.good(Canonical.WRITE, fd, t.data(), 5000);
          assertThat(t.list("/x")).isEmpty();
          t.good(
              LINKAT,
              Fcntl.AT_FDCWD,
              t.path("/proc/self/fd/" + fd),
              Fcntl.AT_FDCWD,
              t.second("/x/named"),
              Fcntl.AT_SYMLINK_FOLLOW);
          t.close(fd);
          assertThat(Files.readAllBytes(machine.resolve("named"))).isEqualTo(random(5000));

          t.put(random(200));
          t.good(SETXATTR, t.path("/x/named"), t.second("user.test"), t.data(), 200, 0);
          assertThat(t.good(GETXATTR, t.path("/x/named"), t.second("user.test"), 0, 0))
              .isEqualTo(200);
          t.put(new byte[200]);
          t.good(GETXATTR, t.path("/x/named"), t.second("user.test"), t.data(), 1000);
          assertThat(t.get(200)).isEqualTo(random(200));
          assertThat(t.call(GETXATTR, t.path("/x/named"), t.second("user.test"), t.data(), 10))
              .isEqualTo(-Errno.ERANGE);
          long n = t.good(LISTXATTR, t.path("/x/named"), t.data(), 1000);
          assertThat(new String(t.get(n), StandardCharsets.UTF_8)).contains("user.test\0");
          t.good(REMOVEXATTR, t.path("/x/named"), t.second("user.test"));
          assertThat(t.call(GETXATTR, t.path("/x/named"), t.second("user.test"), t.data(), 10))
              .isEqualTo(-Errno.ENODATA);
        });
  }

  @Test
  void locksExcludeTasks() throws Exception {
    with(
        List.of(export("/x")),
        t -> {
          t.write("/x/lock", random(10));
          int fd = t.opened("/x/lock", Fcntl.O_RDWR);
          t.good(FLOCK, fd, 2);
          flock(t.memory, 1);
          t.good(Canonical.FCNTL, fd, Fcntl.F_SETLK, t.memory.address() + SMALL);
          long[] other = new long[2];
          CountDownLatch done = new CountDownLatch(1);
          Thread thread =
              Thread.ofPlatform()
                  .start(() -> {
                    assertThat(t.kernel.enterTask(0, true)).isPositive();
                    int mine = t.opened("/x/lock", Fcntl.O_RDWR);
                    other[0] = t.call(FLOCK, mine, 2 | 4);
                    flock(t.memory, 1);
                    other[1] =
                        t.call(Canonical.FCNTL, mine, Fcntl.F_SETLK, t.memory.address() + SMALL);
                    done.countDown();
                    t.kernel.leaveTask();
                  });
          assertThat(done.await(30, TimeUnit.SECONDS)).isTrue();
          thread.join();
          assertThat(other[0]).isEqualTo(-Errno.EAGAIN);
          assertThat(other[1]).isEqualTo(-Errno.EAGAIN);
          t.close(fd);
        });
  }

  /** A {@code struct flock} of the whole file. */
  private static void flock(MemorySegment memory, int type) {
    memory.asSlice(SMALL, 32).fill((byte) 0);
    memory.set(ValueLayout.JAVA_SHORT, SMALL, (short) type);
  }

  @Test
  void changesOfOthersAreSeen() throws Exception {
    with(
        List.of(export("/x")),
        t -> {
          Path file = machine.resolve("file");
          Files.writeString(file, "one");
          assertThat(t.text("/x/file")).isEqualTo("one");
          // The same length, so that only the time tells; an open is enough.
          for (int i = 0; i < 20; i++) {
            String text = "t" + (i + 10);
            Files.writeString(file, text);
            assertThat(t.text("/x/file")).isEqualTo(text);
          }
          // An open file sees it after a second.
          int fd = t.opened("/x/file", Fcntl.O_RDONLY);
          assertThat(t.good(PREAD64, fd, t.data(), 10, 0)).isEqualTo(3);
          Files.writeString(file, "longer than before");
          Thread.sleep(1100);
          assertThat(t.good(PREAD64, fd, t.data(), 100, 0)).isEqualTo(18);
          t.close(fd);
          // A name that was not there is there at once.
          assertThat(t.statx("/x/new", 0)).isEqualTo(-Errno.ENOENT);
          Files.writeString(machine.resolve("new"), "!");
          assertThat(t.text("/x/new")).isEqualTo("!");
          Files.delete(machine.resolve("new"));
          Thread.sleep(1100);
          assertThat(t.statx("/x/new", 0)).isEqualTo(-Errno.ENOENT);
        });
  }

  @Test
  void linksAndDotsStayOnTheDevice() throws Exception {
    Path inside = Files.createDirectory(machine.resolve("inside"));
    Files.writeString(machine.resolve("secret"), "secret");
    Files.createSymbolicLink(inside.resolve("up"), Path.of("../secret"));
    Files.createSymbolicLink(inside.resolve("absolute"), machine.resolve("secret"));
    Files.createSymbolicLink(inside.resolve("root"), Path.of("/"));
    with(
        List.of(ExportSpec.directory(inside + ":/x/y")),
        t -> {
          assertThat(t.open("/x/y/up", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);
          assertThat(t.open("/x/y/absolute", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);
          assertThat(t.open("/x/y/../secret", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);
          assertThat(t.list("/x/y/..")).containsExactly("y");
          assertThat(t.list("/x/y/root")).contains("x", "proc", "dev");
          for (String name : new String[] {"é ü", "-rf", "new\nline", "\u0001", "x".repeat(255)}) {
            t.write("/x/y/" + name, random(3));
            assertThat(t.list("/x/y")).contains(name);
            t.good(UNLINKAT, Fcntl.AT_FDCWD, t.path("/x/y/" + name), 0);
          }
          assertThat(t.open("/x/y/" + "x".repeat(256), CREATE, 0600))
              .isEqualTo(-Errno.ENAMETOOLONG);
        });
  }

  @Test
  void manyFiles() throws Exception {
    with(
        List.of(export("/x")),
        t -> {
          Set<String> names = new HashSet<>();
          for (int i = 0; i < 3000; i++) {
            String name = "file-" + i;
            names.add(name);
            if (i % 2 == 0) {
              Files.createFile(machine.resolve(name));
            } else {
              t.close(t.opened("/x/" + name, CREATE));
            }
          }
          assertThat(t.list("/x")).isEqualTo(names);
          for (String name : names) {
            assertThat(t.statx("/x/" + name, 0)).isZero();
            t.good(UNLINKAT, Fcntl.AT_FDCWD, t.path("/x/" + name), 0);
          }
          assertThat(t.list("/x")).isEmpty();
          try (var left = Files.list(machine)) {
            assertThat(left).isEmpty();
          }
        });
  }

  @Test
  void readOnlyIsReadOnly() throws Exception {
    Files.writeString(machine.resolve("file"), "text");
    with(
        List.of(ExportSpec.directory(machine + ":/x:ro")),
        t -> {
          assertThat(t.text("/x/file")).isEqualTo("text");
          assertThat(t.open("/x/file", Fcntl.O_RDWR, 0)).isEqualTo(-Errno.EROFS);
          assertThat(t.open("/x/new", CREATE, 0600)).isEqualTo(-Errno.EROFS);
          assertThat(t.call(UNLINKAT, Fcntl.AT_FDCWD, t.path("/x/file"), 0))
              .isEqualTo(-Errno.EROFS);
        });
  }

  @Test
  void copiesBetweenFiles() throws Exception {
    Files.write(machine.resolve("from"), random(900_000));
    with(
        List.of(export("/x")),
        t -> {
          int from = t.opened("/x/from", Fcntl.O_RDONLY);
          int to = t.opened("/x/to", CREATE);
          assertThat(t.good(COPY_FILE_RANGE, from, 0, to, 0, 900_000, 0)).isEqualTo(900_000);
          t.close(from);
          t.close(to);
          assertThat(Files.readAllBytes(machine.resolve("to"))).isEqualTo(random(900_000));
        });
  }

  /** A file goes to a socket; the second time nothing is asked of the machine for it. */
  @Test
  void sendfileStaysInTheKernel() throws Exception {
    int length = 1_500_000;
    Files.write(machine.resolve("file"), random(length));
    with(
        List.of(export("/x")),
        t -> {
          int[] pair = tcpPair(t);
          int fd = t.opened("/x/file", Fcntl.O_RDONLY);
          assertThat(sent(t, fd, pair, length)).isEqualTo(random(length));
          long before = t.device.exportRequests();
          assertThat(sent(t, fd, pair, length)).isEqualTo(random(length));
          assertThat(t.device.exportRequests()).isEqualTo(before);
          t.close(fd);
          t.close(pair[0]);
          t.close(pair[1]);
        });
  }

  private static byte[] sent(Task t, int fd, int[] pair, int length) {
    long offset = t.memory.address() + SMALL;
    t.memory.set(ValueLayout.JAVA_LONG, SMALL, 0);
    int received = 0;
    byte[] all = new byte[length];
    while (received < length) {
      long rest = length - t.memory.get(ValueLayout.JAVA_LONG, SMALL);
      if (rest > 0) {
        t.good(SENDFILE, pair[0], fd, offset, Math.min(rest, 64 << 10));
      }
      long n = t.good(Canonical.READ, pair[1], t.data(), 1 << 20);
      System.arraycopy(t.get(n), 0, all, received, (int) n);
      received += (int) n;
    }
    return all;
  }

  static int[] tcpPair(Task t) {
    MemorySegment address = t.memory.asSlice(SMALL, 64);
    address.fill((byte) 0);
    address.set(ValueLayout.JAVA_SHORT, 0, (short) Socket.AF_INET);
    address.set(ValueLayout.JAVA_SHORT, 2, Short.reverseBytes((short) 7001));
    address.set(ValueLayout.JAVA_INT, 4, 0x0100007f);
    int listener = (int) t.good(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0);
    t.good(Canonical.BIND, listener, address.address(), 16);
    t.good(Canonical.LISTEN, listener, 1);
    int client = (int) t.good(Canonical.SOCKET, Socket.AF_INET, Socket.SOCK_STREAM, 0);
    t.good(Canonical.CONNECT, client, address.address(), 16);
    int server = (int) t.good(Canonical.ACCEPT, listener, 0, 0);
    t.close(listener);
    return new int[] {client, server};
  }

  // --- images ---

  private Path content() throws IOException {
    Path content = Files.createDirectory(machine.resolve("content"));
    Files.writeString(content.resolve("text"), "in an image");
    Files.write(content.resolve("data"), random(1_300_000));
    Files.createDirectory(content.resolve("d"));
    Files.createSymbolicLink(content.resolve("d").resolve("link"), Path.of("../text"));
    return content;
  }

  private Path run(Path image, String... command) throws Exception {
    Path log = machine.resolve("log");
    Process p =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    assertThat(p.waitFor()).as(Files.readString(log)).isZero();
    return image;
  }

  private void check(Task t) {
    assertThat(t.text("/mnt/text")).isEqualTo("in an image");
    assertThat(t.read("/mnt/data")).isEqualTo(random(1_300_000));
    assertThat(t.text("/mnt/d/link")).isEqualTo("in an image");
    assertThat(t.list("/mnt")).contains("text", "data", "d");
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "lz4", "lzo", "xz", "zstd"})
  void squashfs(String compression) throws Exception {
    Path image = machine.resolve("image");
    run(
        image,
        "mksquashfs",
        content().toString(),
        image.toString(),
        "-comp",
        compression,
        "-quiet",
        "-no-progress");
    with(
        List.of(ExportSpec.disk(image + ":/mnt")),
        t -> {
          check(t);
          assertThat(t.open("/mnt/new", CREATE, 0600)).isEqualTo(-Errno.EROFS);
        });
  }

  @Test
  void erofs() throws Exception {
    Path image = machine.resolve("image");
    run(image, "mkfs.erofs", image.toString(), content().toString());
    with(List.of(ExportSpec.disk(image + ":/mnt:ro")), this::check);
    Files.delete(image);
    run(image, "mkfs.erofs", "-zlz4", image.toString(), machine.resolve("content").toString());
    assertThatThrownBy(() -> with(List.of(ExportSpec.disk(image + ":/mnt")), this::check))
        .hasMessageContaining("it is compressed");
  }

  @Test
  void ext4KeepsWhatIsWritten() throws Exception {
    Path image = machine.resolve("image");
    try (var file = new java.io.RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(32 << 20);
    }
    run(image, "mkfs.ext4", "-q", "-d", content().toString(), image.toString());
    List<ExportSpec> exports = List.of(ExportSpec.disk(image + ":/mnt"));
    with(
        exports,
        t -> {
          check(t);
          assertThatThrownBy(() -> Device.start(options(exports).build()))
              .hasMessageContaining("in use by another device");
          t.write("/mnt/new", random(1_000_000));
          t.good(UNLINKAT, Fcntl.AT_FDCWD, t.path("/mnt/text"), 0);
          t.good(STATFS, t.path("/mnt"), t.memory.address() + SMALL);
          assertThat(t.memory.get(ValueLayout.JAVA_LONG, SMALL)).isEqualTo(0xef53);
        });
    // Clean, without a journal to recover.
    run(image, "e2fsck", "-f", "-n", image.toString());
    with(
        List.of(ExportSpec.disk(image + ":/mnt:ro")),
        t -> {
          assertThat(t.read("/mnt/new")).isEqualTo(random(1_000_000));
          assertThat(t.statx("/mnt/text", 0)).isEqualTo(-Errno.ENOENT);
          assertThat(t.open("/mnt/other", CREATE, 0600)).isEqualTo(-Errno.EROFS);
        });
  }

  @Test
  void severalExportsOneInAnother() throws Exception {
    Path a = Files.createDirectories(machine.resolve("a/inner"));
    Path b = Files.createDirectory(machine.resolve("b"));
    Files.writeString(b.resolve("f"), "b");
    with(
        List.of(ExportSpec.directory(b + ":/x/inner"), ExportSpec.directory(a.getParent() + ":/x")),
        t -> {
          assertThat(t.text("/x/inner/f")).isEqualTo("b");
          assertThat(t.list("/x")).containsExactly("inner");
        });
    assertThatThrownBy(() ->
            Device.start(
                options(
                        List.of(
                            ExportSpec.directory(b + ":/x/none"),
                            ExportSpec.directory(a.getParent() + ":/x")))
                    .build()))
        .hasMessageContaining("no /x/none in the export at /x");
    assertThat(a.getParent()).isDirectoryNotContaining("glob:**/none");
  }

  @Test
  void saysWhatIsWrong() throws Exception {
    Path file = Files.writeString(machine.resolve("plain"), "no file system");
    assertRefused(ExportSpec.directory(machine + "/none:/x"), "does not exist");
    assertRefused(ExportSpec.directory(file + ":/x"), "is not a directory");
    assertRefused(ExportSpec.disk(machine + ":/x"), "is no image but a directory");
    assertRefused(ExportSpec.disk(file + ":/x"), "is no image of a file system");
    assertRefused(ExportSpec.disk(machine + "/none:/x"), "does not exist");
    assertThatThrownBy(() -> Device.start(options(List.of(export("/x"), export("/x"))).build()))
        .hasMessage("Two exports are to be seen at /x.");
  }

  private static void assertRefused(ExportSpec spec, String why) {
    assertThatThrownBy(() -> Device.start(options(List.of(spec)).build()))
        .isInstanceOf(DeviceException.class)
        .hasMessageContaining(why);
  }

  // --- the host's kernel ---

  @Test
  void theHostsKernelShowsTheSame() throws Exception {
    assumeTrue(Linux.syscall(SyscallNumbers.GETEUID, 0) == 0, "needs root");
    Path from = Files.createDirectory(machine.resolve("from"));
    Path at = Files.createDirectory(machine.resolve("at"));
    Path readOnly = Files.createDirectory(machine.resolve("ro"));
    Files.writeString(from.resolve("f"), "text");
    Work work =
        t -> {
          assertThat(t.text(at + "/f")).isEqualTo("text");
          assertThat(t.open(readOnly + "/new", CREATE, 0600)).isEqualTo(-Errno.EROFS);
          t.write(at + "/new", random(5));
        };
    // A thread of its own: the host's kernel lets no thread back out.
    Thread thread =
        Thread.ofPlatform()
            .unstarted(() -> {
              try {
                with(
                    host(
                        List.of(
                            ExportSpec.directory(from + ":" + at),
                            ExportSpec.directory(from + ":" + readOnly + ":ro"))),
                    work);
              } catch (Exception e) {
                throw new IllegalStateException(e);
              }
            });
    List<Throwable> failures = new ArrayList<>();
    thread.setUncaughtExceptionHandler((who, e) -> failures.add(e));
    thread.start();
    thread.join();
    assertThat(failures).isEmpty();
    assertThat(from.resolve("new")).exists();
    assertThat(at.resolve("f")).doesNotExist();
    assertThatThrownBy(
            () -> Device.start(host(List.of(ExportSpec.disk(from.resolve("f") + ":/x"))).build()))
        .hasMessageContaining("there are no disks");
  }
}
