// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Arm64;
import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Fetches;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Receiver;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Statistics;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;

/**
 * Programs of this machine whose device is an arm64 process under qemu-user, with the library
 * kernel for arm64 or with arm64's calls of this machine's kernel: what they do is what they do
 * natively. Only with {@code -Parm64}: {@code docs/architectures.md}.
 */
@Tag("arm64")
@Timeout(value = 20, unit = TimeUnit.MINUTES)
class Arm64Test {
  /** Many times what an emulated device takes on a machine that is busy. */
  private static final Duration LIMIT = Duration.ofMinutes(6);

  @BeforeAll
  @Timeout(value = 70, unit = TimeUnit.MINUTES)
  static void requirements() {
    Arm64.assumeInstalled();
    assertThat(Arm64.kernel()).isRegularFile();
  }

  /** The object itself, without Java: the same program on both, and the same lines. */
  @Scenario(modes = Mode.NATIVE, trace = false)
  void theLibraryKernelBootsAndWorks(Trial trial) {
    String source = Arm64.inTree("kernel/src/test/c/smoke.c").toString();
    String headers = "-I" + Arm64.inTree("kernel/src/main/linux/include");
    for (List<String> target : List.of(List.of("gcc", "here"), List.of(Arm64.COMPILER, "there"))) {
      trial
          .machine(
              target.getFirst(),
              "-std=gnu17",
              "-O2",
              "-Wall",
              "-Wextra",
              "-Werror",
              "-pthread",
              headers,
              "-o",
              target.getLast(),
              source)
          .run(LIMIT)
          .expectSuccess();
    }
    Finished here =
        trial
            .machine("./here", System.getProperty("outboard.kernel", ""))
            .run(LIMIT)
            .expectSuccess();
    for (List<String> emulator :
        List.of(
            List.of(Arm64.qemu().toString()),
            List.of(Arm64.QEMU, "-p", "16384"),
            List.of(Arm64.QEMU, "-p", "65536"))) {
      List<String> words = new ArrayList<>(emulator);
      words.addAll(List.of("-L", Arm64.root().toString(), "./there", Arm64.kernel().toString()));
      Finished there = trial.machine(words.toArray(String[]::new)).run(LIMIT).expectSuccess();
      assertThat(there.output()).as("%s", words).contains("halted").isEqualTo(here.output());
    }
  }

  @Scenario(trace = false)
  void whatProgramsDoEveryDay(Trial trial) {
    Command command = trial.program(Programs.staticC("everyday")).onArm64();
    if (trial.mode() == Mode.HOST) {
      // Where calls are the emulator's, by the one that gets the timeouts of a socket.
      command.environment(Arm64.PAGES, "4096");
    }
    Finished done = command.run(LIMIT);
    trial.outcome("output", done.output());
    done.expectSuccess();
  }

  /** Whose call slots are not whole pages each. */
  @Scenario(
      modes = {Mode.NATIVE, Mode.LIBRARY},
      trace = false)
  void whatProgramsDoEveryDayWithPagesOf64KiB(Trial trial) {
    Finished done =
        trial
            .program(Programs.staticC("everyday"))
            .onArm64()
            .environment(Arm64.PAGES, "65536")
            .run(LIMIT);
    trial.outcome("output", done.output());
    done.expectSuccess();
  }

  @Scenario(trace = false)
  void clientsOnALoop(Trial trial) {
    Finished done =
        trial
            .program(Programs.PYTHON, Programs.python("asyncio_echo"), "8")
            .onArm64()
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void clientsOnThreads(Trial trial) {
    Finished done =
        trial
            .program(Programs.PYTHON, Programs.python("threads"), "4")
            .onArm64()
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void curlFetchesFromPythonsServer(Trial trial) {
    Fetches.overLoopback(
        trial, "curl -sS -w '%{http_code} %{size_download}' -o copy $url", Command::onArm64, LIMIT);
  }

  /** An export by virtio-fs, a TAP by virtio-net, and what goes from one to the other. */
  @Scenario(link = Link.TO_MACHINE, trace = false)
  void aFileOfTheDeviceGoesToTheMachine(Trial trial) throws Exception {
    long bytes = 8L << 20;
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    Path large = trial.file("share/large", bytes);
    Path stats = trial.directory().resolve("stats.json");
    try (Receiver server = new Receiver(trial.directory().resolve("copy"))) {
      Finished done =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, socket, sys
                  with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as c:
                      f = os.open('share/large', os.O_RDONLY | os.O_NOFOLLOW)
                      at, end = 0, os.fstat(f).st_size
                      while at < end: at += os.sendfile(c.fileno(), f, at, min(end - at, 1_000_001))
                      print(at, sorted(os.listdir('share')))
                      for wrong in 'share/large', 'share/none':
                          try: os.open(wrong, os.O_RDONLY | os.O_DIRECTORY)
                          except OSError as e: print(e.strerror)
                  """,
                  trial.outside(),
                  "" + server.port())
              .onArm64()
              .withDirectoryOfDevice(share)
              .with("--stats=" + stats)
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
      assertThat(server.checksum(LIMIT)).isEqualTo(TestFiles.checksum(large));
    }
    if (trial.mode().offloaded()) {
      Statistics counted = Statistics.read(stats);
      assertThat(counted.number("\"toDevice\": (\\d+)"))
          .as("bytes over the channel of %d, in %s", bytes, counted)
          .isBetween(100L, bytes / 100);
      assertThat(counted.number("\"sendfile\".*\"bytes\": (\\d+)")).isEqualTo(bytes);
    }
  }
}
