// SPDX-License-Identifier: MIT
package dev.outboard.posix;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.outboard.abi.Errno;
import dev.outboard.abi.Fcntl;
import dev.outboard.abi.SyscallNumbers;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a child has that was started with less, and that its parent has kept everything. */
class RestrictionTest {
  private static final int O_RDWR_CREAT = Fcntl.O_RDWR | Fcntl.O_CREAT;

  @TempDir Path directory;

  private Path output;

  @BeforeEach
  void anEmptyFileForOutput() throws IOException {
    output = Files.createFile(directory.resolve("output"));
  }

  /** The machine's own files, so that a shell runs. */
  private static Landlock system() {
    Landlock files = Landlock.nothing();
    for (String path : List.of("/usr", "/lib", "/lib64", "/bin")) {
      files = files.allow(Path.of(path), Landlock.RUN);
    }
    return files
        .allow(Path.of("/etc/ld.so.cache"), Landlock.READ)
        .allow(Path.of("/proc"), Landlock.READ);
  }

  /** What a script writes to its standard output and error. */
  private String run(Restriction restriction, String script) throws IOException {
    long pid =
        new Spawn(List.of("/bin/sh", "-c", script, "sh", directory.toString()))
            .restrictedBy(restriction)
            .open(0, output.toString(), Fcntl.O_RDONLY)
            .open(1, output.toString(), O_RDWR_CREAT)
            .duplicate(1, 2)
            .start();
    assertThat(pid).as(() -> Errno.name((int) -pid)).isPositive();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment status = arena.allocate(ValueLayout.JAVA_INT);
      while (Linux.syscall(SyscallNumbers.WAIT4, pid, status.address(), 0) == -Errno.EINTR) {
        // Again.
      }
    }
    return Files.readString(output);
  }

  private static Map<String, Long> sets(String status) {
    Map<String, Long> sets = new TreeMap<>();
    status
        .lines()
        .map(line -> line.split(":\\s*", 2))
        .filter(words -> words[0].startsWith("Cap"))
        .forEach(words -> sets.put(words[0], Long.parseUnsignedLong(words[1], 16)));
    return sets;
  }

  @Test
  void aChildHasTheCapabilitiesThatAreLeftAndItsParentAllThatItHad() throws IOException {
    String before = Files.readString(Path.of("/proc/thread-self/status"));
    long had = Capabilities.permitted();
    assertThat(had).isEqualTo(sets(before).get("CapPrm"));
    long left = Capabilities.SETUID | Capabilities.BPF;
    String status = run(new Restriction(left, null), "cat /proc/self/status");
    assertThat(status).contains("NoNewPrivs:\t1");
    Map<String, Long> sets = sets(status);
    assertThat(sets.get("CapPrm")).isEqualTo(had & left);
    assertThat(sets.get("CapEff")).isEqualTo(had & left);
    assertThat(sets.get("CapInh")).isZero();
    assertThat(sets.get("CapAmb")).isZero();
    if (had != 0) {
      assertThat(sets.get("CapBnd")).isEqualTo(sets(before).getOrDefault("CapBnd", 0L) & left);
    }
    assertThat(sets(Files.readString(Path.of("/proc/thread-self/status")))).isEqualTo(sets(before));
  }

  @Test
  void nothingIsLeftOutOfNothing() throws IOException {
    assertThat(Restriction.NONE.givesUpAnything()).isFalse();
    String status = run(Restriction.NONE, "cat /proc/self/status");
    assertThat(sets(status)).isEqualTo(sets(Files.readString(Path.of("/proc/thread-self/status"))));
    assertThat(status).contains("NoNewPrivs:\t0");
  }

  @Test
  void aChildOpensWhatItsRulesSayAndItsParentEverything() throws IOException {
    assumeThat(Landlock.version()).isPositive();
    Path allowed = Files.createDirectory(directory.resolve("allowed"));
    Path read = Files.createDirectory(directory.resolve("read"));
    Files.createDirectory(allowed.resolve("below"));
    Files.writeString(read.resolve("file"), "can be read\n");
    Files.writeString(directory.resolve("secret"), "no secret\n");
    Landlock files =
        system()
            .allow(output, Landlock.WRITE)
            .allow(allowed, Landlock.EVERYTHING)
            .allow(read, Landlock.READ)
            .allow(directory.resolve("is-not-there"), Landlock.READ);
    String said =
        run(
            new Restriction(Capabilities.ALL, files),
            """
            cd "$1" || exit
            cat read/file
            echo changed >read/file || echo is not written
            cat secret || echo is not read
            mv secret allowed/ || echo is not moved
            echo made >allowed/file && mv allowed/file allowed/below/file && cat allowed/below/file
            """);
    assertThat(said)
        .contains("can be read\n", "is not written\n", "is not read\n", "is not moved\n", "made\n")
        .doesNotContain("no secret");
    assertThat(read.resolve("file")).hasContent("can be read");
    assertThat(directory.resolve("secret")).hasContent("no secret");
  }

  /** A file that takes another's place is not the one that the rule is about; a directory's are. */
  @Test
  void aRuleOfADirectoryHoldsForWhatComesIntoIt() throws IOException {
    assumeThat(Landlock.version()).isPositive();
    Path kept = Files.createDirectory(directory.resolve("kept"));
    Files.writeString(kept.resolve("file"), "first\n");
    Files.writeString(directory.resolve("alone"), "first\n");
    Path done = directory.resolve("done");
    Landlock files =
        system()
            .allow(output, Landlock.WRITE)
            .allow(kept, Landlock.READ)
            .allow(directory.resolve("alone"), Landlock.READ);
    // Both are replaced after the rules are in force: by this process, when the child says so.
    Files.writeString(kept.resolve("new"), "second\n");
    Files.writeString(directory.resolve("alone.new"), "second\n");
    Thread replacer =
        Thread.ofPlatform()
            .start(() -> {
              try {
                while (!Files.readString(output).contains("started")) {
                  Thread.sleep(10);
                }
                Files.move(
                    kept.resolve("new"), kept.resolve("file"), StandardCopyOption.REPLACE_EXISTING);
                Files.move(
                    directory.resolve("alone.new"),
                    directory.resolve("alone"),
                    StandardCopyOption.REPLACE_EXISTING);
                Files.createFile(done);
              } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
              }
            });
    String said =
        run(
            new Restriction(Capabilities.ALL, files),
            """
            cd "$1" || exit
            cat alone
            echo started
            until [ -e done ]; do sleep 0.1; done
            cat kept/file
            cat alone || echo another file
            """);
    Uninterrupted.join(replacer);
    assertThat(said).contains("first\nstarted\nsecond\n", "another file\n");
  }
}
