// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;
import java.util.List;

/**
 * tc: queueing disciplines, filters, actions, and what they do to packets. The machine's own kernel
 * may lack them, so these are judged on the library kernel alone.
 */
class TrafficControlTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /** Two ends of a veth pair, of which the second has a table of routes of its own. */
  static final String ENDS =
      """
      set -e
      ip link add v0 type veth peer name v1
      ip link add far type vrf table 10
      ip link set far up
      ip rule add pref 32765 table local
      ip rule del pref 0
      ip link set v1 master far
      ip addr add 10.8.0.1/24 dev v0
      ip addr add 10.8.0.2/24 dev v1
      ip link set v0 up
      ip link set v1 up
      sysctl -qw net.ipv4.tcp_l3mdev_accept=1 net.ipv4.udp_l3mdev_accept=1
      ping -q -c 1 -W 5 10.8.0.2 | grep -o '[0-9] received'
      """;

  @Scenario(modes = Mode.LIBRARY)
  void netemDelays(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                rtt() { ping -q -c 3 -i 0.2 -W 5 127.0.0.1 | sed -n 's/^rtt [^=]*= \\([0-9]*\\).*/\\1/p'; }
                rtt
                tc qdisc add dev lo root netem delay 300ms
                rtt
                tc -s qdisc show dev lo | grep -o -e 'netem.*delay.*' -e 'Sent.*pkt'
                tc qdisc change dev lo root netem loss 100%
                ping -q -c 2 -i 0.2 -W 1 127.0.0.1 | grep -o '[0-9] received' || true
                tc qdisc del dev lo root
                ping -q -c 1 -W 5 127.0.0.1 | grep -o '[0-9] received'
                """)
            .run(LIMIT)
            .expectSuccess();
    List<String> lines = done.output().lines().toList();
    assertThat(Integer.parseInt(lines.get(0))).as("round trip in ms").isLessThan(300);
    assertThat(Integer.parseInt(lines.get(1))).as("the same, twice delayed").isBetween(600, 900);
    assertThat(lines.get(2)).contains("delay 300ms");
    assertThat(lines.subList(3, lines.size()))
        .containsExactly("Sent 588 bytes 6 pkt", "0 received", "1 received");
  }

  @Scenario(modes = Mode.LIBRARY)
  void everyDisciplineSends(Trial trial) {
    Finished done =
        trial
            .shell(
                ENDS
                    + """
                    for how in fq fq_codel 'cake bandwidth 1gbit' sfq prio \\
                        'tbf rate 1gbit burst 1mb latency 50ms' pfifo_fast; do
                      tc qdisc replace dev v0 root $how
                      ping -q -c 2 -i 0.1 -W 5 10.8.0.2 >/dev/null
                      set -- $(tc -s qdisc show dev v0 | sed -n 's/^qdisc \\([a-z_]*\\).*root.*/\\1/p; s/.*Sent .* bytes \\(.*\\) pkt.*/\\1/p')
                      echo "$1 $([ $2 -ge 2 ] && echo sends)"
                    done
                    """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "1 received",
            "fq sends",
            "fq_codel sends",
            "cake sends",
            "sfq sends",
            "prio sends",
            "tbf sends",
            "pfifo_fast sends");
  }

  /** Of two classes, one is slow; u32 leads packets to it by their port, fw by their mark. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void htbShapesWhatFiltersGiveIt(Trial trial) {
    Finished done =
        trial
            .shell(
                ENDS
                    + """
                    tc qdisc add dev v0 root handle 1: htb default 20 r2q 1000
                    tc class add dev v0 parent 1: classid 1:10 htb rate 8mbit ceil 8mbit burst 20k cburst 20k
                    tc class add dev v0 parent 1: classid 1:20 htb rate 1gbit
                    tc filter add dev v0 parent 1: protocol ip prio 1 u32 match ip dport 6001 0xffff flowid 1:10
                    tc filter add dev v0 parent 1: protocol ip prio 2 handle 5 fw classid 1:10
                    for port in 6001 6002; do
                      iperf3 -s -1 -p $port >server 2>&1 &
                      until ss -Htln | grep -q :$port; do sleep 0.02; done
                      (iperf3 -c 10.8.0.2 -p $port -n 2M -f m >client)
                      sed -n 's/.* \\([0-9]*\\)[0-9.]* Mbits.*receiver/\\1/p' client
                      wait $!
                    done
                    packets() { tc -s class show dev v0 | sed -n '/htb 1:10/,/Sent/s/.*bytes \\([0-9]*\\) pkt.*/\\1/p'; }
                    before=$(packets)
                    ping -q -c 2 -i 0.1 -W 5 -m 5 10.8.0.2 >/dev/null
                    echo $(($(packets) - before))
                    """)
            .run(LIMIT)
            .expectSuccess();
    List<String> lines = done.output().lines().toList();
    assertThat(lines.getFirst()).isEqualTo("1 received");
    assertThat(Integer.parseInt(lines.get(1))).as("Mbit/s of the slow class").isBetween(3, 9);
    assertThat(Integer.parseInt(lines.get(2))).as("Mbit/s of the other").isGreaterThan(20);
    assertThat(lines.getLast()).as("packets of that mark").isEqualTo("2");
  }

  @Scenario(modes = Mode.LIBRARY)
  void filtersAndActionsOnWhatComesInAndGoesOut(Trial trial) {
    Finished done =
        trial
            .shell(
                ENDS
                    + """
                    sent() { sed -n 's/.*Sent \\(.* pkt\\).*/\\1/p'; }
                    received() { ping -q -c $1 -i 0.1 -W 1 10.8.0.2 | grep -o '[0-9] received' || true; }
                    ip link add i0 type ifb
                    ip link set i0 up
                    tc qdisc add dev v1 ingress
                    tc filter add dev v1 ingress protocol ip prio 1 flower ip_proto udp dst_port 6003 action drop
                    tc filter add dev v1 ingress protocol ip prio 2 flower ip_proto icmp \\
                      action mirred egress mirror dev i0
                    echo mirrored; received 3
                    for i in 1 2 3 4; do bash -c 'echo x >/dev/udp/10.8.0.2/6003'; done
                    tc -s filter show dev v1 ingress | sent
                    # An ifb gives back what was sent on to it, by way of its own queue.
                    tc filter del dev v1 ingress protocol ip prio 2
                    tc filter add dev v1 ingress protocol ip prio 2 flower ip_proto icmp \\
                      action mirred egress redirect dev i0
                    echo redirected; received 2
                    tc qdisc add dev i0 root netem loss 100%
                    received 2
                    tc qdisc del dev v1 ingress
                    received 1
                    tc qdisc add dev v0 clsact
                    tc filter add dev v0 egress protocol ip matchall action police rate 8bit burst 200 conform-exceed drop
                    echo policed; received 3
                    tc filter del dev v0 egress
                    nft add table ip t
                    nft add chain ip t in '{ type filter hook input priority 0; }'
                    nft add rule ip t in meta mark 9 icmp type echo-request counter
                    tc qdisc add dev v1 clsact
                    tc filter add dev v1 ingress protocol ip prio 1 u32 match ip protocol 1 0xff \\
                      action skbedit mark 9 action pass
                    echo marked; received 2
                    nft list chain ip t in | grep -o 'packets [0-9]*'
                    """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "1 received",
            "mirrored",
            "3 received",
            "120 bytes 4 pkt",
            "252 bytes 3 pkt",
            "redirected",
            "2 received",
            "0 received",
            "1 received",
            "policed",
            "2 received",
            "marked",
            "2 received",
            "packets 2");
  }
}
