// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;

/** Programs that measure a network, and those that answer questions about names and paths. */
@Tag("judges")
class MeasuresTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  private static void iperf3(Trial trial, List<String> ways) {
    int port = trial.port();
    StringBuilder script =
        new StringBuilder(
            // A packet of loopback's 64 KiB ends with half an SCTP message, and Nagle's algorithm
            // waits.
            "ip link set lo mtu 1500\n");
    for (String way : ways) {
      script.append(
          """
          iperf3 -s -1 -p %1$d >server 2>&1 & server=$!
          until ss -Htln | grep -q :%1$d; do sleep 0.02; done
          # In a shell of its own: the server's end must not interrupt a redirection (ADR 0006).
          (iperf3 -c 127.0.0.1 -p %1$d -t 2 -P 8 -f k %2$s >client 2>&1); echo "%2$s $?"
          grep -c '\\[ *[0-9]*\\].* [1-9][0-9.]* Kbits/sec.*receiver' client
          wait $server; echo "server $?"
          """
              .formatted(port, way));
    }
    Finished done = trial.shell(script.toString()).run(LIMIT).expectSuccess();
    StringBuilder expected = new StringBuilder();
    ways.forEach(way -> expected.append(way).append(" 0\n8\nserver 0\n"));
    assertThat(done.output()).isEqualTo(expected.toString());
  }

  @Scenario(trace = false)
  void iperf3InEightStreams(Trial trial) {
    iperf3(trial, List.of("", "-R", "-u -b 2M", "-u -b 2M -R"));
  }

  /** The machine's own kernel may lack SCTP. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void iperf3InEightAssociations(Trial trial) {
    iperf3(trial, List.of("--sctp", "--sctp -R"));
  }

  /** Debian has it among what is not free, so it is judged where somebody installed it. */
  @Scenario(trace = false)
  void netperf(Trial trial) {
    assumeTrue(
        Programs.installed("netperf") && Programs.installed("netserver"),
        "netperf (Debian's section non-free) is not installed: not judged");
    Finished done =
        trial
            .shell(
                """
                # It asks for a name's addresses of a kind that the machine has: loopback does not count.
                ip addr add 192.0.2.1/32 dev lo
                netserver -D -L 192.0.2.1 -p %1$d >server 2>&1 & server=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                for test in TCP_STREAM TCP_MAERTS TCP_SENDFILE TCP_RR TCP_CRR UDP_STREAM UDP_RR; do
                  netperf -H 192.0.2.1 -p %1$d -t $test -l 1 -P 0 >client 2>&1; echo "$test $?"
                  grep -q '[1-9]' client && echo measured
                done
                kill $server; wait $server; echo "netserver $?"
                """
                    .formatted(trial.port()))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void dnsmasqAnswersDig(Trial trial) {
    Programs.require("dnsmasq", "dig");
    int front = trial.port();
    int back = trial.port();
    Finished done =
        trial
            .shell(
                """
                common="--keep-in-foreground --pid-file --listen-address=127.0.0.1 --bind-interfaces
                  --no-resolv --no-hosts --user=$(id -un)"
                seq -f 'txt-record=long.example,"%%g abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz"' 60 >long
                dnsmasq $common --port=%2$d --conf-file=$PWD/long --address=/behind.example/192.0.2.9 & back=$!
                dnsmasq $common --port=%1$d --conf-file=/dev/null --address=/judge.example/192.0.2.7 \
                  --address=/judge.example/2001:db8::7 --server=/behind.example/127.0.0.1#%2$d \
                  --server=/long.example/127.0.0.1#%2$d --log-queries --log-facility=$PWD/queries & front=$!
                until ss -Hulnt | grep -q :%1$d && ss -Hulnt | grep -q :%2$d; do sleep 0.05; done
                ask() { dig @127.0.0.1 -p %1$d +time=10 +tries=1 "$@"; }
                for way in +notcp +tcp; do
                  ask $way +short judge.example A; ask $way +short judge.example AAAA
                  ask $way +short behind.example; ask $way +short x.behind.example
                done
                ask +notcp unknown.example | grep -o 'status: [A-Z]*'
                ask +notcp +bufsize=512 +ignore long.example TXT | grep -o 'flags: [a-z ]*'
                ask +bufsize=512 +short long.example TXT | wc -l
                ask +tcp +short long.example TXT | sort -V | md5sum
                for i in $(seq 10); do ask +short h$i.behind.example & asked="$asked $!"; done >answers
                wait $asked; sort answers | uniq -c
                kill -HUP $front; ask +short judge.example
                grep -c 'forwarded long.example' queries >/dev/null && echo logged
                kill $front $back; wait $front; echo "dnsmasq $?"; wait $back; echo "dnsmasq $?"
                """
                    .formatted(front, back))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  /** DHCP is packet sockets, broadcasts, and addresses of the interface that a datagram came by. */
  @Scenario(trace = false)
  void dnsmasqOffersAnAddress(Trial trial) {
    Programs.require("dnsmasq");
    Finished done =
        trial
            .shell(
                """
                # What it offers depends on the client's MAC address.
                ip link add v0 type veth peer name v1 address 02:00:00:00:00:02
                ip addr add 198.51.100.1/24 dev v0; ip link set v0 up; ip link set v1 up
                dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --pid-file --user=$(id -un) \
                  --interface=v0 --except-interface=lo --bind-interfaces --dhcp-leasefile=$PWD/leases \
                  --dhcp-range=198.51.100.10,198.51.100.20,1h 2>log & server=$!
                until ss -Hulnt | grep -q :67; do sleep 0.05; done
                python3 %s v1
                kill $server; wait $server; echo "dnsmasq $?"; ip link del v0
                """
                    .formatted(Programs.python("dhcp_discover")))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).contains("offered 198.51.100.");
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void mptcpizeMakesTcpMultipath(Trial trial) {
    Programs.require("mptcpize");
    trial.file("page", 3 << 20);
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                counted() { nstat -azs | awk '/MPTcpExtMPCapableSYNRX|MPTcpExtMPCapableACKRX/ {print $1, $2}'; }
                mptcpize run python3 -u -m http.server --bind 127.0.0.1 %1$d >log 2>&1 & server=$!
                until grep -q Serving log; do sleep 0.05; done
                ss -HMtln | awk '{print $1}' | sort -u
                mptcpize run curl -s http://127.0.0.1:%1$d/page | cmp - page; counted
                # A client without it falls back to TCP.
                curl -s http://127.0.0.1:%1$d/page | cmp - page; counted
                kill $server; wait $server
                mptcpize run iperf3 -s -1 -p %1$d >server 2>&1 & server=$!
                until ss -HMtln | grep -q :%1$d; do sleep 0.05; done
                (mptcpize run iperf3 -c 127.0.0.1 -p %1$d -n 4M -P 2 >client); grep -c receiver client
                wait $server; echo "iperf3 $?"
                ip mptcp limits set subflow 2 add_addr_accepted 2
                ip mptcp endpoint add 127.0.0.2 dev lo signal; ip mptcp endpoint show
                python3 %2$s %3$d
                """
                    .formatted(port, Programs.python("subflows"), trial.port()))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).contains("ends of subflows: 4");
    trial.outcome("output", done.output());
  }
}
