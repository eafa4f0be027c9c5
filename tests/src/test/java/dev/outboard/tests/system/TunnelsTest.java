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
 * Links that carry packets in packets, and other kinds made of links, with both ends in the one
 * kernel. The machine's own may lack them, so these are judged on the library kernel alone.
 */
class TunnelsTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private static final String HELPERS =
      """
      # An end here, NAME0 with address NET1, and one beyond, NAME1 with NET2.
      ends() {
        ip addr add ${2}1/$3 dev ${1}0 nodad
        ip link set ${1}1 master far; ip addr add ${2}2/$3 dev ${1}1 nodad
        ip link set ${1}0 up; ip link set ${1}1 up
      }
      # The outer packets are counted on the link underneath.
      outer() { cat /sys/class/net/v0/statistics/tx_packets; }
      try() {
        before=$(outer)
        ping -q -c 3 -i 0.2 -W 5 ${2}2 | sed -n "s/.*, \\([0-9] received\\).*/$1: \\1/p"
        [ $(($(outer) - before)) -ge 3 ] || echo "$1 went another way"
      }
      """;

  @Scenario(modes = Mode.LIBRARY, trace = false)
  void wireguard(Trial trial) {
    Finished done =
        trial
            .shell(
                TrafficControlTest.ENDS
                    + HELPERS
                    + """
                    umask 077
                    for i in 0 1; do
                      wg genkey >key$i
                      wg pubkey <key$i >public$i
                      ip link add wg$i type wireguard
                    done
                    wg genpsk >shared
                    wg set wg0 private-key key0 listen-port 5000 peer $(cat public1) preshared-key shared \\
                      endpoint 10.8.0.2:5001 allowed-ips 10.9.0.2/32
                    # Its own packets belong to the far end's routes, else they and, as WireGuard
                    # answers where it heard from, all after them take the loopback.
                    ip rule add pref 100 iif lo fwmark 1 table 10
                    wg set wg1 private-key key1 listen-port 5001 fwmark 1 \\
                      peer $(cat public0) preshared-key shared allowed-ips 10.9.0.1/32
                    ends wg 10.9.0. 24
                    try WireGuard 10.9.0.
                    iperf3 -s -1 -p 6001 >server 2>&1 &
                    until ss -Htln | grep -q :6001; do sleep 0.02; done
                    (iperf3 -c 10.9.0.2 -p 6001 -n 20M >client)
                    wait $!
                    # It sends a little more when its last write is taken in part, and what it says
                    # of the receiver leaves out what was still on its way.
                    grep -c '20[.][0-9] MBytes.*sender' client
                    for i in 0 1; do
                      [ "$(wg show wg$i peers)" = "$(cat public$((1 - i)))" ] && echo its peer
                      [ $(wg show wg$i latest-handshakes | cut -f 2) -gt 0 ] && echo shook hands
                    done
                    [ $(wg show wg0 transfer | cut -f 3) -gt 20000000 ] && echo sent
                    [ $(wg show wg1 transfer | cut -f 2) -gt 20000000 ] && echo received
                    # Another key, and nothing comes through.
                    wg genkey >key2
                    wg set wg1 private-key key2
                    ping -q -c 2 -i 0.2 -W 1 10.9.0.2 | grep -o '[0-9] received'
                    """)
            .run(LIMIT);
    assertThat(done.output().lines())
        .containsExactly(
            "1 received",
            "WireGuard: 3 received",
            "1",
            "its peer",
            "shook hands",
            "its peer",
            "shook hands",
            "sent",
            "received",
            "0 received");
  }

  @Scenario(modes = Mode.LIBRARY)
  void packetsInPackets(Trial trial) {
    Finished done =
        trial
            .shell(
                TrafficControlTest.ENDS
                    + HELPERS
                    + """
                    # Each end has a port of its own, as both are in one kernel.
                    ip link add vx0 type vxlan id 5 nolearning local 10.8.0.1 dstport 4789 dev v0
                    ip link add vx1 type vxlan id 5 nolearning local 10.8.0.2 dstport 4790 dev v1
                    bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.8.0.2 port 4790
                    bridge fdb append 00:00:00:00:00:00 dev vx1 dst 10.8.0.1 port 4789
                    ends vx 10.10.0. 24; try vxlan 10.10.0.
                    # Geneve's outer route is nobody's but the address's: the far end's is in its table.
                    ip rule add pref 90 iif lo to 10.8.0.1 ipproto udp dport 6081 table 10
                    ip link add gn0 type geneve id 7 remote 10.8.0.2
                    ip link add gn1 type geneve id 7 remote 10.8.0.1
                    ends gn 10.30.0. 24; try geneve 10.30.0.
                    n=10
                    for kind in gre gretap ipip sit; do
                      ip link add t0 type $kind local 10.8.0.1 remote 10.8.0.2 dev v0
                      ip link add t1 type $kind local 10.8.0.2 remote 10.8.0.1 dev v1
                      n=$((n + 1))
                      case $kind in
                      sit) ends t fd00:$n:: 64; try $kind fd00:$n:: ;;
                      *) ends t 10.$n.0. 24; try $kind 10.$n.0. ;;
                      esac
                      ip link del t0; ip link del t1
                    done
                    ip -6 addr add fd08::1/64 dev v0 nodad
                    ip -6 addr add fd08::2/64 dev v1 nodad
                    ip -6 rule add pref 32765 table local
                    ip -6 rule del pref 0
                    ping -q -c 1 -W 5 fd08::2 | grep -o '[0-9] received'
                    for kind in ip6gre ip6gretap ip6tnl; do
                      ip link add t0 type $kind local fd08::1 remote fd08::2 dev v0
                      ip link add t1 type $kind local fd08::2 remote fd08::1 dev v1
                      n=$((n + 1))
                      ends t fd00:$n:: 64; try $kind fd00:$n::
                      ip link del t0; ip link del t1
                    done
                    """)
            .run(LIMIT);
    assertThat(done.output().lines())
        .containsExactly(
            "1 received",
            "vxlan: 3 received",
            "geneve: 3 received",
            "gre: 3 received",
            "gretap: 3 received",
            "ipip: 3 received",
            "sit: 3 received",
            "1 received",
            "ip6gre: 3 received",
            "ip6gretap: 3 received",
            "ip6tnl: 3 received");
  }

  @Scenario(modes = Mode.LIBRARY)
  void linksOfLinks(Trial trial) {
    Finished done =
        trial
            .shell(
                TrafficControlTest.ENDS
                    + HELPERS
                    + """
                    # One more link on the far end, its peer an address here.
                    beyond() { ip addr add $1.1/24 dev v0; ip link set m1 master far
                      ip addr add $1.2/24 dev m1; ip link set m1 up; }
                    ip link add link v1 name m1 type macvlan mode bridge
                    beyond 10.20.0; try macvlan 10.20.0.; ip link del m1
                    ip link add link v1 name m1 type ipvlan mode l2
                    beyond 10.21.0; try ipvlan 10.21.0.; ip link del m1
                    ip link add w0 type veth peer name w1
                    ip link add m0 type bond mode active-backup miimon 50
                    ip link set w0 master m0
                    ip addr add 10.22.0.1/24 dev m0
                    ip link set w1 master far; ip addr add 10.22.0.2/24 dev w1
                    ip link set w1 up; ip link set m0 up
                    until ping -q -c 1 -W 1 10.22.0.2 >/dev/null; do sleep 0.1; done
                    grep 'Active Slave' /proc/net/bonding/m0
                    # A filter on a bridge, and one on ARP.
                    nft -f - <<'END'
                    table bridge b { chain in { type filter hook prerouting priority 0; ether type ip icmp type echo-request counter; }; }
                    table arp a { chain in { type filter hook input priority 0; arp operation request counter; }; }
                    END
                    ip link add br0 type bridge vlan_filtering 1
                    ip link add x0 type veth peer name x1
                    ip link set x0 master far; ip addr add 10.23.0.1/24 dev x0; ip link set x0 up
                    ip link set x1 master br0; ip link set x1 up
                    bridge vlan add dev x1 vid 7; bridge vlan show dev x1 | grep -o '7$'
                    ip addr add 10.23.0.2/24 dev br0; ip link set br0 up
                    ping -q -c 2 -i 0.2 -W 5 -I far 10.23.0.2 | grep -o '[0-9] received'
                    nft list table bridge b | grep -o 'packets [0-9]*'
                    nft list table arp a | grep -q 'packets [1-9]' && echo requests
                    """)
            .run(LIMIT);
    assertThat(done.output().lines())
        .containsExactlyElementsOf(
            List.of(
                "1 received",
                "macvlan: 3 received",
                "ipvlan: 3 received",
                "Currently Active Slave: w0",
                "7",
                "2 received",
                "packets 2",
                "requests"));
  }
}
