// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * How a device's network meets the machine's: by passt, published ports, the machine's loopback.
 */
class NetworkTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @Scenario(link = Link.NAMESPACE)
  void withoutOptionsNamesAndConnectionsWork(Trial trial) {
    Path data = trial.file("data", 8 << 20);
    int port = trial.port();
    trial.file("resolv.conf", "nameserver " + trial.outside() + "\n");
    try (Running names =
            trial
                .machine(
                    Programs.PYTHON,
                    Programs.python("name_server"),
                    trial.outside(),
                    trial.outside())
                .start();
        Running server = serve(trial, trial::machine, trial.outside(), port)) {
      names.awaitOutput(LIMIT, "up");
      server.awaitOutput(LIMIT, "Serving");
      Finished done =
          trial
              .program(
                  "curl",
                  "-sS",
                  "-o",
                  "copy",
                  "-w",
                  "%{http_code} %{size_download}",
                  "http://server.example:%d/data".formatted(port))
              .under(
                  "unshare",
                  "-m",
                  "sh",
                  "-c",
                  "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"",
                  "sh")
              .run(LIMIT)
              .expectSuccess();
      trial.outcome("output", done.output());
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
    }
  }

  /** A kernel goes on with what is in a socket's buffers when its program has ended. */
  @Scenario(link = Link.TO_MACHINE)
  void whatWasSentLastArrives(Trial trial) throws Exception {
    try (ServerSocket server = new ServerSocket()) {
      server.setReceiveBufferSize(64 << 10);
      server.bind(null);
      CountDownLatch ended = new CountDownLatch(1);
      CompletableFuture<Long> received =
          CompletableFuture.supplyAsync(() -> {
            try (Socket s = server.accept()) {
              // Until the program is gone nothing is read, and most of it cannot leave.
              ended.await();
              return s.getInputStream().transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
          });
      Running program =
          trial
              .program(
                  Programs.PYTHON,
                  "-c",
                  """
                  import os, socket, sys
                  c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
                  c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                  c.setblocking(False)
                  sent = 0
                  try:
                      while sent < 16 << 20: sent += c.send(b'x' * 65536)
                  except BlockingIOError: pass
                  print('sent', sent, flush=True)
                  os._exit(0)
                  """,
                  trial.outside(),
                  "" + server.getLocalPort())
              .start();
      Finished done = program.await(LIMIT).expectSuccess();
      ended.countDown();
      assertThat(done.output().strip())
          .isEqualTo("sent " + received.get(LIMIT.toSeconds(), TimeUnit.SECONDS));
    }
  }

  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void aPublishedPortOfATap(Trial trial) {
    published(trial, trial::machine);
  }

  @Scenario(link = Link.NAMESPACE, modes = Mode.LIBRARY)
  void aPublishedPortOfPasst(Trial trial) {
    published(trial, trial::beside);
  }

  private interface Place {
    Command command(String... words);
  }

  private static Running serve(Trial trial, Place place, String address, int port) {
    return place
        .command(
            Programs.PYTHON, "-u", "-m", "http.server", "--bind", address, Integer.toString(port))
        .in(trial.directory())
        .start();
  }

  private static void published(Trial trial, Place client) {
    Path data = trial.file("data", 4 << 20);
    int port = trial.port();
    try (Running server =
        trial
            .program(Programs.PYTHON, "-u", "-m", "http.server", "--bind", "0.0.0.0", "80")
            .with("--publish", "127.0.0.1:%d:80".formatted(port))
            .start()) {
      server.awaitOutput(LIMIT, "Serving");
      client
          .command("curl", "-sS", "-o", "copy", "http://127.0.0.1:%d/data".formatted(port))
          .run(LIMIT)
          .expectSuccess();
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
    }
  }

  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void theMachinesLoopbackOverATap(Trial trial) {
    loopback(trial, trial::machine);
  }

  @Scenario(link = Link.NAMESPACE, modes = Mode.LIBRARY)
  void theMachinesLoopbackOverPasst(Trial trial) {
    loopback(trial, trial::beside);
  }

  private static void loopback(Trial trial, Place machine) {
    trial.file("page", "from the machine's loopback\n");
    int port = trial.port();
    try (Running server = serve(trial, machine, "127.0.0.1", port)) {
      server.awaitOutput(LIMIT, "Serving");
      Finished named =
          trial
              .program("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port))
              .with("--host-loopback", Integer.toString(port))
              .run(LIMIT)
              .expectSuccess();
      assertThat(named.output()).isEqualTo("from the machine's loopback\n");
      Finished unnamed =
          trial.program("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port)).run(LIMIT);
      assertThat(unnamed.status()).as("curl without --host-loopback").isEqualTo(7);
    }
  }

  /** What the device's card does is what {@code ethtool} says, and the option changes it. */
  @Scenario(link = Link.TO_MACHINE, modes = Mode.LIBRARY)
  void ethtoolShowsTheOffloads(Trial trial) {
    String on = trial.program("ethtool", "-k", "eth0").run(LIMIT).expectSuccess().output();
    String off =
        trial
            .outboard(
                "run",
                "--net",
                "tap:name=obe%d,addr=%s/24,offload=off"
                    .formatted(ProcessHandle.current().pid() % 1_000_000, trial.inside()),
                "--",
                "ethtool",
                "-k",
                "eth0")
            .run(LIMIT)
            .expectSuccess()
            .output();
    for (String feature :
        new String[] {
          "tx-checksumming",
          "tcp-segmentation-offload",
          "tx-tcp6-segmentation",
          "tx-tcp-ecn-segmentation"
        }) {
      assertThat(on).containsPattern(feature + ": on");
      assertThat(off).containsPattern(feature + ": off");
    }
    // The driver leaves it to the administrator to switch this on.
    assertThat(on).containsPattern("(?m)tx-udp-segmentation: off$");
    assertThat(off).contains("tx-udp-segmentation: off [fixed]");
    // Of the kernel's own making, whatever the card can do.
    assertThat(on).contains("generic-receive-offload: on");
    assertThat(off).contains("generic-receive-offload: on");
  }

  /** Two programs of two commands meet on one device. */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void programsOfOneDeviceMeet(Trial trial) {
    Path socket = trial.directory().resolve("device.sock");
    trial.file("page", "from the neighbour\n");
    int port = trial.port();
    Command listening =
        trial.mode() == Mode.LIBRARY
            ? trial.outboard("device", "--listen", "unix:" + socket, "--net", "none")
            : trial.outboard("device", "--listen", "unix:" + socket, "--kernel", "host");
    try (Running device = listening.start()) {
      Eventually.require(LIMIT, device::errors, () -> socket.toFile().exists());
      Place onDevice =
          words -> {
            String[] line = new String[words.length + 4];
            System.arraycopy(words, 0, line, 4, words.length);
            line[0] = "run";
            line[1] = "--device";
            line[2] = "unix:" + socket;
            line[3] = "--";
            return trial.outboard(line);
          };
      try (Running server = serve(trial, onDevice, "127.0.0.1", port)) {
        server.awaitOutput(LIMIT, "Serving");
        Finished done =
            onDevice
                .command("curl", "-sS", "http://127.0.0.1:%d/page".formatted(port))
                .run(LIMIT)
                .expectSuccess();
        assertThat(done.output()).isEqualTo("from the neighbour\n");
      }
    }
    assertThat(socket).doesNotExist();
  }
}
