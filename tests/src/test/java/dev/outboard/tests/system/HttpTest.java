// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.SimpleFileServer;
import dev.outboard.tests.support.Fetches;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Tag;

/** Stock HTTP clients and servers: over the device's loopback, and between device and machine. */
class HttpTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @Scenario
  void curlFetchesFromPythonsServer(Trial trial) {
    Fetches.overLoopback(
        trial,
        "curl -sS -w '%{http_code} %{size_download}' -o copy $url",
        UnaryOperator.identity(),
        LIMIT);
  }

  @Scenario
  void wgetFetchesFromPythonsServer(Trial trial) {
    Fetches.overLoopback(
        trial, "wget -q -O copy $url && echo fetched", UnaryOperator.identity(), LIMIT);
  }

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void curlFetches64MiBFromTheMachine(Trial trial) throws Exception {
    fetchFromMachine(trial, 64L << 20);
  }

  @Tag("judges")
  @Scenario(link = Link.TO_MACHINE, trace = false)
  void curlFetches1GiBFromTheMachine(Trial trial) throws Exception {
    fetchFromMachine(trial, 1L << 30);
  }

  private static void fetchFromMachine(Trial trial, long bytes) throws Exception {
    Path data = trial.file("data", bytes);
    HttpServer server =
        SimpleFileServer.createFileServer(
            new InetSocketAddress(0), trial.directory(), SimpleFileServer.OutputLevel.NONE);
    server.start();
    try {
      Finished done =
          trial
              .program(
                  "curl",
                  "-sS",
                  "-o",
                  "copy",
                  "-w",
                  "%{http_code} %{size_download}",
                  "http://%s:%d/data".formatted(trial.outside(), server.getAddress().getPort()))
              .run(Duration.ofSeconds(30 + (bytes >> 24)))
              .expectSuccess();
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
      trial.outcome("output", done.everything());
    } finally {
      server.stop(0);
    }
  }

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void theMachineFetches64MiBFromPythonsServer(Trial trial) {
    fetchFromInside(trial, 64L << 20);
  }

  @Tag("judges")
  @Scenario(link = Link.TO_MACHINE, trace = false)
  void theMachineFetches1GiBFromPythonsServer(Trial trial) {
    fetchFromInside(trial, 1L << 30);
  }

  private static void fetchFromInside(Trial trial, long bytes) {
    Path data = trial.file("data", bytes);
    int port = trial.port();
    try (Running server =
        trial
            .program(Programs.PYTHON, "-u", "-m", "http.server", "--bind", "0.0.0.0", "" + port)
            .start()) {
      server.awaitOutput(LIMIT, "Serving HTTP");
      Finished done =
          trial
              .machine(
                  "curl",
                  "-sS",
                  "-o",
                  "copy",
                  "-w",
                  "%{http_code} %{size_download}",
                  "http://%s:%d/data".formatted(trial.inside(), port))
              .run(Duration.ofSeconds(30 + (bytes >> 24)))
              .expectSuccess();
      assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
          .isEqualTo(TestFiles.checksum(data));
      trial.outcome("output", done.everything());
    }
  }

  @Scenario
  void aRefusedConnectionIsReportedAsNatively(Trial trial) {
    Finished done =
        trial.program("curl", "-sS", "http://127.0.0.1:" + trial.port() + "/").run(LIMIT);
    trial.outcome("status", done.status());
    assertThat(done.errors()).contains("curl: (7)");
    if (trial.mode().offloaded()) {
      // 127.0.0.1 is the device's, which surprises: the hook says so, once.
      assertThat(done.errors().lines().filter(l -> l.contains("127.0.0.1")).toList())
          .anyMatch(l -> l.contains("outboard"));
    }
  }

  @Scenario
  void aNameThatDoesNotExistIsReportedAsNatively(Trial trial) {
    Finished done =
        trial.program("curl", "-sS", "--max-time", "10", "http://no-such-name.invalid/").run(LIMIT);
    trial.outcome("status", done.status());
  }
}
