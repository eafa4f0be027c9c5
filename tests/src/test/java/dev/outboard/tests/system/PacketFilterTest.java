// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** nftables and connection tracking: rules that programs set, and what they do to packets. */
@HostKernelByJudges
class PacketFilterTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private static final String RULES =
      """
      table inet filter {
        set allowed { type inet_service; flags interval; elements = { 7000, 7100-7110 } }
        map marks { type inet_service : mark; elements = { 7000 : 0x7 } }
        set busy { type ipv4_addr; flags dynamic; }
        quota little { 60 bytes }
        chain input {
          type filter hook input priority filter; policy accept;
          ct state established,related accept
          tcp dport @allowed meta mark set tcp dport map @marks counter accept
          tcp dport 7001 log prefix "refused " counter reject with tcp reset
          tcp dport 7008 ct state new add @busy { ip saddr ct count over 1 } counter reject
          udp dport 7002 counter reject
          tcp dport vmap { 7003 : drop, 7005 : jump further }
          icmp type echo-request limit rate 1/hour burst 2 packets counter accept
          icmp type echo-request counter drop
        }
        chain further {
          fib daddr type local counter
          meta nfproto ipv4 numgen inc mod 2 vmap { 0 : accept, 1 : drop }
        }
        chain output {
          type filter hook output priority filter;
          ct mark set 0x5
          tcp dport 7006 jhash ip saddr . ip daddr mod 1 0 quota name little counter
        }
      }
      table ip proxy {
        chain in {
          type filter hook prerouting priority mangle;
          socket transparent 1 accept
          tcp dport 7009 tproxy to 127.0.0.1:7010
        }
      }
      table ip nat {
        chain output {
          type nat hook output priority -100;
          tcp dport 7004 counter redirect to :7000
          ip daddr 192.0.2.9 tcp dport 80 counter dnat to 127.0.0.1:7000
        }
        chain post {
          type nat hook postrouting priority srcnat;
          ip saddr 127.0.0.5 counter snat to 127.0.0.6
        }
      }
      table netdev early {
        chain ingress {
          type filter hook ingress device "lo" priority 0;
          udp dport 7007 counter drop
        }
        chain egress {
          type filter hook egress device "lo" priority 0;
          udp dport 7011 counter drop
        }
      }
      """;

  @Scenario
  void rulesSetsCountersAndTranslation(Trial trial) {
    trial.file("rules", RULES);
    Finished done =
        trial
            .shell(
                """
                set -e
                nft -f rules
                ip route add 192.0.2.9 dev lo
                conntrack -E -e NEW,DESTROY -p tcp --dport 7004 >events 2>watched & watcher=$!
                until ss -f netlink | grep nft: | grep -qv kernel; do sleep 0.05; done
                %s %s
                for i in 1 2 3; do ping -c 1 -W 0.3 -q 127.0.0.1 | grep -o '[01] received' || true; done
                nft list ruleset
                shown() { sed 's/^tcp *6 [0-9]* //; s/ \\([sd]port\\)=[1-6][0-9]*/ \\1=PORT/g'; }
                conntrack -L -p tcp --dport 7004 2>/dev/null | shown
                conntrack -L -p tcp -s 127.0.0.5 2>/dev/null | shown
                conntrack -D -p tcp --dport 7004 2>&1 >/dev/null
                conntrack -L -p tcp --dport 7004 2>&1 | tail -n 1
                until grep -q DESTROY events; do sleep 0.05; done
                kill -INT $watcher; wait $watcher || true
                cut -c 1-14 events
                nft -a list chain ip nat post | sed -n 's/.*# handle/handle/p'
                nft delete table inet filter
                nft list tables
                nft flush ruleset
                nft list ruleset
                """
                    .formatted(Programs.PYTHON, Programs.python("filtered")))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output())
        .contains(
            "redirected: 127.0.0.1",
            "translated at its source: 127.0.0.6",
            "tcp dport 7004 counter packets 1 bytes 60 redirect to :7000",
            "dport=7004 src=127.0.0.1 dst=127.0.0.1 sport=7000");
    trial.outcome("output", done.output());
  }

  /** Only by its translation does an answer find the way back to an address that nobody routes. */
  @Scenario(link = Link.TO_MACHINE)
  void masqueradeTowardsTheMachine(Trial trial) throws Exception {
    try (ServerSocket server = new ServerSocket(0)) {
      CompletableFuture<Void> answered =
          CompletableFuture.runAsync(() -> {
            try (Socket s = server.accept()) {
              s.getOutputStream()
                  .write(s.getInetAddress().getHostAddress().getBytes(StandardCharsets.US_ASCII));
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
      Finished done =
          trial
              .shell(
                  """
                  set -e
                  ip addr add 192.0.2.1/32 dev lo
                  nft add table ip t
                  nft add chain ip t post '{ type nat hook postrouting priority srcnat; }'
                  nft add rule ip t post ip saddr 192.0.2.1 counter masquerade
                  %s -c "
                  import socket
                  with socket.create_connection(('%s', %d), 10, ('192.0.2.1', 0)) as c:
                      print(c.getsockname()[0], 'seen as', c.recv(99).decode())"
                  nft list ruleset
                  conntrack -L -p tcp -s 192.0.2.1 2>/dev/null |
                    sed 's/^tcp *6 [0-9]* [A-Z_]* //; s/ \\([sd]port\\)=[0-9]*/ \\1=PORT/g'
                  """
                      .formatted(Programs.PYTHON, trial.outside(), server.getLocalPort()))
              .run(LIMIT)
              .expectSuccess();
      answered.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
      assertThat(done.output()).contains("192.0.2.1 seen as " + trial.inside() + "\n");
      trial.outcome("output", done.output());
    }
  }

  /** Debian's iptables is a front of nf_tables, with some expressions of its own. */
  @Scenario
  void iptablesOnTopOfIt(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                iptables -A INPUT -p tcp --dport 7001 -m comment --comment no -j REJECT --reject-with tcp-reset
                iptables -A INPUT -p tcp -m multiport --dports 7003,7004 -j DROP
                iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                iptables -t nat -A OUTPUT -p tcp -m addrtype --dst-type LOCAL --dport 7004 -j REDIRECT --to-ports 7000
                iptables -t nat -A POSTROUTING -s 127.0.0.5 -j SNAT --to-source 127.0.0.6
                iptables -t nat -A POSTROUTING -s 127.0.0.8 -j MASQUERADE
                iptables -t mangle -A OUTPUT -p udp -j MARK --set-mark 5
                %s %s
                iptables-save | grep -v '^#' | sed 's/ \\[[0-9:]*\\]$//'
                ip6tables -A INPUT -p tcp --dport 7001 -j REJECT
                ip6tables -S
                """
                    .formatted(Programs.PYTHON, Programs.python("filtered")))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  /** A program decides: of each packet of the queue whether it goes on, and how it then looks. */
  @Scenario(modes = Mode.LIBRARY)
  void packetsThatAProgramDecidesAbout(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                nft -f - <<'END'
                table inet q { chain out { type filter hook output priority 0; udp dport 7000 queue num 5; }; }
                END
                iptables -A INPUT -p udp --dport 7001 -j NFQUEUE --queue-num 6 --queue-bypass
                %s %s
                nft list table inet q | grep -o 'queue.*5'
                iptables -S INPUT | tail -n 1
                """
                    .formatted(Programs.PYTHON, Programs.python("queued")))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "nobody decides: 1",
            "seen b'accept' on lo",
            "seen b'drop' on lo",
            "seen b'change' on lo",
            "arrived [b'accept', b'EGNAHC']",
            "seen b'in' on lo",
            "arrived [b'in']",
            "queue 6: 1 waiting",
            "a verdict about no packet ENOENT",
            "queue to 5",
            "-A INPUT -p udp -m udp --dport 7001 -j NFQUEUE --queue-num 6 --queue-bypass");
  }
}
