// SPDX-License-Identifier: MIT
package dev.outboard.device;

import static dev.outboard.device.DeviceExportsTest.PREAD64;
import static dev.outboard.device.DeviceExportsTest.SENDFILE;
import static dev.outboard.device.DeviceExportsTest.SMALL;
import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.Stat;
import dev.outboard.device.DeviceExportsTest.Task;
import dev.outboard.device.DeviceExportsTest.Work;
import dev.outboard.virtio.ExportSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What others do on the machine to files of an export is there at the next open, whether the kernel
 * tells the server of it (an export that can be written to) or not (one that can only be read).
 */
@Timeout(value = 180, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class ExportCoherenceTest {
  /** For how long the kernel may believe names and attributes, and a little. */
  private static final long VALID_MILLIS = 1100;

  @TempDir Path machine;

  private void with(String access, Work work) throws Exception {
    DeviceExportsTest.with(List.of(ExportSpec.directory(machine + ":/x" + access)), work);
  }

  private static Object changed(Path file) throws IOException {
    return Files.getAttribute(file, "unix:ctime");
  }

  /** Writes to a file in place; at a time that differs from that of its last change. */
  private static void write(Path file, String text) throws IOException {
    Object before = changed(file);
    do {
      try (var out = Files.newOutputStream(file, StandardOpenOption.WRITE)) {
        out.write(text.getBytes(StandardCharsets.UTF_8));
      }
    } while (changed(file).equals(before));
  }

  /** The same, and says that it was not modified. */
  private static void writeSecretly(Path file, String text) throws IOException {
    FileTime modified = Files.getLastModifiedTime(file);
    Object before = changed(file);
    do {
      write(file, text);
      Files.setLastModifiedTime(file, modified);
    } while (changed(file).equals(before));
  }

  /** Opens, and compares contents and attributes with the machine's. */
  private void seesAll(Task t, String name) throws IOException {
    Path file = machine.resolve(name);
    int fd = t.opened("/x/" + name, Fcntl.O_RDONLY);
    t.status(fd, 0, SMALL);
    assertThat(t.memory.get(ValueLayout.JAVA_LONG, SMALL + Stat.STATX_SIZE))
        .isEqualTo(Files.size(file));
    Instant modified = Files.getLastModifiedTime(file).toInstant();
    assertThat(t.memory.get(ValueLayout.JAVA_LONG, SMALL + Stat.STATX_MTIME))
        .isEqualTo(modified.getEpochSecond());
    assertThat(t.number(Stat.STATX_MTIME + Stat.STATX_NANOS)).isEqualTo(modified.getNano());
    long n = t.good(Canonical.READ, fd, t.data(), 2 << 20);
    assertThat(new String(t.get(n), StandardCharsets.UTF_8)).isEqualTo(Files.readString(file));
    t.close(fd);
  }

  /** Of an export that nobody writes to, an open costs no request. */
  @ParameterizedTest
  @ValueSource(strings = ":ro")
  void opensCostNoRequests(String access) throws Exception {
    Files.writeString(machine.resolve("file"), "text");
    with(
        access,
        t -> {
          t.text("/x/file");
          long start = System.nanoTime();
          long before = t.device.exportRequests();
          for (int i = 0; i < 1000; i++) {
            assertThat(t.text("/x/file")).isEqualTo("text");
          }
          long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - start) + 2;
          // The directory, the name, and what the file is, as often as they may be out of date.
          assertThat(t.device.exportRequests() - before).isLessThanOrEqualTo(4 * seconds);
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void contentsChange(String access) throws Exception {
    Path file = machine.resolve("file");
    Files.writeString(file, "first");
    with(
        access,
        t -> {
          assertThat(t.text("/x/file")).isEqualTo("first");
          for (int i = 10; i < 40; i++) {
            write(file, "the" + i);
            assertThat(t.text("/x/file")).isEqualTo("the" + i);
          }
          // An export that can be written to is told of new contents at once, of a new size when
          // the kernel asks.
          if (access.isEmpty()) {
            return;
          }
          seesAll(t, "file");
          Files.writeString(file, "longer than it was");
          seesAll(t, "file");
          Files.writeString(file, "short");
          seesAll(t, "file");
          Files.writeString(file, "");
          seesAll(t, "file");
          Files.writeString(file, "0123456789".repeat(50_000));
          seesAll(t, "file");
          Files.setLastModifiedTime(file, FileTime.from(1_000_000_007, TimeUnit.SECONDS));
          seesAll(t, "file");
        });
  }

  /** Only the time of change shows it, which FUSE's client does not look at. */
  @ParameterizedTest
  @ValueSource(strings = ":ro")
  void contentsChangeSecretly(String access) throws Exception {
    Path file = machine.resolve("file");
    Files.writeString(file, "-----");
    with(
        access,
        t -> {
          seesAll(t, "file");
          for (int i = 10; i < 30; i++) {
            writeSecretly(file, "the" + i);
            seesAll(t, "file");
          }
          // And if the kernel has been told of the time of change by something else.
          writeSecretly(file, "other");
          Thread.sleep(VALID_MILLIS);
          assertThat(t.statx("/x/file", 0)).isZero();
          seesAll(t, "file");
          writeSecretly(file, "again");
          Thread.sleep(VALID_MILLIS);
          seesAll(t, "file");
        });
  }

  /** Pages that a socket still has are no longer those of the file. */
  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void contentsChangeWhileTheyAreSent(String access) throws Exception {
    Path file = machine.resolve("file");
    Files.writeString(file, "a".repeat(60_000));
    with(
        access,
        t -> {
          int[] pair = DeviceExportsTest.tcpPair(t);
          int fd = t.opened("/x/file", Fcntl.O_RDONLY);
          t.good(SENDFILE, pair[0], fd, 0, 60_000);
          String next = "b".repeat(60_000);
          if (access.isEmpty()) {
            write(file, next);
          } else {
            writeSecretly(file, next);
          }
          assertThat(t.text("/x/file")).isEqualTo(next);
          assertThat(t.good(PREAD64, fd, t.data(), 4, 100)).isEqualTo(4);
          assertThat(t.get(4)).as("by the file that was open").asString().isEqualTo("bbbb");
          t.close(fd);
          t.close(pair[0]);
          t.close(pair[1]);
        });
  }

  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void namesChange(String access) throws Exception {
    Path file = machine.resolve("file");
    Files.writeString(file, "one");
    with(
        access,
        t -> {
          assertThat(t.text("/x/file")).isEqualTo("one");
          int old = t.opened("/x/file", Fcntl.O_RDONLY);
          Files.writeString(machine.resolve("next"), "two");
          Files.move(machine.resolve("next"), file, StandardCopyOption.ATOMIC_MOVE);
          // Within a second either, and whole.
          assertThat(t.text("/x/file")).isIn("one", "two");
          Thread.sleep(VALID_MILLIS);
          assertThat(t.text("/x/file")).isEqualTo("two");
          assertThat(t.good(PREAD64, old, t.data(), 9, 0)).isEqualTo(3);
          assertThat(t.get(3)).asString().isEqualTo("one");
          t.close(old);

          Files.move(file, machine.resolve("moved"));
          assertThat(t.text("/x/moved")).isEqualTo("two");
          Thread.sleep(VALID_MILLIS);
          assertThat(t.open("/x/file", Fcntl.O_RDONLY, 0)).isEqualTo(-Errno.ENOENT);
          Files.writeString(file, "three");
          assertThat(t.text("/x/file")).isEqualTo("three");

          // A directory in the place of another.
          Files.createDirectory(machine.resolve("d"));
          Files.writeString(machine.resolve("d/f"), "old");
          assertThat(t.text("/x/d/f")).isEqualTo("old");
          Files.createDirectory(machine.resolve("e"));
          Files.writeString(machine.resolve("e/f"), "new");
          Files.move(machine.resolve("d"), machine.resolve("gone"));
          Files.move(machine.resolve("e"), machine.resolve("d"));
          Thread.sleep(VALID_MILLIS);
          assertThat(t.text("/x/d/f")).isEqualTo("new");
          assertThat(t.list("/x")).contains("d", "gone", "file", "moved").doesNotContain("e");
        });
  }

  /** A file that is open stays what it is, whatever becomes of its name. */
  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void whileItIsOpen(String access) throws Exception {
    Path file = machine.resolve("file");
    String text = "0123456789".repeat(100_000);
    Files.writeString(file, text);
    with(
        access,
        t -> {
          int fd = t.opened("/x/file", Fcntl.O_RDONLY);
          Files.delete(file);
          assertThat(t.good(PREAD64, fd, t.data(), 10, 999_990)).isEqualTo(10);
          assertThat(t.get(10)).asString().isEqualTo("0123456789");
          Thread.sleep(VALID_MILLIS);
          assertThat(t.good(PREAD64, fd, t.data(), 10, 500_000)).isEqualTo(10);
          t.close(fd);

          Files.writeString(file, text);
          fd = t.opened("/x/file", Fcntl.O_RDONLY);
          assertThat(t.good(PREAD64, fd, t.data(), 10, 999_990)).isEqualTo(10);
          Files.writeString(file, "cut");
          assertThat(t.text("/x/file")).isEqualTo("cut");
          if (!access.isEmpty()) {
            // Whoever has opened it has told the kernel.
            assertThat(t.good(PREAD64, fd, t.data(), 10, 999_990)).isZero();
          }
          Thread.sleep(VALID_MILLIS);
          assertThat(t.good(PREAD64, fd, t.data(), 10, 0)).isEqualTo(3);
          assertThat(t.get(3)).asString().isEqualTo("cut");
          t.close(fd);
        });
  }

  /** By another of its names, also outside of the export. */
  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void byAnotherName(String access) throws Exception {
    Path export = Files.createDirectory(machine.resolve("export"));
    Path file = export.resolve("file");
    Files.writeString(file, "one");
    Files.createLink(export.resolve("second"), file);
    Files.createLink(machine.resolve("outside"), file);
    DeviceExportsTest.with(
        List.of(ExportSpec.directory(export + ":/x" + access)),
        t -> {
          assertThat(t.text("/x/file")).isEqualTo("one");
          write(machine.resolve("outside"), "two");
          assertThat(t.text("/x/second")).isEqualTo("two");
          write(export.resolve("second"), "six");
          assertThat(t.text("/x/file")).isEqualTo("six");
          Files.delete(file);
          write(machine.resolve("outside"), "ten");
          assertThat(t.text("/x/second")).isEqualTo("ten");
        });
  }

  /** A file that is written to all the time can be opened all the same. */
  @ParameterizedTest
  @ValueSource(strings = {":ro", ""})
  void whileItChanges(String access) throws Exception {
    Path file = machine.resolve("file");
    Files.writeString(file, "0000000");
    with(
        access,
        t -> {
          AtomicBoolean done = new AtomicBoolean();
          Thread writer =
              Thread.ofPlatform()
                  .start(() -> {
                    try {
                      for (int i = 0; !done.get(); i++) {
                        write(file, "%07d".formatted(i));
                      }
                    } catch (IOException e) {
                      throw new UncheckedIOException(e);
                    }
                  });
          for (int i = 0; i < 300; i++) {
            assertThat(t.text("/x/file")).matches("\\d{7}");
          }
          done.set(true);
          writer.join();
        });
  }
}
