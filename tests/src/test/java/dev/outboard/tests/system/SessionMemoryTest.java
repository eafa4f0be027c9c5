// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.channel.DeviceLink;
import dev.outboard.channel.LinkOptions;
import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@code --limit memory=SIZE}: of a kernel that sessions share, each may use so much.
 *
 * <p>Judged on the library kernel alone, whose control groups these are; natively the same takes a
 * machine that has the memory controller of version 2.
 */
class SessionMemoryTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final long BYTES = 16 << 20;

  /** What arrives may go an eighth above it. */
  private static final long MOST = BYTES + BYTES / 8 + (64 << 10);

  /** A session that has given back what it had. */
  private static final long LITTLE = 2 << 20;

  /** Carries as many MiB as it is told to over the loopback, and says what has arrived. */
  private static final String NEIGHBOUR =
      """
      import hashlib, os, socket, sys, threading
      def groups():
          return [l.split()[2] for l in open("/proc/cgroups") if l.startswith("memory")][0]
      print("groups", groups(), flush=True)
      for line in sys.stdin:
          sent = os.urandom(1 << 20)
          listener = socket.create_server(("127.0.0.1", 0))
          c = socket.create_connection(listener.getsockname())
          s = listener.accept()[0]
          pieces = int(line)
          t = threading.Thread(target=lambda: [c.sendall(sent) for i in range(pieces)])
          t.start()
          for i in range(pieces):
              got = b""
              while len(got) < len(sent):
                  got += s.recv(len(sent) - len(got))
              assert got == sent
          t.join()
          for i in range(200):
              for a, b in (c, s), (s, c):
                  a.sendall(b"x")
                  assert b.recv(1) == b"x"
          many = [socket.socket() for i in range(100)]
          for x in many + [c, s, listener]:
              x.close()
          print("carried", pieces, "groups", groups(), flush=True)
      """;

  private static Running service(Trial trial, Path socket, String... more) {
    List<String> words = new ArrayList<>(List.of("device", "--listen", "unix:" + socket));
    words.addAll(List.of("--net=none", "--limit=memory=16M,sessions=8", "--log"));
    words.addAll(List.of("--device-path=/kept", "--device-path=/proc/cgroups"));
    words.addAll(List.of(more));
    Running service = trial.outboard(words.toArray(String[]::new)).start();
    service.awaitErrors(LIMIT, "listening at");
    return service;
  }

  private static Command in(Trial trial, Path socket, String... program) {
    List<String> words =
        new ArrayList<>(List.of("run", "--device", "unix:" + socket, "--share=web", "--"));
    words.addAll(List.of(program));
    return trial.outboard(words.toArray(String[]::new));
  }

  /**
   * What sessions use, by their numbers, which rise; empty if their limits are not {@link #BYTES}.
   */
  private static Map<Long, Long> used(Trial trial, Path socket) {
    String json =
        trial
            .outboard("status", "--device=unix:" + socket, "--json")
            .run(LIMIT)
            .expectSuccess()
            .output();
    Matcher m =
        Pattern.compile(
                "\"id\": (\\d+),[^}]*\"memoryBytes\": (\\d+), \"memoryLimitBytes\": " + BYTES + ",")
            .matcher(json);
    Map<Long, Long> used = new TreeMap<>();
    while (m.find()) {
      used.put(Long.parseLong(m.group(1)), Long.parseLong(m.group(2)));
    }
    return used;
  }

  private static int carry(Running neighbour, int pieces) {
    neighbour.type(pieces + "\n");
    Matcher m = neighbour.awaitOutput(LIMIT, "carried " + pieces + " groups (\\d+)");
    return Integer.parseInt(m.group(1));
  }

  /** Connections, datagrams, descriptors, a file: each to the end, one after the other. */
  @Scenario(modes = Mode.LIBRARY)
  void whoFillsItsMemoryIsToldSoAndNobodyElse(Trial trial) {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket)) {
      Running neighbour = in(trial, socket, Programs.PYTHON, "-c", NEIGHBOUR).start();
      int before = Integer.parseInt(neighbour.awaitOutput(LIMIT, "groups (\\d+)").group(1));
      int piece = 1;
      for (String kind : List.of("tcp", "udp", "sockets", "file")) {
        Running hoard =
            in(trial, socket, Programs.PYTHON, Programs.python("hoard"), kind, "/kept").start();
        String why = hoard.awaitOutput(LIMIT, "full (\\w+)").group(1);
        Map<Long, Long> full = used(trial, socket);
        System.out.println(kind + ": " + why + ", bytes of sessions: " + full);
        assertThat(why).as(kind).matches(kind.equals("udp") ? "lost" : "ENOMEM|ENOBUFS|ENFILE");
        assertThat(full).hasSize(2);
        List<Long> bytes = List.copyOf(full.values());
        assertThat(bytes.getFirst()).as("the neighbour").isBetween(1L, LITTLE);
        assertThat(bytes.getLast()).as(kind).isBetween(BYTES / 2, MOST);

        assertThat(carry(neighbour, piece++)).isEqualTo(before + 1);
        assertThat(hoard.alive()).isTrue();
        hoard.type("go\n");
        hoard.awaitOutput(LIMIT, "free");
        Eventually.require(
            LIMIT,
            () -> kind + ": " + used(trial, socket),
            () -> List.copyOf(used(trial, socket).values()).getLast() < LITTLE);
        hoard.endInput();
        hoard.await(LIMIT).expectSuccess();
        assertThat(carry(neighbour, piece++)).isEqualTo(before);
      }
      neighbour.endInput();
      neighbour.await(LIMIT).expectSuccess();
      assertThat(service.errors()).doesNotContain("oom", "Out of memory", "stays", "lost:");
    }
  }

  /** One that is killed at its limit, and many that come and go. */
  @Scenario(modes = Mode.LIBRARY)
  void whatAreSessionsGroupsEndsWithThem(Trial trial) throws Exception {
    Path socket = trial.directory().resolve("s");
    int metrics = trial.port();
    try (Running service = service(trial, socket, "--metrics=" + metrics)) {
      Running neighbour = in(trial, socket, Programs.PYTHON, "-c", NEIGHBOUR).start();
      int before = Integer.parseInt(neighbour.awaitOutput(LIMIT, "groups (\\d+)").group(1));
      Running hoard = in(trial, socket, Programs.PYTHON, Programs.python("hoard"), "tcp").start();
      hoard.awaitOutput(LIMIT, "full");
      assertThat(trial.figures(metrics).run(LIMIT).expectSuccess().output())
          .containsPattern("outboard_session_memory_bytes\\{.*session=\"2\".*} 1\\.[5-8]\\d*E7")
          .containsPattern("outboard_session_memory_limit_bytes\\{.*session=\"1\".*} 1.6777216E7");
      assertThat(
              trial
                  .outboard("status", "--device=unix:" + socket)
                  .run(LIMIT)
                  .expectSuccess()
                  .output())
          .containsPattern("(?m)^1 +web .* 0/16 ")
          .containsPattern("(?m)^2 +web .* 1[5-8]/16 ");
      assertThat(carry(neighbour, 1)).isEqualTo(before + 1);
      hoard.signal("KILL");
      hoard.await(LIMIT);
      Eventually.require(LIMIT, service::errors, () -> used(trial, socket).size() == 1);
      assertThat(carry(neighbour, 2)).isEqualTo(before);
      for (int i = 0; i < 100; i++) {
        DeviceLink.connect(
                socket, ServiceTest.NOBODY, LinkOptions.ofNewDevice("test").withShare("web"))
            .close();
      }
      Eventually.require(LIMIT, service::errors, () -> used(trial, socket).size() == 1);
      assertThat(carry(neighbour, 3)).isEqualTo(before);
      assertThat(service.errors()).doesNotContain("stays");
      neighbour.endInput();
      neighbour.await(LIMIT).expectSuccess();
    }
  }

  /** One that has its kernel to itself may use all of it, and nothing is counted. */
  @Scenario(modes = Mode.LIBRARY)
  void aKernelOfItsOwnIsBoundedByItsMemory(Trial trial) {
    Path socket = trial.directory().resolve("s");
    try (Running service = service(trial, socket)) {
      Finished own =
          trial
              .outboard(
                  "run",
                  "--device",
                  "unix:" + socket,
                  "--",
                  "sh",
                  "-c",
                  "head -c 50000000 /dev/zero >/kept && wc -c </kept; grep memory /proc/cgroups")
              .run(LIMIT)
              .expectSuccess();
      assertThat(service.alive()).isTrue();
      assertThat(own.output()).contains("50000000").containsPattern("memory\\s+0\\s+1\\s+0");
    }
    Finished host =
        trial
            .outboard("device", "--listen=unix:" + socket, "--kernel=host", "--limit=memory=16M")
            .run(LIMIT)
            .expectStatus(125);
    assertThat(host.errors()).contains("--limit memory is about the library kernel");
    for (String wrong : List.of("memory", "memory=1M", "memory=x", "memory=16M,memory=16M")) {
      Finished refused =
          trial
              .outboard("device", "--listen=unix:" + socket, "--limit=" + wrong)
              .run(LIMIT)
              .expectStatus(125);
      assertThat(refused.errors()).containsPattern("is not a size from 4M to 64G|given twice");
    }
  }
}
