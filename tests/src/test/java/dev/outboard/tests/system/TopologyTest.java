// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Command;
import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;

/**
 * Three network namespaces in a row, joined by veth pairs: the host with the programs, the device,
 * and the clients. The host has no address that a client could reach, and no route to one: what is
 * answered there has gone through the device.
 */
@Tag("judges")
class TopologyTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final int HOSTS_FILE_BYTES = 2_000_000;
  private static final int EXPORTED_BYTES = 3_000_000;
  private static final int BULK_MIB = 100;
  private static final int REQUESTS = 2000;

  /** The namespaces; they go in {@link #close}. */
  private static final class Namespaces implements AutoCloseable {
    private final Trial trial;
    private final String prefix = "obz%x".formatted(ProcessHandle.current().pid() & 0xfffff);
    private final String links;
    final String device;
    final String seen;

    Namespaces(Trial trial) {
      this.trial = trial;
      String near = trial.inside().substring(0, trial.inside().lastIndexOf('.'));
      // The trial's own prefix is nobody else's; of its addresses these are taken.
      device = near + ".130";
      seen = near + ".200";
      links =
          """
          set -e
          for n in h d c; do ip netns add $0$n; ip -n $0$n link set lo up; done
          ip link add $0hd netns $0h type veth peer name $0dh netns $0d
          ip link add $0dc netns $0d type veth peer name $0cd netns $0c
          ip -n $0h addr add %1$s.129/26 dev $0hd
          ip -n $0d addr add %1$s.130/26 dev $0dh
          ip -n $0c addr add %1$s.193/26 dev $0cd
          ip -n $0h link set $0hd up
          ip -n $0d link set $0dh up
          ip -n $0d link set $0dc up
          ip -n $0c link set $0cd up
          """
              .formatted(near);
      try {
        trial.machine("sh", "-c", links, prefix).run(LIMIT).expectSuccess();
      } catch (AssertionError e) {
        close();
        throw e;
      }
    }

    /** A command in one of the three: h, d or c. */
    Command in(String which, String... words) {
      List<String> line = new ArrayList<>(List.of("nsenter", "--net=/run/netns/" + prefix + which));
      line.add("--");
      line.addAll(List.of(words));
      return trial.machine(line.toArray(String[]::new));
    }

    /** outboard there, as a machine with keys of its own. */
    Command outboard(String which, String... words) {
      List<String> line = new ArrayList<>(List.of(Programs.launcher().toString()));
      line.addAll(List.of(words));
      return in(which, line.toArray(String[]::new))
          .environment("OUTBOARD_KEYS", trial.directory().resolve("keys-" + which).toString());
    }

    String client(String script) {
      return in("c", "sh", "-c", script, seen).run(LIMIT).expectSuccess().output();
    }

    String clientsLink() {
      return prefix + "dc";
    }

    @Override
    public void close() {
      trial
          .machine(
              "sh", "-c", "for n in h d c; do ip netns del $0$n 2>/dev/null; done; true", prefix)
          .run(LIMIT);
    }
  }

  @Scenario(modes = Mode.LIBRARY)
  void clientsOfProgramsWhoseDeviceStandsBetween(Trial trial) throws IOException {
    Programs.require("nginx", "curl", "redis-server", "redis-benchmark", "iperf3", "openssl");
    trial.certificate();
    Path exported = Files.createDirectory(trial.directory().resolve("exported"));
    Files.createDirectory(trial.directory().resolve("here"));
    trial.file("exported/file", EXPORTED_BYTES);
    trial.file("here/file", HOSTS_FILE_BYTES);
    trial.file("nginx.conf", CONFIGURATION.replace("@", trial.directory().toString()));
    try (Namespaces three = new Namespaces(trial)) {
      int port = 7000;
      String host = three.outboard("h", "keys").run(LIMIT).expectSuccess().output();
      String device = three.outboard("d", "keys").run(LIMIT).expectSuccess().output();
      trial.file("keys-d/authorized_hosts", host);
      trial.file("keys-h/known_devices", three.device + ":" + port + " " + device);
      try (Running service =
          three
              .outboard(
                  "d",
                  "device",
                  "--listen=tcp:" + three.device + ":" + port,
                  "--one-kernel",
                  "--net=packet:if=%s,addr=%s/26".formatted(three.clientsLink(), three.seen),
                  "--export=" + exported + ":/exported")
              .start()) {
        service.awaitErrors(LIMIT, "listening at tcp:");
        String at = "--device=tcp://" + three.device + ":" + port;
        String servers =
            """
            nginx -c $PWD/nginx.conf &
            redis-server --save '' --appendonly no --protected-mode no --dir $PWD >/dev/null &
            iperf3 -s &
            echo on; read end; kill %1 %2 %3; wait
            """;
        try (Running programs =
            three.outboard("h", "run", at, "--", "bash", "-c", servers).start()) {
          programs.awaitOutput(LIMIT, "on");
          Eventually.require(
              LIMIT,
              () -> programs.errors() + programs.output(),
              () ->
                  three
                      .client(
                          """
                          curl --noproxy '*' -s -o /dev/null http://$0:8080/here/file && echo 1
                          redis-cli -h $0 ping
                          true
                          """)
                      .equals("1\nPONG\n"));
          // A file of the host, and one of the device, plain and by TLS of the device's kernel.
          for (String file : List.of("exported/file", "here/file")) {
            String line = trial.machine("sha256sum", file).run(LIMIT).expectSuccess().output();
            String sum = line.substring(0, line.indexOf(' '));
            for (String scheme : List.of("http://$0:8080/", "https://$0:8443/")) {
              assertThat(three.client("curl --noproxy '*' -sk " + scheme + file + " | sha256sum"))
                  .as("%s%s", scheme, file)
                  .startsWith(sum);
            }
          }
          assertThat(count(tls(three, at), "TlsTxSw")).isPositive();
          assertThat(
                  three.client(
                      "redis-benchmark -h $0 --csv -n %d -c 10 -t set,get".formatted(REQUESTS)))
              .contains("\"SET\"", "\"GET\"");
          assertThat(three.client("redis-cli -h $0 info commandstats"))
              .contains("cmdstat_set:calls=" + REQUESTS, "cmdstat_get:calls=" + REQUESTS);
          for (String way : List.of("", " -R")) {
            String json = three.client("iperf3 -J -c $0 -n %dM%s".formatted(BULK_MIB, way));
            assertThat(bytes(json)).as("%s in %s", way, json).isEqualTo((long) BULK_MIB << 20);
          }
          // Nobody there has the address: without the device there is no way.
          assertThat(three.in("h", "ip", "-o", "addr").run(LIMIT).output())
              .doesNotContain(three.seen);
          programs.type("end\n");
          programs.await(LIMIT);
          assertThat(programs.errors()).doesNotContain("outboard:");
        }
      }
    }
  }

  /** What the device's kernel counts of TLS. */
  private static String tls(Namespaces three, String at) {
    return three
        .outboard("h", "run", at, "--", "cat", "/proc/net/tls_stat")
        .run(LIMIT)
        .expectSuccess()
        .output();
  }

  private static long count(String text, String name) {
    Matcher m = Pattern.compile("(?m)^" + name + "\\s+(\\d+)").matcher(text);
    assertThat(m.find()).as("%s in %s", name, text).isTrue();
    return Long.parseLong(m.group(1));
  }

  /** What iperf3's sender says that it has sent. */
  private static long bytes(String json) {
    Matcher m =
        Pattern.compile("\"sum_sent\":\\s*\\{[^}]*\"bytes\":\\s*(\\d+)", Pattern.DOTALL)
            .matcher(json);
    assertThat(m.find()).as("%s", json).isTrue();
    return Long.parseLong(m.group(1));
  }

  private static final String CONFIGURATION =
      """
      daemon off;
      user root;
      worker_processes 2;
      error_log @/error.log notice;
      pid @/nginx.pid;
      events { worker_connections 64; }
      http {
        access_log off;
        sendfile on;
        client_body_temp_path @/body;
        proxy_temp_path @/proxy;
        fastcgi_temp_path @/fastcgi;
        uwsgi_temp_path @/uwsgi;
        scgi_temp_path @/scgi;
        server {
          listen 8080;
          listen 8443 ssl;
          ssl_certificate @/cert.pem;
          ssl_certificate_key @/key.pem;
          ssl_protocols TLSv1.3;
          ssl_conf_command Options KTLS;
          location /exported/ { alias /exported/; }
          location /here/ { alias @/here/; }
        }
      }
      """;
}
