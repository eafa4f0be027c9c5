// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * TLS of the kernel, under stock programs and by the bare calls. The machine's own kernel may lack
 * it, so these are judged on the library kernel alone. That the kernel did the work, which programs
 * do not say, is read from the sockets themselves ({@code ss} names version, cipher and directions)
 * and from the kernel's counts in {@code /proc/net/tls_stat}.
 */
class KtlsTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** Turns it on for each program that uses OpenSSL. */
  private static final String OPENSSL_CONFIGURATION =
      """
      openssl_conf = programs
      [programs]
      ssl_conf = tls
      [tls]
      system_default = all
      [all]
      Options = KTLS
      Ciphersuites = TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256:TLS_CHACHA20_POLY1305_SHA256
      """;

  @Scenario(modes = Mode.LIBRARY)
  void recordsKeysAndRules(Trial trial) {
    Finished done = trial.program(Programs.staticC("ktls")).run(LIMIT).expectSuccess();
    List<String> expected = new ArrayList<>();
    for (int bytes : new int[] {5 + 8 + 6 + 16, 5 + 6 + 1 + 16}) {
      expected.addAll(
          List.of(
              "one record",
              "many records, from memory and from a file",
              "a record of another type",
              "a key update, refused",
              "sealed on the wire: " + bytes + " bytes"));
    }
    expected.add("what is refused");
    assertThat(done.output().lines()).containsExactlyElementsOf(expected);
  }

  /** Each server has one cipher of TLS 1.3: Python's client cannot choose. */
  private static String nginx(Trial trial, int port, int number, String cipher) {
    return """
      server {
        listen 127.0.0.1:%d ssl;
        root %s;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ALL:@SECLEVEL=0;
        ssl_conf_command Options KTLS;
        ssl_conf_command Ciphersuites %s;
      }
    """
        .formatted(port + number, trial.directory(), cipher);
  }

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void nginxOpensslCurlAndPython(Trial trial) {
    trial.file("small", "of one record\n");
    trial.file("large", 1_000_003);
    trial.file("openssl.cnf", OPENSSL_CONFIGURATION);
    int port = 4440; // the network is the trial's own
    trial.file(
        "nginx.conf",
        "daemon off; user root; pid nginx.pid; error_log error.log notice;\n"
            + "events { }\nhttp {\n  access_log off; sendfile on; tcp_nopush on;\n"
            + nginx(trial, port, 0, "TLS_AES_128_GCM_SHA256")
            + nginx(trial, port, 1, "TLS_AES_256_GCM_SHA384")
            + nginx(trial, port, 2, "TLS_AES_128_CCM_SHA256")
            + nginx(trial, port, 3, "TLS_CHACHA20_POLY1305_SHA256")
            + "}\n");
    Finished done =
        trial
            .shell(
                """
                export OPENSSL_CONF=$PWD/openssl.cnf
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
                  -config /etc/ssl/openssl.cnf -subj /CN=device -keyout key.pem -out certificate.pem
                nginx -p $PWD -c nginx.conf & nginx=$!
                openssl s_server -accept 127.0.0.1:4450 -key key.pem -cert certificate.pem \\
                  -WWW -sendfile >server.log 2>&1 & server=$!
                until curl -sko /dev/null https://127.0.0.1:4440/small; do sleep 0.05; done
                until grep -q ACCEPT server.log; do sleep 0.05; done
                %1$s %2$s 4440 small large
                echo curl
                # Keys that the kernel was given so far: for sending, for receiving.
                keys() { awk '/^Tls[TR]xSw/ { printf "%%d ", $2 }' /proc/net/tls_stat; }
                for cipher in AES128-GCM-SHA256 CHACHA20-POLY1305; do
                  set -- $(keys)
                  curl -sSk --tls-max 1.2 --ciphers ECDHE-ECDSA-$cipher https://127.0.0.1:4440/large |
                    cmp - large && echo "  nginx, 1.2 $cipher"
                  set -- $(keys) $1 $2
                  echo "  TlsTxSw +$(($1 - $3)), TlsRxSw +$(($2 - $4))"
                done
                for version in tls1_2 tls1_3; do
                  printf 'GET /large HTTP/1.0\\r\\n\\r\\n' |
                    openssl s_client -quiet -ign_eof -$version -connect 127.0.0.1:4450 2>log |
                    tail -c 1000003 | cmp - large && echo "  openssl, $version"
                done
                curl -sSk --http0.9 https://127.0.0.1:4450/large | tail -c 1000003 | cmp - large
                until [ "$(grep -c 'KTLS SENDFILE .large. OK' server.log)" = 3 ]; do sleep 0.05; done
                echo "sendfile in three"
                kill $server; kill -QUIT $nginx; wait $nginx
                """
                    .formatted(Programs.PYTHON, Programs.python("tls")))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "  server version: 1.2 cipher: aes-gcm-128 rxconf: sw txconf: sw",
            "  client version: 1.2 cipher: aes-gcm-128 rxconf: sw txconf: sw",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "  server version: 1.2 cipher: aes-gcm-256 rxconf: sw txconf: sw",
            "  client version: 1.2 cipher: aes-gcm-256 rxconf: sw txconf: sw",
            // ss has no names for the others
            "ECDHE-ECDSA-AES128-CCM",
            "  server version: 1.2 rxconf: sw txconf: sw",
            "  client version: 1.2 rxconf: sw txconf: sw",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "  server version: 1.2 rxconf: sw txconf: sw",
            "  client version: 1.2 rxconf: sw txconf: sw",
            // OpenSSL 3.0 receives 1.3 by itself, and gives no CCM of it to a kernel
            "TLS_AES_128_GCM_SHA256",
            "  server version: 1.3 cipher: aes-gcm-128 rxconf: none txconf: sw",
            "  client version: 1.3 cipher: aes-gcm-128 rxconf: none txconf: sw",
            "TLS_AES_256_GCM_SHA384",
            "  server version: 1.3 cipher: aes-gcm-256 rxconf: none txconf: sw",
            "  client version: 1.3 cipher: aes-gcm-256 rxconf: none txconf: sw",
            "TLS_AES_128_CCM_SHA256",
            "  server no TLS",
            "  client no TLS",
            "TLS_CHACHA20_POLY1305_SHA256",
            "  server version: 1.3 rxconf: none txconf: sw",
            "  client version: 1.3 rxconf: none txconf: sw",
            "curl",
            // nginx's: curl reads and writes its socket by itself, and so has TLS of its own
            "  nginx, 1.2 AES128-GCM-SHA256",
            "  TlsTxSw +1, TlsRxSw +1",
            "  nginx, 1.2 CHACHA20-POLY1305",
            "  TlsTxSw +1, TlsRxSw +1",
            "  openssl, tls1_2",
            "  openssl, tls1_3",
            "sendfile in three");
  }
}
