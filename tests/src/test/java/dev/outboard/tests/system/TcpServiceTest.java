// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.BreakingProxy;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Machines;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/** A service that hosts reach by TCP and TLS: each session has a kernel, unless it shares one. */
class TcpServiceTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private static Running server(
      Machines machines, int port, int at, String name, String... options) {
    Running server =
        machines
            .run(
                port,
                List.of(options),
                Programs.PYTHON,
                "-c",
                ServiceTest.SERVER,
                Integer.toString(at),
                name)
            .start();
    server.awaitOutput(LIMIT, "bound");
    return server;
  }

  private static String client(Machines machines, int port, int at, String... options) {
    return machines
        .run(
            port, List.of(options), Programs.PYTHON, "-c", ServiceTest.CLIENT, Integer.toString(at))
        .run(LIMIT)
        .expectSuccess()
        .output()
        .strip();
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void sessionsHaveKernelsOfTheirOwn(Trial trial) {
    Machines machines = new Machines(trial);
    Path socket = trial.directory().resolve("s");
    int port = trial.port();
    int at = trial.port();
    machines.introduce(port);
    try (Running service = machines.service(port, "--listen=unix:" + socket, "--net=none")) {
      Running one = server(machines, port, at, "one");
      long first = ServiceTest.kernels(trial).getFirst();
      Running other = server(machines, port, at, "other", "--share=web");
      assertThat(ServiceTest.kernels(trial)).hasSize(2);
      assertThat(client(machines, port, at)).as("a third kernel").isEqualTo("ECONNREFUSED");
      assertThat(client(machines, port, at, "--share=web")).isEqualTo("from other");
      // Over both ways in it is one service.
      Finished near =
          trial
              .outboard(
                  "run",
                  "--device=unix:" + socket,
                  "--share=web",
                  "--",
                  Programs.PYTHON,
                  "-c",
                  ServiceTest.CLIENT,
                  Integer.toString(at))
              .run(LIMIT)
              .expectSuccess();
      assertThat(near.output()).isEqualTo("from other\n");

      String status =
          trial.outboard("status", "--device=unix:" + socket).run(LIMIT).expectSuccess().output();
      assertThat(status)
          .contains("2 of 64 sessions, 2 kernels; so far 5 sessions")
          .containsPattern("(?m)^1 +library-" + first + " .*python3 \\(")
          .containsPattern("(?m)^2 +web .*python3 \\(");
      // The one that came by the socket is not the host's: TcpStatusTest.
      assertThat(machines.status("host", port))
          .contains("2 of this host's; so far 4, 0 refused, 0 kernels died");

      // A kernel that dies takes its session along, and no other; the host's user is told.
      Trial.signal(first, "KILL");
      service.awaitErrors(
          LIMIT,
          "session 1: its process was ended by signal 9;"
              + " lost: session 1 \\(\\S+ at 127\\.0\\.0\\.1:\\d+\\)");
      one.awaitErrors(LIMIT, "The device is gone");
      one.await(LIMIT); // its accept has failed
      assertThat(client(machines, port, at, "--share=web")).isEqualTo("from other");
      assertThat(client(machines, port, at)).isEqualTo("ECONNREFUSED");
      other.close();
      Eventually.require(LIMIT, service::errors, () -> ServiceTest.kernels(trial).isEmpty());
      assertThat(service.errors()).doesNotContain("\tat ");
    }
    assertThat(socket).doesNotExist();
  }

  /** A kernel of a session's own waits for its host as a common one does. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void aSessionThatComesBackFindsItsKernel(Trial trial) {
    Machines machines = new Machines(trial);
    int port = trial.port();
    String script = "echo 77 >$0; echo on; read x; cat $0";
    try (BreakingProxy proxy = new BreakingProxy(port, 1)) {
      machines.introduce(proxy.port());
      try (Running service = machines.service(port, "--net=none");
          Running program =
              machines
                  .run(
                      proxy.port(),
                      List.of(),
                      "sh",
                      "-c",
                      script,
                      "/proc/sys/net/ipv4/ip_default_ttl")
                  .start()) {
        program.awaitOutput(LIMIT, "on");
        List<Long> kernels = ServiceTest.kernels(trial);
        proxy.away(true);
        service.awaitErrors(LIMIT, "the session is kept for 30\\.0 s");
        assertThat(ServiceTest.kernels(trial)).isEqualTo(kernels).hasSize(1);
        proxy.away(false);
        program.type("go\n");
        assertThat(program.await(LIMIT).expectSuccess().output()).isEqualTo("on\n77\n");
        service.awaitErrors(LIMIT, "goes on after \\d+ ms");
        Eventually.require(LIMIT, service::errors, () -> ServiceTest.kernels(trial).isEmpty());
      }
    }
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void whoIsThereMayGoOnWhileTheServiceEnds(Trial trial) {
    Machines machines = new Machines(trial);
    int port = trial.port();
    machines.introduce(port);
    Running service = machines.service(port, "--net=none");
    Running program =
        machines.run(port, List.of(), "sh", "-c", "echo on; read x; ip -o addr").start();
    program.awaitOutput(LIMIT, "on");
    service.signal("TERM");
    service.awaitErrors(LIMIT, "1 may go on for 30 s");
    Finished late = machines.run(port, List.of(), "echo", "ran").run(LIMIT).expectStatus(125);
    assertThat(late.errors()).contains("Nothing listens at tcp://127.0.0.1:" + port);
    assertThat(late.output()).isEmpty();
    program.type("go\n");
    assertThat(program.await(LIMIT).expectSuccess().output()).contains("127.0.0.1/8");
    assertThat(program.errors()).isEmpty();
    service.await(LIMIT).expectSuccess();
    assertThat(ServiceTest.kernels(trial)).isEmpty();
  }
}
