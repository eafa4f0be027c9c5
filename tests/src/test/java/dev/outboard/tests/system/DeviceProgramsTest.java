// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** Programs that are executed from files of the device. */
@HostKernelByJudges
class DeviceProgramsTest {
  private static final Duration LIMIT = Duration.ofMinutes(3);

  private static void executable(Trial trial, String name, String text) throws IOException {
    Files.setPosixFilePermissions(
        trial.file(name, text), PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private static Finished executed(Trial trial, String part, String... options) throws IOException {
    Path share = trial.newDirectory("share");
    Path host = trial.newDirectory("host");
    return trial
        .program(Programs.c("executed"), share.toString(), host.toString(), part)
        .withDirectoryOfDevice(share)
        .with(options)
        .run(LIMIT);
  }

  private static void asNatively(Trial trial, String part) throws IOException {
    Finished done = executed(trial, part);
    trial.prints(done);
    assertThat(done.output()).endsWith("all\n");
  }

  @Scenario
  void inAllWays(Trial trial) throws IOException {
    asNatively(trial, "ways");
  }

  @Scenario
  void scripts(Trial trial) throws IOException {
    asNatively(trial, "scripts");
  }

  @Scenario
  void whatIsRefused(Trial trial) throws IOException {
    asNatively(trial, "refused");
  }

  @Scenario
  void byAllKindsOfCallers(Trial trial) throws IOException {
    asNatively(trial, "callers");
  }

  @Scenario
  void programsOfAllKinds(Trial trial) throws IOException {
    asNatively(trial, "programs");
  }

  @Scenario(trace = false)
  void thatAreKilledAsTheyBegin(Trial trial) throws IOException {
    asNatively(trial, "killed");
  }

  /** A tracer has the caller to itself: it is refused, and one line says why. */
  @Scenario(modes = {Mode.NATIVE, Mode.LIBRARY})
  void byACallerThatIsTraced(Trial trial) throws IOException {
    Finished done = executed(trial, "traced").expectSuccess();
    if (trial.mode() == Mode.NATIVE) {
      assertThat(done.output()).contains("traced: exit 7");
    } else {
      assertThat(done.output()).contains("traced: EACCES");
      assertThat(done.errors()).containsOnlyOnce("by a process that is traced");
    }
  }

  /** Without the shim it is refused, and one line says why; scripts of the host are the host's. */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void noneByTheNotifier(Trial trial) throws IOException {
    Finished done = executed(trial, "ways", "--hook=notifier").expectSuccess();
    assertThat(done.output())
        .contains("by its path: EACCES", "of a script by one that stays: EACCES");
    assertThat(done.output()).doesNotContain("exit 7");
    assertThat(done.errors())
        .containsOnlyOnce("cannot be executed on the host (EACCES) with --hook notifier");
  }

  /** Real ones: linked dynamically, with a library beside them, and statically; interpreted. */
  @Scenario
  void realPrograms(Trial trial) throws IOException {
    Path share = trial.newDirectory("share");
    Files.copy(Path.of("/bin/ls"), share.resolve("list"), StandardCopyOption.COPY_ATTRIBUTES);
    Files.copy(Path.of("/bin/busybox"), share.resolve("box"), StandardCopyOption.COPY_ATTRIBUTES);
    trial.file("library.c", "int seven(void) { return 7; }\n");
    trial.file("main.c", "int seven(void); int main(void) { return seven(); }\n");
    trial
        .machine(
            "sh",
            "-c",
            "gcc -shared -fPIC -o share/libseven.so library.c && "
                + "gcc -o share/linked main.c share/libseven.so -Wl,-rpath,'$ORIGIN'")
        .run(LIMIT)
        .expectSuccess();
    executable(
        trial,
        "share/hello.py",
        """
        #!/usr/bin/env python3
        import os, sys
        print(os.path.basename(sys.argv[0]), sys.argv[1:], len(open(__file__).read()))
        """);
    executable(
        trial, "share/hello", "#!/bin/sh\necho \"${0##*/}\" $#; exec \"${0%/*}/hello.py\" more\n");
    executable(
        trial, "share/boxed", "#!" + share + "/box sh\necho boxed \"$@\"; cat /proc/$$/comm\n");
    Finished done =
        trial
            .shell(
                """
                share/list -d /tmp; (cd share && ./list)
                share/linked; echo $?
                share/box echo applet; share/box sh -c 'echo "$0"; exec "$0" echo again' share/box
                share/hello one two
                share/boxed three
                PATH=$PWD/share:$PATH; hello.py by PATH; list -d /; ( hello | cat ) & wait
                export -p >/dev/null; find share -name list -exec {} -d / ';' | sort
                make -f - <<'END'
                all: ; @share/hello from make
                END
                """)
            .withDirectoryOfDevice(share)
            .run(LIMIT);
    trial.prints(done);
  }

  /** What {@code outboard run} begins with may be one, too; what cannot is told by its status. */
  @Scenario
  void theFirstProgram(Trial trial) throws IOException {
    Path share = trial.newDirectory("share");
    Files.copy(Path.of("/bin/echo"), share.resolve("say"), StandardCopyOption.COPY_ATTRIBUTES);
    executable(trial, "share/script", "#!/bin/sh\necho script \"$@\"; exit 5\n");
    for (String program : List.of("say", "script")) {
      Finished done =
          trial
              .program(share.resolve(program).toString(), "one", "two")
              .withDirectoryOfDevice(share)
              .run(LIMIT);
      trial.outcome(program, done.output());
      trial.outcome(program + "'s errors", done.errors());
      trial.outcome(program + "'s status", done.status());
    }
    if (trial.mode() != Mode.NATIVE) {
      trial.file("share/text", "text\n");
      for (String program : List.of("text", "nothing")) {
        int status =
            trial
                .program(share.resolve(program).toString())
                .withDirectoryOfDevice(share)
                .run(LIMIT)
                .status();
        assertThat(status).isEqualTo(program.equals("text") ? 126 : 127);
      }
    }
  }

  /** As another user: what that one may execute, and not what the hook may. */
  @Scenario
  void asAnotherUser(Trial trial) throws IOException {
    Assumptions.assumeTrue(
        System.getProperty("user.name").equals("root"), "becoming another takes it");
    Path share = trial.newDirectory("share");
    Files.setPosixFilePermissions(trial.directory(), PosixFilePermissions.fromString("rwxr-xr-x"));
    for (String mode : List.of("rwxr-xr-x", "rwx------", "rwxr-xr--", "rwx--x--x")) {
      Path copy = share.resolve(mode);
      Files.copy(Path.of("/bin/true"), copy);
      Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString(mode));
    }
    Finished done =
        trial
            .shell(
                """
                for mode in rwxr-xr-x rwx------ rwxr-xr--; do
                  setpriv --reuid 65534 --clear-groups share/$mode 2>/dev/null; echo $mode $?
                done
                share/rwx------; echo $?
                """)
            .withDirectoryOfDevice(share)
            .run(LIMIT);
    trial.outcome("output", done.output());
    done.expectSuccess();
    if (trial.mode() != Mode.NATIVE) {
      Finished unread =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os
                  os.setgroups([]); os.setgid(65534); os.setuid(65534)
                  try: os.execv('share/rwx--x--x', ['x'])
                  except PermissionError: print('EACCES')
                  """)
              .withDirectoryOfDevice(share)
              .run(LIMIT);
      assertThat(unread.output()).isEqualTo("EACCES\n");
      assertThat(unread.errors()).contains("may be executed and not read");
    }
  }
}
