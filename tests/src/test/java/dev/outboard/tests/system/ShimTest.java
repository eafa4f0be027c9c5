// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;

/**
 * Calls that are spared the trap: that they are, that no other is, and that none goes wrong for it.
 */
@HostKernelByJudges
class ShimTest {
  private static final Duration LIMIT = Duration.ofSeconds(90);

  @Scenario(trace = false)
  void numbersThatChangeTheirMeaning(Trial trial) throws IOException {
    long seed = seed();
    counts(
            trial,
            trial.program(
                Programs.staticC("numbers"), Long.toString(seed), "" + trial.amount(5, 12)))
        .ifPresent(json -> {
          for (String call : new String[] {"read", "write", "writev", "close"}) {
            assertThat(untrapped(json, call)).as("untrapped %s in %s", call, json).isPositive();
          }
          assertThat(untrapped(json, "dup2")).isZero();
        });
  }

  /** Calls on sockets of the device that a process makes by itself, however they end. */
  @Scenario(trace = false)
  void sendsAndReceives(Trial trial) throws IOException {
    long seed = seed();
    counts(trial, trial.program(Programs.staticC("direct"), Long.toString(seed)))
        .ifPresent(json -> {
          for (String call :
              new String[] {"read", "write", "readv", "writev", "sendto", "recvfrom"}) {
            assertThat(count(json, call, "direct"))
                .as("%s made directly in %s", call, json)
                .isGreaterThan(100);
          }
        });
  }

  /** Forked children make calls that their parent has never made, and no others. */
  @Scenario(trace = false)
  void workersThatOnlySend(Trial trial) throws IOException {
    int workers = 4;
    int sends = 400;
    counts(
            trial,
            trial.program(Programs.PYTHON, Programs.python("workers"), "" + workers, "" + sends))
        .ifPresent(json ->
            assertThat(count(json, "sendto", "direct"))
                .as("made directly in %s", json)
                .isGreaterThan(workers * sends * 3 / 4));
  }

  /** Their parent, or who was, gets the shim after the fork: their memory has nothing of it. */
  @Scenario(trace = false)
  void childrenThatWereForkedEarly(Trial trial) throws IOException {
    counts(trial, trial.program(Programs.c("corners"), "early"))
        .ifPresent(json ->
            assertThat(count(json, "sendto", "direct"))
                .as("made directly in %s", json)
                .isGreaterThan(3 * 300));
  }

  /** A program that has memory of its own where the shim would be keeps it. */
  @Scenario(trace = false)
  void whereTheShimWouldBe(Trial trial) {
    Finished done = trial.program(Programs.c("occupied")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    assertThat(done.output()).contains(": 0\n").doesNotContainPattern(": [1-9]");
  }

  /** What calls read and write, at all places that memory has. */
  @Scenario(trace = false)
  void memory(Trial trial) throws IOException {
    counts(trial, trial.program(Programs.c("memory")))
        .ifPresent(json -> {
          String[] calls = {
            "sendto",
            "recvfrom",
            "read",
            "write",
            "readv",
            "writev",
            "poll",
            "epoll_wait",
            "setsockopt",
            "getsockopt",
            "sendfile"
          };
          for (String call : calls) {
            assertThat(count(json, call, "direct")).as("%s in %s", call, json).isGreaterThan(50);
          }
        });
  }

  /** Threads, with handlers and children, that make calls of both kinds; and then are cancelled. */
  @Scenario(trace = false)
  void threadsAndWhatCancelsThem(Trial trial) throws IOException {
    String herd = Programs.c("herd");
    String cancel = Programs.unwindingC("cancel");
    String seed = Long.toString(seed());
    String stress = Programs.c("stress");
    String all = "\"$0\" \"$2\" 2 16 && \"$3\" \"$2\" 16 1 0 && \"$1\" " + trial.amount(1, 3);
    counts(trial, trial.program("sh", "-c", all, herd, cancel, seed, stress))
        .ifPresent(json -> {
          // How many there are is a matter of how busy the machine is: closes are the fewest.
          for (String call : new String[] {"read", "write", "readv", "writev", "close"}) {
            assertThat(untrapped(json, call))
                .as("untrapped %s in %s", call, json)
                .isGreaterThan(20);
          }
          for (String call :
              new String[] {"read", "write", "readv", "writev", "sendto", "recvfrom"}) {
            assertThat(count(json, call, "direct"))
                .as("%s made directly in %s", call, json)
                .isGreaterThan(100);
          }
          // Which of them is more frequent is a matter of how busy the machine is.
          assertThat(count(json, "read", "spinsWon") + count(json, "read", "spinsLost"))
              .as("looked for a reply in %s", json)
              .isPositive();
        });
  }

  /** Event loops that change their sets, look and send files without a trap. */
  @Scenario(trace = false)
  void setsAndFiles(Trial trial) throws IOException {
    counts(trial, trial.program(Programs.c("sets"), Long.toString(seed()), "300", "30"))
        .ifPresent(json -> {
          assertThat(untrapped(json, "epoll_ctl")).as("in %s", json).isGreaterThan(100);
          for (String call : new String[] {"sendfile", "poll", "pselect6", "setsockopt"}) {
            assertThat(count(json, call, "direct")).as("%s in %s", call, json).isGreaterThan(100);
          }
        });
  }

  /** Epoll sets that a process looks into by itself, while their members change in all ways. */
  @Scenario(trace = false)
  void loops(Trial trial) throws IOException {
    String turns = "" + trial.amount(1500, 6000);
    counts(trial, trial.program(Programs.c("loops"), Long.toString(seed()), turns))
        .ifPresent(json -> {
          for (String call : new String[] {"epoll_wait", "epoll_pwait"}) {
            assertThat(count(json, call, "direct")).as("%s in %s", call, json).isGreaterThan(100);
          }
          assertThat(untrapped(json, "epoll_ctl")).as("in %s", json).isGreaterThan(100);
        });
  }

  /** Questions about sockets, however they are answered. */
  @Scenario(trace = false)
  void questions(Trial trial) throws IOException {
    counts(trial, trial.program(Programs.c("questions"), Long.toString(seed())))
        .ifPresent(json -> {
          for (String call : new String[] {"getsockname", "getpeername", "getsockopt", "ioctl"}) {
            assertThat(count(json, call, "direct")).as("%s in %s", call, json).isGreaterThan(500);
          }
          assertThat(untrapped(json, "fcntl")).as("in %s", json).isGreaterThan(100);
        });
  }

  /** Questions about files of both sides, and about what only looks like one. */
  @Scenario(trace = false)
  void whatFilesAre(Trial trial) throws IOException {
    counts(trial, withFilesOfBothSides(trial, Programs.c("status")))
        .ifPresent(json -> {
          assertThat(count(json, "newfstatat", "direct")).as("in %s", json).isGreaterThan(500);
          assertThat(untrapped(json, "newfstatat")).as("in %s", json).isGreaterThan(500);
        });
  }

  /** Files that are only read, and whose closes nobody is told of. */
  @Scenario(trace = false)
  void endsOfFiles(Trial trial) throws IOException {
    counts(trial, withFilesOfBothSides(trial, Programs.c("quiet")))
        .ifPresent(
            json -> assertThat(untrapped(json, "close")).as("in %s", json).isGreaterThan(1000));
  }

  /** Names of files of both sides, by which each has to be found and nothing else. */
  @Scenario(trace = false)
  void namesOfFiles(Trial trial) throws IOException {
    Path top = Files.createDirectory(trial.directory().resolve("top"));
    Path share = Files.createDirectory(top.resolve("share"));
    Files.createDirectory(top.resolve("host"));
    String[] words = {Programs.c("paths"), Long.toString(seed()), top.toString()};
    counts(trial, trial.program(words).withDirectoryOfDevice(share))
        .ifPresent(json -> {
          for (String call : new String[] {"openat", "newfstatat", "access", "readlink", "mkdir"}) {
            assertThat(untrapped(json, call))
                .as("untrapped %s in %s", call, json)
                .isGreaterThan(30);
          }
        });
  }

  /**
   * Programs that are executed one after another: what is known of one's text serves the next. One
   * is taken out of the way of cancelled threads meanwhile, and one's file becomes another program.
   */
  @Scenario(trace = false)
  void oneProgramAfterAnother(Trial trial) throws IOException {
    Path file = trial.directory().resolve("file");
    String again = Programs.c("again");
    String each = "echo 0 >\"$0\" && \"$3\" \"$0\" 60 && ";
    String all =
        each
            + "for i in 1 2 3; do \"$1\" 1 || exit; done && "
            + each
            + "cp \"$3\" \"$0.x\" && echo 0 >\"$0\" && \"$0.x\" \"$0\" 20 && "
            + "cat \"$2\" >\"$0.x\" && for i in 1 2 3; do \"$0.x\" $i 1 || exit; done";
    String[] words = {
      "sh",
      "-c",
      all,
      file.toString(),
      Programs.unwindingC("cancel"),
      Programs.staticC("numbers"),
      again
    };
    counts(trial, trial.program(words))
        .ifPresent(json -> {
          // 140 times, of which a few are the first.
          for (String call : new String[] {"lseek", "write"}) {
            assertThat(untrapped(json, call))
                .as("untrapped %s in %s", call, json)
                .isGreaterThan(110);
          }
          // The dynamic linker makes two in each, by which the shim is there from the second
          // program on.
          assertThat(count(json, "newfstatat", "host")).as("in %s", json).isLessThan(110);
        });
  }

  /** Signal handlers that are installed, asked for and run. */
  @Scenario(trace = false)
  void handlers(Trial trial) throws IOException {
    counts(trial, trial.program(Programs.c("handlers"), Long.toString(seed())))
        .ifPresent(json -> {
          assertThat(untrapped(json, "rt_sigaction")).as("in %s", json).isGreaterThan(1000);
        });
  }

  /** Descriptors of the host that nobody has told the shim of, and numbers that become others. */
  @Scenario(trace = false)
  void unknownDescriptors(Trial trial) throws IOException {
    counts(trial, withFilesOfBothSides(trial, Programs.c("unknown")))
        .ifPresent(json -> {
          // Of each of 600 files and pipes, 2 and 1 reads are the first of their numbers.
          for (String call : new String[] {"read", "close", "write", "fcntl"}) {
            assertThat(untrapped(json, call))
                .as("untrapped %s in %s", call, json)
                .isGreaterThan(550);
          }
        });
  }

  /**
   * Questions about sockets where the hook has to look at status flags, and where it answers all
   * questions.
   */
  @Scenario(trace = false)
  void questionsTheLongWay(Trial trial) throws IOException {
    Command command =
        trial
            .program(Programs.c("questions"), Long.toString(seed()))
            .with("--export=" + trial.directory())
            .environment("JDK_JAVA_OPTIONS", "-Doutboard.shim.questions=false");
    counts(trial, command)
        .ifPresent(json -> {
          for (String call : new String[] {"getsockname", "getpeername", "getsockopt", "ioctl"}) {
            assertThat(count(json, call, "direct")).as("%s in %s", call, json).isZero();
          }
        });
  }

  /**
   * Calls made one instruction at a time, by a program that keeps a shadow stack itself: no return
   * goes to where no call has come from, also in the shim. ADR 0063.
   */
  @Scenario(trace = false)
  void eachReturnHasItsCall(Trial trial) {
    Finished done = trial.program(Programs.c("steps"), "4").run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
    Matcher m = Pattern.compile("(\\d+) of them in the shim").matcher(done.errors());
    assertThat(m.find()).as(done.errors()).isTrue();
    if (trial.mode().offloaded()) {
      assertThat(Long.parseLong(m.group(1))).as(done.errors()).isGreaterThan(1000);
    }
  }

  /** The same with more of all and for longer. */
  @Scenario(trace = false)
  @Tag("judges")
  void aHerd(Trial trial) {
    String seed = Long.toString(seed());
    Finished done =
        trial
            .program(Programs.c("herd"), seed, Integer.getInteger("tests.herd", 120) + "", "64")
            .run(Duration.ofHours(2))
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  /**
   * So many calls as {@code -Dtests.stress} says, of 64 threads, with numbers that change, children
   * of all kinds, and signals; {@code -Dtests.seed} makes the same choices again.
   */
  @Scenario(trace = false)
  @Tag("judges")
  void stress(Trial trial) {
    String calls = Long.toString(Long.getLong("tests.stress", 10_000_000));
    Finished done =
        trial
            .program(Programs.c("stress"), Long.toString(seed()), "64", "10", calls)
            .run(Duration.ofHours(6))
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  /** The same with traps alone, which has to do without any of it. */
  @Scenario(trace = false)
  void trapsAlone(Trial trial) throws IOException {
    Command command = trial.program(Programs.staticC("numbers"), "1", "1").with("--hook=notifier");
    counts(trial, command)
        .ifPresent(json -> {
          assertThat(json).doesNotContainPattern("\"(untrapped|direct)\": [1-9]");
        });
  }

  /** A filter of the program's own that kills whoever maps memory, in a child too. */
  @Scenario
  void aProgramWithASeccompFilterOfItsOwn(Trial trial) {
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("own_filter")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  private static long seed() {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    return seed;
  }

  /** A program that is given a file of the device when offloaded, and one of the host. */
  private static Command withFilesOfBothSides(Trial trial, String program) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    return trial
        .program(
            program,
            Long.toString(seed()),
            share.resolve("file").toString(),
            trial.directory().resolve("file").toString())
        .withDirectoryOfDevice(share);
  }

  /** Runs a program, whose output is its outcome; what was counted where it is offloaded. */
  private static Optional<String> counts(Trial trial, Command command) throws IOException {
    Path stats = trial.directory().resolve("stats.json");
    trial.outcome("output", command.with("--stats=" + stats).run(LIMIT).expectSuccess().output());
    return trial.mode().offloaded() ? Optional.of(report(stats)) : Optional.empty();
  }

  /** What was counted: written when the program's last process has ended, after its first. */
  private static String report(Path file) throws IOException {
    Eventually.require(LIMIT, () -> "no whole report in " + file, () -> isWhole(file));
    return Files.readString(file);
  }

  private static boolean isWhole(Path file) {
    try {
      return Files.readString(file).stripTrailing().endsWith("\n}");
    } catch (IOException e) {
      return false;
    }
  }

  private static long untrapped(String json, String call) {
    return count(json, call, "untrapped");
  }

  private static long count(String json, String call, String which) {
    Matcher m = Pattern.compile("\"" + call + "\", [^}]*\"" + which + "\": (\\d+)").matcher(json);
    return m.find() ? Long.parseLong(m.group(1)) : 0;
  }
}
