// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Tag;

/** Servers between clients and servers; under stock load generators. */
@Tag("judges")
class ProxiesTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  private static void configuration(Trial trial, String name, String... replacements)
      throws IOException {
    String text =
        Files.readString(Path.of(Programs.data(name)))
            .replace("@DIRECTORY@", trial.directory().toString());
    for (int i = 0; i < replacements.length; i += 2) {
      text = text.replace(replacements[i], replacements[i + 1]);
    }
    trial.file(name, text);
  }

  @Scenario(trace = false)
  void haproxyWithTwoBackends(Trial trial) throws Exception {
    Programs.require("haproxy", "ab");
    int web = trial.port();
    int bytes = trial.port();
    int one = trial.port();
    int two = trial.port();
    configuration(
        trial,
        "haproxy.cfg",
        "@WEB@",
        "" + web,
        "@BYTES@",
        "" + bytes,
        "@ONE@",
        "" + one,
        "@TWO@",
        "" + two);
    trial.file("data", 16 << 20);
    Finished done =
        trial
            .shell(
                """
                web=http://127.0.0.1:%1$d bytes=http://127.0.0.1:%2$d
                # Exec: the process that is signalled is the one that wait waits for.
                serve() {
                  mkdir -p $1; echo "backend $1" >$1/who; echo ok >$1/health; ln -f data $1/data
                  exec python3 -u -m http.server --bind 127.0.0.1 -d $1 $2 >$1.log 2>&1
                }
                ask() { python3 %5$s $PWD/stats.sock "$@"; }
                await() {
                  until ask 'show stat' | awk -F, -v s=$1 '$1=="both"&&$2==s{print $18}' | grep -q "^$2$"
                  do sleep 0.1; done; echo "$1 is $2"
                }
                four() { for i in 1 2 3 4; do curl -s $web/who; done | sort | uniq -c; }
                serve one %3$d & first=$!
                serve two %4$d & second=$!
                until ss -Htln | grep -q :%3$d && ss -Htln | grep -q :%4$d; do sleep 0.05; done
                haproxy -c -f haproxy.cfg
                haproxy -db -f haproxy.cfg >first.log 2>&1 & proxy=$!
                until [ -S stats.sock ]; do sleep 0.05; done
                await one UP; await two UP; four
                kill $second; wait $second; await two DOWN; four
                serve two %4$d & second=$!
                await two UP; four
                ask 'disable server both/one'; four; ask 'enable server both/one'; await one UP
                curl -s -o /dev/null -w '%%{http_code}\\n' $web/missing
                for i in 1 2 3; do curl -s $bytes/data | cmp - data && echo spliced; done
                # Python's server has a queue of five.
                ab -q -k -c 4 -n 1000 $web/who | grep -e Complete -e Failed -e Non-2xx
                # The new one gets the old one's listeners over its Unix socket.
                haproxy -db -f haproxy.cfg -x $PWD/stats.sock -sf $proxy >second.log 2>&1 & next=$!
                for i in $(seq 30); do curl -s $web/who || echo "failed $?"; done | sort -u
                wait $proxy; echo "the first $?"
                curl -s $bytes/data | cmp - data && echo spliced
                kill -USR1 $next; wait $next; echo "the second $?"
                kill $first $second; wait
                """
                    .formatted(web, bytes, one, two, Programs.python("ask")))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).doesNotContain("failed");
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void nginxWithAllItsProtocols(Trial trial) throws Exception {
    Programs.require("nginx", "ab", "wrk", "nghttp", "h2load", "openssl");
    configuration(trial, "nginx-proxy.conf");
    trial.certificate();
    Files.createDirectory(trial.directory().resolve("www"));
    trial.file("www/data", 16 << 20);
    trial.file("www/page", "a page\n");
    Finished done =
        trial
            .shell(
                """
                plain=http://127.0.0.1:8200 tls=https://127.0.0.1:8443
                nginx -c $PWD/nginx-proxy.conf 2>errors & server=$!
                until curl -sf -o /dev/null $plain/page; do sleep 0.05; done
                curl -s $plain/page; curl -s http://127.0.0.1:8300/page
                curl -sk --http2 -w '%%{http_version} %%{http_code}\\n' $tls/page
                curl -s --http2-prior-knowledge -w '%%{http_version}\\n' http://127.0.0.1:8444/page
                for url in $plain $plain/application $tls $tls/application http://127.0.0.1:8300; do
                  curl -sk $url/data | cmp - www/data && echo same
                done
                nghttp -nv --no-verify $tls/page $tls/application/page | grep -c ':status: 200'
                ab -q -k -n 1000 -c 20 $plain/application/page | grep -e Complete -e Failed -e Non-2xx -e Keep
                ab -q -n 500 -c 20 http://127.0.0.1:8300/page | grep -e Complete -e Failed -e Non-2xx
                wrk -t 2 -c 32 -d 2 $plain/page >wrk.output; grep -e Socket -e Non-2xx wrk.output
                grep -c 'requests in' wrk.output
                h2load -n 1000 -c 8 -m 16 $tls/page | grep -e ^requests -e '^status codes'
                for i in $(seq 100); do curl -s $plain/worker; done | sort -u | wc -l
                /usr/bin/python3 %s 8301 8302
                grep -c 'GET /worker ' access.log
                kill -QUIT $server; wait $server; echo "nginx $?"
                echo "upstream: $(cut -d' ' -f1 upstream.log | sort -u | wc -l) $(wc -l <upstream.log)"
                """
                    .formatted(Programs.python("udp_echo")))
            .run(LIMIT)
            .expectSuccess();
    String[] upstream = lastLine(done.output()).split(" ", -1);
    // Each of four workers keeps eight; requests at the same time may need more, and less is luck.
    assertThat(Integer.parseInt(upstream[1]))
        .as("connections of %s requests", upstream[2])
        .isLessThan(100);
    assertThat(Integer.parseInt(upstream[2])).isGreaterThanOrEqualTo(1003);
    trial.outcome("output", done.output().replaceFirst("upstream: .*\n", ""));
    assertThat(Files.readString(trial.directory().resolve("error.log")))
        .doesNotContain("[alert]", "[crit]", "[error]", "[emerg]");
  }

  private static String lastLine(String text) {
    return text.strip().lines().reduce("", (before, line) -> line);
  }
}
