// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Statistics;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** What programs seldom do to descriptors, files and processes, and what is refused them. */
@HostKernelByJudges
class CornersTest {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private static Command corners(Trial trial, String... words) {
    String[] all = new String[words.length + 1];
    all[0] = Programs.c("corners");
    System.arraycopy(words, 0, all, 1, words.length);
    return trial.program(all);
  }

  /** By pidfd_getfd: sockets and an epoll set, which end at the last close of either process. */
  @Scenario(trace = false)
  void descriptorsTakenOutOfAnotherProcess(Trial trial) {
    trial.outcome("output", corners(trial, "taken").run(LIMIT).expectSuccess().output());
  }

  /**
   * By a thread that is not the first, while the first one receives: it gets that one's number, and
   * nothing that comes for the new program goes to the old one.
   */
  @Scenario(trace = false)
  void aProgramExecutedByAThread(Trial trial) {
    trial.outcome("output", corners(trial, "thread").run(LIMIT).expectSuccess().output());
  }

  /** What looks that do not wait say of a stream that is not any more. */
  @Scenario
  void aStreamThatIsDisconnected(Trial trial) {
    trial.outcome(
        "output",
        trial
            .program(Programs.PYTHON, Programs.python("disconnected"))
            .run(LIMIT)
            .expectSuccess()
            .output());
  }

  /** The error of what a send did not move any more is that of the next one. */
  @Scenario(trace = false)
  void aStreamThatIsResetWhileItSends(Trial trial) {
    trial.outcome("output", corners(trial, "resets").run(LIMIT).expectSuccess().output());
  }

  /** A call that a handler has interrupted, which forks: parent and child go on with it. */
  @Scenario(trace = false)
  void aHandlerThatForks(Trial trial) {
    trial.outcome("output", corners(trial, "forks").run(LIMIT).expectSuccess().output());
  }

  /** Bytes that come when their receiver has just been killed go to others, once and in order. */
  @Scenario(trace = false)
  void noByteIsLostWithItsReceiver(Trial trial) {
    killed(trial, "--hook=notifier", "" + trial.amount(40, 400));
  }

  /** The same of receivers whose receives need no trap. */
  @Scenario(trace = false)
  void noByteIsLostWithAReceiverThatNeedsNoTrap(Trial trial) throws IOException {
    Path stats = trial.directory().resolve("stats.json");
    int rounds = trial.amount(60, 3000);
    killed(trial, "--stats=" + stats, "" + rounds, "warm");
    if (trial.mode().offloaded()) {
      Statistics counted = Statistics.whole(stats, LIMIT);
      assertThat(counted.number("\"recvfrom\", [^}]*\"direct\": (\\d+)"))
          .as("without a trap in %s", counted)
          .isGreaterThan(5L * rounds);
    }
  }

  private static void killed(Trial trial, String option, String... words) {
    long seed = Long.getLong("tests.seed", System.nanoTime() & 0x3fff_ffff);
    System.out.println("-Dtests.seed=" + seed);
    List<String> all = new ArrayList<>(List.of(Programs.c("killed"), "" + seed));
    all.addAll(List.of(words));
    Finished done =
        trial
            .program(all.toArray(new String[0]))
            .with(option)
            .run(Duration.ofMinutes(25))
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario
  void waysToResolveAPath(Trial trial) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    Finished done =
        corners(trial, "resolve", trial.directory().toString())
            .withDirectoryOfDevice(share)
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    trial.outcome(
        "of the network's", corners(trial, "network").run(LIMIT).expectSuccess().output());
  }

  /**
   * As ADR 0020 has it: a link of the host is not followed to the device, and what a link of the
   * device names is the device's own.
   */
  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void linksThatCross(Trial trial) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    Files.createDirectory(share.resolve("d"));
    trial.file("share/f", "the directory's\n");
    trial.file("f", "the machine's\n");
    Files.createSymbolicLink(share.resolve("in"), Path.of("d/../f"));
    Files.createSymbolicLink(share.resolve("self"), share.resolve("f"));
    Files.createSymbolicLink(share.resolve("up"), Path.of("../f"));
    Files.createSymbolicLink(share.resolve("out"), trial.directory().resolve("f"));
    Files.createSymbolicLink(trial.directory().resolve("direct"), share.resolve("f"));
    Files.createSymbolicLink(trial.directory().resolve("link"), share);
    Path other = trial.directory().resolve("other");
    Files.createDirectory(other);
    trial.file("other/f", "the device's\n");
    Files.createSymbolicLink(other.resolve("in"), Path.of("f"));
    Files.createSymbolicLink(other.resolve("self"), share.resolve("f"));
    Files.createSymbolicLink(other.resolve("up"), Path.of("../f"));
    Files.createSymbolicLink(other.resolve("out"), trial.directory().resolve("f"));
    Finished done =
        trial
            .shell(
                """
                for path in share/f share/in share/self share/up share/out direct link/f; do
                  echo "$path: $(cat $path 2>&1 | sed 's/.*: //'), $(readlink $path | sed 's/.*share/share/')"
                done
                echo more >link/f; cat share/f
                """)
            .with("--export=" + other + ":" + share)
            .run(LIMIT)
            .expectSuccess();
    String natively =
        """
        share/f: the directory's,\s
        share/in: the directory's, d/../f
        share/self: the directory's, share/f
        share/up: the machine's, ../f
        share/out: the machine's, TRIAL/f
        direct: the directory's, share/f
        link/f: the directory's,\s
        more
        """;
    String offloaded =
        """
        share/f: the device's,\s
        share/in: the device's, f
        share/self: the device's, share/f
        share/up: No such file or directory, ../f
        share/out: No such file or directory, TRIAL/f
        direct: the directory's, share/f
        link/f: the directory's,\s
        the device's
        """;
    assertThat(done.output().replace(trial.directory().toString(), "TRIAL"))
        .isEqualTo(trial.mode().offloaded() ? offloaded : natively);
  }

  @Scenario
  void framesOfATap(Trial trial) {
    Assumptions.assumeTrue(Files.exists(Path.of("/dev/net/tun")), "no /dev/net/tun here");
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("tap_frames")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  /** A filter that wants to be told of calls; the hook's is one, and a process has one such. */
  @Scenario
  void aFilterWithAListener(Trial trial) {
    Finished done = corners(trial, "listener").run(LIMIT).expectSuccess();
    String first = trial.mode().offloaded() ? "EBUSY" : "a descriptor";
    assertThat(done.output()).isEqualTo("with a listener: " + first + "\nwithout: 0\n");
  }

  /** As root they have the rights of their owner on the device, too. */
  @Scenario
  void aSetUserIdProgram(Trial trial) throws IOException {
    trial.outcome("output", setUserId(trial).run(LIMIT).expectSuccess().output());
  }

  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void aSetUserIdProgramWithoutRoot(Trial trial) throws IOException {
    Finished done =
        setUserId(trial)
            .under("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
            .run(LIMIT)
            .expectSuccess();
    if (trial.mode().offloaded()) {
      assertThat(done.output()).isEqualTo("uid 65534 euid 65534 raw socket EPERM\n".repeat(2));
      // Once.
      assertThat(done.errors().lines().filter(line -> line.contains("-ID program")))
          .containsExactly(
              "outboard: %s is a set-user-ID program and runs with its caller's rights: programs are under no_new_privs, as outboard has no CAP_SYS_ADMIN. Run outboard as root to give it its own."
                  .formatted(trial.directory().resolve("program")));
    } else {
      assertThat(done.output()).isEqualTo("uid 65534 euid 0 raw socket 0\n".repeat(2));
    }
  }

  private static Command setUserId(Trial trial) throws IOException {
    Path program = trial.directory().resolve("program");
    Files.copy(Path.of(Programs.c("corners")), program);
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    trial.machine("chmod", "u+s", program.toString()).run(LIMIT).expectSuccess();
    String twice = "%1$s rights && exec %1$s rights".formatted(program);
    String[] words = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c".split(" ", -1);
    String[] all = Arrays.copyOf(words, words.length + 1);
    all[words.length] = twice;
    return trial.program(all);
  }

  /** None of its calls is made; what happened is said. */
  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void a32BitProgram(Trial trial) throws IOException {
    // _exit(7): mov eax, 1; mov ebx, 7; int 0x80; hlt.
    String text =
        "7f454c4601010100000000000000000002000300010000005480040834000000000000000000"
            + "0000340020000100000000000000010000000000000000800408008004086100000061000000"
            + "0500000000100000b801000000bb07000000cd80f4";
    Path program = trial.directory().resolve("program");
    Files.write(program, HexFormat.of().parseHex(text));
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    // Where the emulation is switched off /proc looks as where it is on.
    Assumptions.assumeTrue(
        trial.machine("sh", "-c", program + "; echo $?").run(LIMIT).output().equals("7\n"),
        "this kernel runs no 32-bit programs");
    Finished done = trial.shell("ulimit -c 0; ./program; echo $?").run(LIMIT).expectSuccess();
    if (trial.mode().offloaded()) {
      assertThat(done.output()).isEqualTo("139\n");
      assertThat(done.errors())
          .contains("outboard: ./program is a 32-bit program: none of its system calls is made");
    }
  }

  /** Each with the errno, or the way out, that the documents name. */
  @Scenario
  void whatIsRefused(Trial trial) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    Finished done = ofShare(trial, share, "refused");
    if (trial.mode().offloaded()) {
      assertThat(done.output().lines())
          .containsExactly(
              "shared mapping to write to ENODEV",
              "shared mapping to read done",
              "private mapping done",
              "inotify of a directory ENOSPC",
              "inotify of a file of the network ENOSPC",
              "inotify of the host's done",
              "AF_XDP EAFNOSUPPORT",
              "PACKET_TX_RING ENOPROTOOPT",
              "mapping of a connection ENODEV",
              "TCP_ZEROCOPY_RECEIVE ENOPROTOOPT",
              "bpf(2) is the host's",
              "SO_ATTACH_BPF of it EINVAL",
              "received nevertheless");
      assertThat(done.errors())
          .contains(
              "outboard: A file of the device cannot be mapped shared for writing (ENODEV): "
                  + share.resolve("f"));
    }
  }

  @Scenario
  void requestsThatAreNotListed(Trial trial) throws IOException {
    Path share = Files.createDirectory(trial.directory().resolve("share"));
    trial.outcome("output", ofShare(trial, share, "unlisted_requests").output());
  }

  /** Runs a program of Python's that is told of a directory of the device. */
  private static Finished ofShare(Trial trial, Path share, String program) {
    return trial
        .program(Programs.PYTHON, Programs.python(program), share.toString())
        .withDirectoryOfDevice(share)
        .run(LIMIT)
        .expectSuccess();
  }

  @Scenario(trace = false)
  void straceSeesEachCall(Trial trial) {
    Finished done =
        trial
            .program(
                "strace",
                "-f",
                "-o",
                "calls",
                "-e",
                "trace=sendto,recvfrom",
                Programs.c("corners"),
                "turns",
                "400")
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    Finished counted =
        trial
            .machine(
                "sh",
                "-c",
                // A process id of four digits is followed by two blanks.
                "for c in sendto recvfrom; do grep -c \" $c(\" calls; done; sed -n '$s/^[0-9]* *//p' calls")
            .run(LIMIT);
    trial.outcome("calls", counted.output());
    assertThat(counted.output()).startsWith("400\n400\n");
  }

  @Scenario(trace = false)
  void aDebuggerStopsAProgram(Trial trial) {
    Finished done =
        trial
            .program(
                "gdb",
                "-q",
                "-nx",
                "-batch",
                "-ex",
                "break halfway",
                "-ex",
                "run",
                "-ex",
                "print sum",
                "-ex",
                "tbreak say",
                "-ex",
                "continue",
                "-ex",
                "print (int) $_siginfo.si_signo",
                "-ex",
                "delete",
                "-ex",
                "continue",
                "--args",
                Programs.c("corners"),
                "turns",
                "400")
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).contains("$1 = 4900", "$2 = 5", "sum 9800", "exited normally");
  }

  /** One that is made to stop while its calls go without traps, and goes on. */
  @Scenario(trace = false)
  void aDebuggerIsAttached(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                mkfifo in; exec 3<>in
                %1$s until <in >out & p=$!
                until [ -s out ]; do sleep 0.02; done; sleep 0.5
                gdb -q -nx -batch -p $p -ex 'break halfway' -ex continue -ex 'print sum > 0' \
                  -ex continue -ex 'print reached >= sum - 1' -ex delete -ex detach >gdb 2>&1
                grep '^[$]' gdb; grep -o detached gdb
                echo >&3; wait $p; echo $?; cat out
                """
                    .formatted(Programs.c("corners")))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    assertThat(done.output()).isEqualTo("$1 = 1\n$2 = 1\ndetached\n0\nbegun\ndone\n");
  }
}
