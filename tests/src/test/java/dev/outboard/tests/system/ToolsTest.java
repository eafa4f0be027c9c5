// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;

/**
 * The tools of a network's administrator, and those that move bytes between a network and stdio.
 */
class ToolsTest {
  private static final Duration LIMIT = Duration.ofSeconds(40);

  @Scenario
  void ipChangesTheDevicesLinks(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                ip link add v0 type veth peer name v1
                ip addr add 192.0.2.77/24 dev v0
                ip link set v0 up; ip link set v1 up
                ip -o -4 addr show dev v0 | grep -o 'inet [^ ]*'
                ip -o route show dev v0 | grep -o '^[^ ]*'
                ping -q -c 1 192.0.2.77 | grep -o '1 received'
                ip link del v0
                ip link show v1 2>&1 || echo gone
                """)
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(modes = Mode.LIBRARY)
  void kindsOfLinksThatTheDevicesKernelHas(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                ip link add d0 type dummy
                ip link add b0 type bridge
                ip link set d0 master b0
                ip link add link b0 name b0.7 type vlan id 7
                ip addr add 192.0.2.77/24 dev b0.7
                ip link set d0 up; ip link set b0 up; ip link set b0.7 up
                ip -o link show | sed 's/^[0-9]*: \\([^:]*\\):.*/\\1/' | grep -e ^d0 -e ^b0
                ping -q -c 1 192.0.2.77 | grep -o '1 received'
                for algorithm in cubic bbr dctcp; do
                  iperf3 -s -1 -p 6001 >server 2>&1 &
                  until ss -Htln | grep -q :6001; do sleep 0.02; done
                  # In a shell of its own: the server's end must not interrupt a redirection (ADR 0006).
                  (iperf3 -c 127.0.0.1 -p 6001 -n 1M -C $algorithm >client) && echo $algorithm
                  wait $!
                done
                """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly("d0", "b0", "b0.7@b0", "1 received", "cubic", "bbr", "dctcp");
  }

  @Scenario
  void ssShowsAProgramsConnections(Trial trial) {
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("connections")).run(LIMIT).expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(link = Link.TO_MACHINE)
  void addressesAndPingInBothDirections(Trial trial) {
    try (Running running =
        trial
            .shell(
                """
                set -e
                ip -4 addr; ip route get %1$s
                ping -c 3 -i 0.2 -w 10 127.0.0.1; ping -c 3 -i 0.2 -w 10 %1$s
                hops() { traceroute -n -q 1 -w 5 -m 5 "$@" %1$s | tail -n +2 | cut -d ' ' -f 1-4; }
                echo 'by UDP' $(hops); echo 'by ICMP' $(hops -I); echo 'by TCP' $(hops -T -p 9)
                arping -c 2 -w 10 -I eth0 %1$s | grep -o 'Received [0-9]* response'
                ethtool -i eth0 | grep -c '^driver: '
                echo pinged; exec sleep 60
                """
                    .formatted(trial.outside()))
            .start()) {
      running.awaitOutput(LIMIT, "pinged");
      assertThat(Pattern.compile("inet (\\S+)").matcher(running.output()).results())
          .extracting(m -> m.group(1))
          .containsExactlyInAnyOrder("127.0.0.1/8", trial.inside() + "/24");
      assertThat(running.output()).contains("src " + trial.inside());
      assertThat(running.output().lines().filter(l -> l.contains(" 3 received"))).hasSize(2);
      assertThat(running.output().lines())
          .contains(
              "by UDP 1 " + trial.outside(),
              "by ICMP 1 " + trial.outside(),
              "by TCP 1 " + trial.outside(),
              "Received 2 response",
              "1");
      Finished back =
          trial
              .machine("ping", "-c", "3", "-i", "0.2", "-w", "10", trial.inside())
              .run(LIMIT)
              .expectSuccess();
      assertThat(back.output()).contains("3 received");
    }
  }

  @Scenario
  void socatWithStandardInputMixed(Trial trial) {
    Path data = trial.file("data", 5 << 20);
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                socat TCP-LISTEN:%1$d,bind=127.0.0.1,reuseaddr EXEC:'tr a-z A-Z' & echo=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                (echo one; sleep 0.1; echo two; sleep 0.1; echo three) |
                  socat -t 5 - TCP:127.0.0.1:%1$d
                wait $echo; echo "echo $?"
                socat -u TCP-LISTEN:%1$d,bind=127.0.0.1,reuseaddr OPEN:copy,creat & sink=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                socat -u - TCP:127.0.0.1:%1$d <data; echo "source $?"
                wait $sink; echo "sink $?"
                """
                    .formatted(port))
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
    assertThat(TestFiles.checksum(trial.directory().resolve("copy")))
        .isEqualTo(TestFiles.checksum(data));
  }

  @Scenario
  void socatTypedAtItsInput(Trial trial) {
    int port = trial.port();
    try (Running running =
        trial
            .shell(
                """
                exec 3<&0
                socat TCP-LISTEN:%1$d,bind=127.0.0.1,reuseaddr EXEC:cat &
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                echo up
                exec socat - TCP:127.0.0.1:%1$d <&3
                """
                    .formatted(port))
            .start()) {
      running.awaitOutput(LIMIT, "up\n");
      for (String line : List.of("first", "second", "third")) {
        running.type(line + "\n");
        running.awaitOutput(LIMIT, line + "\n");
      }
      running.endInput();
      running.await(LIMIT).expectSuccess();
    }
  }

  @Scenario
  void opensslTalksToItself(Trial trial) {
    trial.certificate();
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                openssl s_server -accept 127.0.0.1:%1$d -cert cert.pem -key key.pem -rev -quiet \
                  >server 2>&1 & server=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                for version in tls1_2 tls1_3; do
                  (echo abcdef; sleep 0.5) | openssl s_client -connect 127.0.0.1:%1$d -$version \
                    -CAfile cert.pem -verify_return_error -servername localhost -quiet -no_ign_eof 2>/dev/null
                  echo "client $?"
                done
                kill $server; wait $server; echo "server $?"
                """
                    .formatted(port))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).contains("fedcba");
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void iperf3OverLoopback(Trial trial) {
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                iperf3 -s -1 -p %1$d >server 2>&1 & server=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                iperf3 -c 127.0.0.1 -p %1$d -n 16M -P 2 -f m; echo "client $?"
                wait $server; echo "server $?"
                """
                    .formatted(port))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output())
        .contains("client 0", "server 0")
        .containsPattern("SUM.* [1-9][0-9.]* Mbits/sec.*receiver");
  }

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void iperf3FromTheMachine(Trial trial) {
    int port = trial.port();
    try (Running server = trial.program("iperf3", "-s", "-p", "" + port, "--forceflush").start()) {
      int test = 0;
      for (List<String> how :
          List.of(List.of("-n", "16M"), List.of("-n", "16M", "-R"), List.of("-t", "1", "-u"))) {
        // It opens its socket anew for each.
        server.awaitOutput(LIMIT, "Server listening on " + port + " .test #" + ++test);
        List<String> words =
            new java.util.ArrayList<>(
                List.of("iperf3", "-c", trial.inside(), "-p", "" + port, "-f", "m"));
        words.addAll(how);
        Finished client = trial.machine(words.toArray(String[]::new)).run(LIMIT).expectSuccess();
        assertThat(client.output())
            .containsPattern(" ([1-9][0-9.]*|0\\.[0-9]*[1-9][0-9]*) Mbits/sec.*receiver");
      }
    }
  }

  /** Natively there are some; a device has one network, and says so as such a kernel does. */
  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void noNetworkNamespaces(Trial trial) {
    Programs.require("ip");
    String name = "ob-tools-" + ProcessHandle.current().pid();
    trial.machine("ip", "netns", "add", name).run(LIMIT).expectSuccess();
    try {
      namespaces(trial, name);
    } finally {
      trial.machine("ip", "netns", "del", name).run(LIMIT).expectSuccess();
    }
  }

  private static void namespaces(Trial trial, String name) {
    String path = "/run/netns/" + name;
    Finished done = trial.program(Programs.staticC("netns"), path).run(LIMIT).expectSuccess();
    assertThat(done.output())
        .isEqualTo(
            """
            unshare(CLONE_NEWNET): EINVAL
            unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_FS): EINVAL
            unshare(CLONE_NEWUSER | CLONE_NEWNET): EINVAL
            clone(CLONE_NEWNET): EINVAL
            clone(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET): EINVAL
            clone3(CLONE_NEWNET): EINVAL
            setns(net, CLONE_NEWNET): EINVAL
            setns(net, 0): EINVAL
            setns(pidfd, CLONE_NEWUTS | CLONE_NEWNET): EINVAL
            setns(nothing, CLONE_NEWNET): EBADF
            setns(a file, 0): EINVAL
            setns(its own, CLONE_NEWNET): 0
            setns(its own, 0): 0
            unshare(CLONE_NEWUTS): 0
            clone3(CLONE_NEWUTS): 0
            setns(uts, CLONE_NEWUTS): 0
            setns(uts, 0): 0
            one that does without: 0
            """);
    assertThat(done.errors()).containsOnlyOnce("has no network namespaces here (EINVAL)");

    Finished tools =
        trial
            .shell(
                "ip netns exec %s ip link; echo $?; ip netns add %s-b; echo $?; unshare -n true; echo $?"
                    .formatted(name, name))
            .run(LIMIT)
            .expectSuccess();
    assertThat(tools.output()).isEqualTo("255\n1\n1\n");
    assertThat(tools.errors().lines().filter(line -> line.endsWith(": Invalid argument")))
        .as(tools.errors())
        .hasSize(3);
    assertThat(Path.of(path + "-b")).doesNotExist();
  }

  @Scenario(modes = {Mode.LIBRARY, Mode.HOST})
  void noWayPastTheHook(Trial trial) {
    Finished done =
        trial.program(Programs.staticC("escape")).with("--stats").run(LIMIT).expectSuccess();
    assertThat(done.output().lines())
        .allMatch(line -> line.endsWith(": ENOSYS") || line.equals("int 0x80: no gate"));
    assertThat(done.errors())
        .containsOnlyOnce("io_uring: refused 1 time (ENOSYS)")
        .containsOnlyOnce("AIO: refused 1 time (ENOSYS)");
  }
}
