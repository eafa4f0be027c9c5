// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;

/** Stock servers under load. */
class ServersTest {
  private static final Duration LIMIT = Duration.ofSeconds(40);
  private static final int CLIENTS = 8;
  private static final int RELOADS = 3;

  /** Two workers share the load; a reload replaces them and loses no request. */
  @Scenario(link = Link.TO_MACHINE, trace = false)
  void nginxReloadsUnderLoad(Trial trial) throws Exception {
    Path www = Files.createDirectory(trial.directory().resolve("www"));
    byte[] page = new byte[300_000];
    Arrays.fill(page, (byte) 'p');
    Files.write(www.resolve("page"), page);
    int port = trial.port();
    Path configuration =
        trial.file(
            "nginx.conf",
            Files.readString(Path.of(Programs.data("nginx.conf")))
                .replace("@DIRECTORY@", trial.directory().toString())
                .replace("@PORT@", Integer.toString(port)));
    InetSocketAddress address = new InetSocketAddress(trial.inside(), port);
    try (Running nginx = trial.program("nginx", "-c", configuration.toString()).start()) {
      Eventually.require(LIMIT, nginx::errors, () -> answers(address));

      Set<String> workers = ConcurrentHashMap.newKeySet();
      Queue<String> failures = new ConcurrentLinkedQueue<>();
      AtomicInteger fetched = new AtomicInteger();
      AtomicInteger reloads = new AtomicInteger();
      List<Thread> clients = new ArrayList<>();
      for (int i = 0; i < CLIENTS; i++) {
        clients.add(
            Thread.ofPlatform()
                .start(() -> {
                  while (reloads.get() <= RELOADS && failures.isEmpty()) {
                    try {
                      byte[] got = get(address, "/page");
                      if (!Arrays.equals(got, page)) {
                        failures.add(got.length + " bytes of " + page.length);
                      }
                      workers.add(new String(get(address, "/worker"), StandardCharsets.UTF_8));
                      fetched.incrementAndGet();
                    } catch (IOException e) {
                      failures.add(e.toString());
                    }
                  }
                }));
      }
      long master =
          Long.parseLong(Files.readString(trial.directory().resolve("nginx.pid")).strip());
      while (reloads.get() <= RELOADS && failures.isEmpty()) {
        int before = fetched.get();
        Eventually.require(
            LIMIT,
            () -> "no more requests are answered",
            () -> fetched.get() >= before + 30 || !failures.isEmpty());
        if (reloads.get() < RELOADS) {
          Trial.signal(master, "HUP"); // what nginx -s reload sends
        }
        reloads.incrementAndGet();
      }
      for (Thread client : clients) {
        client.join();
      }
      assertThat(failures).isEmpty();
      assertThat(workers).as("workers that answered").hasSizeGreaterThanOrEqualTo(1 + RELOADS);
      assertThat(Files.readString(trial.directory().resolve("error.log")))
          .doesNotContain("[alert]", "[crit]", "[error]", "[emerg]");
    }
  }

  /** The same by its own command, and both workers take part in the end. */
  @Scenario
  void nginxReloadsByItsOwnCommand(Trial trial) throws Exception {
    Files.createDirectory(trial.directory().resolve("www"));
    Files.writeString(trial.directory().resolve("www/page"), "a page\n");
    int port = trial.port();
    trial.file(
        "nginx.conf",
        Files.readString(Path.of(Programs.data("nginx.conf")))
            .replace("@DIRECTORY@", trial.directory().toString())
            .replace("@PORT@", "127.0.0.1:" + port));
    Finished done =
        trial
            .shell(
                """
                nginx -c $PWD/nginx.conf & master=$!
                until curl -sf -o /dev/null http://127.0.0.1:%1$d/page; do sleep 0.05; done
                curl -s http://127.0.0.1:%1$d/page http://127.0.0.1:%1$d/page
                first=$(curl -s http://127.0.0.1:%1$d/worker)
                nginx -c $PWD/nginx.conf -s reload; echo "reload $?"
                while kill -0 $first 2>/dev/null; do sleep 0.05; done
                curl -s http://127.0.0.1:%1$d/page
                curl -s -o /dev/null -w '%%{http_code}\\n' http://127.0.0.1:%1$d/status/1
                nginx -c $PWD/nginx.conf -s quit; echo "quit $?"
                wait $master; echo "nginx $?"
                """
                    .formatted(port))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  private static boolean answers(InetSocketAddress address) {
    try {
      return get(address, "/worker").length > 0;
    } catch (IOException e) {
      return false;
    }
  }

  private static byte[] get(InetSocketAddress address, String path) throws IOException {
    try (Socket socket = new Socket()) {
      socket.setSoTimeout((int) LIMIT.toMillis());
      socket.connect(address, (int) LIMIT.toMillis());
      socket
          .getOutputStream()
          .write(("GET " + path + " HTTP/1.0\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
      byte[] all = socket.getInputStream().readAllBytes();
      for (int i = 3; i < all.length; i++) {
        if (all[i] == '\n' && all[i - 1] == '\r' && all[i - 2] == '\n' && all[i - 3] == '\r') {
          return Arrays.copyOfRange(all, i + 1, all.length);
        }
      }
      throw new IOException("no header in " + all.length + " bytes");
    }
  }

  @Scenario(trace = false)
  void redisUnderItsBenchmark(Trial trial) {
    redis(trial, trial.amount(200, 1_000));
  }

  private static void redis(Trial trial, int requests) {
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                redis-server --port %1$d --bind 127.0.0.1 --save '' --appendonly no \
                  --dir $PWD >redis.log 2>&1 & server=$!
                until redis-cli -p %1$d ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
                redis-cli -p %1$d set key "$(seq 1 2000)" >set; cat set
                redis-cli -p %1$d get key | md5sum
                redis-benchmark -p %1$d -n %2$d -c 50 -q --csv \
                  -t ping,set,get,incr,lpush,lrange_100,mset >benchmark 2>benchmark.errors
                echo "benchmark $?"
                cut -d, -f1 benchmark; cat benchmark.errors
                redis-cli -p %1$d shutdown nosave; wait $server; echo "server $?"
                """
                    .formatted(port, requests))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).doesNotContainIgnoringCase("error");
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void theJvmsHttpServerAndClient(Trial trial) {
    Finished done =
        trial
            .program(
                Programs.JAVA,
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                Programs.java("HttpEcho"),
                "HttpEcho")
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }
}
