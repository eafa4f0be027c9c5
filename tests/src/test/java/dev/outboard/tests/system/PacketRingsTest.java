// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Eventually;
import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.HostKernelByJudges;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.ProcFile;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/** Packets in memory that program and kernel share: PACKET_RX_RING, and tcpdump, which needs it. */
@HostKernelByJudges
class PacketRingsTest {
  private static final Duration LIMIT = Duration.ofSeconds(40);

  @Scenario
  void ringsAreByteForByteAsNatively(Trial trial) {
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("packet_ring")).run(LIMIT).expectSuccess();
    assertThat(done.output()).contains("child 6");
    trial.outcome("output", done.output());
  }

  @Scenario
  void tcpdumpOfAPing(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                tcpdump -n -i lo -c 4 -w pings icmp 2>counts & dump=$!
                until grep -q listening counts; do sleep 0.02; done
                ping -q -c 2 -i 0.2 127.0.0.1 >/dev/null
                wait $dump
                tail -n +2 counts | sort
                tcpdump -n -r pings 2>/dev/null | cut -d ' ' -f 2- | sed 's/id [0-9]*/id N/'
                # A signal ends it, and what it has seen until then was in its memory.
                tcpdump --immediate-mode -l -n -i lo 'icmp[icmptype] == icmp-echoreply' >replies 2>counts2 & dump=$!
                until grep -q listening counts2 2>/dev/null; do sleep 0.02; done
                ping -q -c 3 -i 0.05 127.0.0.1 >/dev/null
                until test "$(wc -l <replies)" -eq 3; do sleep 0.02; done
                kill -INT $dump
                wait $dump
                tail -n +3 counts2
                """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output()).contains("ICMP echo reply, id N, seq 2, length 64");
    trial.outcome("output", done.output());
  }

  @Scenario
  void tcpdumpOfAConnectionOnAnyInterface(Trial trial) {
    int port = trial.port();
    Finished done =
        trial
            .shell(
                """
                set -e
                tcpdump -n -i any -c 2 'tcp port %1$d and tcp[tcpflags] & tcp-syn != 0' \
                  >ends 2>counts & dump=$!
                # Which takes frames, where others take blocks.
                tcpdump --immediate-mode -U -n -i lo -s 100 -w all 'tcp port %1$d' 2>counts.all & all=$!
                until grep -q listening counts && grep -q listening counts.all; do sleep 0.02; done
                head -c 3000000 /dev/zero >zeros
                socat -u TCP-LISTEN:%1$d,bind=127.0.0.1,reuseaddr OPEN:copy,creat & sink=$!
                until ss -Htln | grep -q :%1$d; do sleep 0.02; done
                socat -u OPEN:zeros TCP:127.0.0.1:%1$d
                wait $sink $dump
                sed 's/^[^ ]* *lo *\\([A-Za-z]*\\) .*\\(Flags [^,]*\\),.*/\\1 \\2/' ends
                for side in src dst; do
                  until tcpdump -n -r all "$side port %1$d and tcp[tcpflags] & tcp-fin != 0" 2>/dev/null | grep -q F; do
                    sleep 0.02
                  done
                done
                kill -INT $all; wait $all
                grep dropped counts.all
                # Some may have been sent twice.
                tcpdump -n -r all 2>/dev/null | sed -n 's/.*seq \\([0-9]*\\):\\([0-9]*\\),.*/\\1 \\2/p' | sort -n |
                  awk 'BEGIN { end = 1 } $1 > end { lack += $1 - end } $2 > end { end = $2 }
                    END { print end - 1 " bytes, " lack + 0 " of them not seen" }'
                """
                    .formatted(port))
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output())
        .contains("3000000 bytes, 0 of them not seen", "0 packets dropped by kernel");
    trial.outcome("output", done.output());
  }

  /** Five rings whose programs are killed leave nothing, and what debuggers may and may not do. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void endsAndDebuggers(Trial trial) {
    try (Running running =
        trial
            .shell(
                """
                holder="%s %s"
                packets() { ss -H -0 | wc -l; }
                # The first of each kind brings threads that stay.
                $holder held >first & first=$!
                until grep -q mapped first; do sleep 0.02; done
                kill -KILL $first; wait $first 2>/dev/null
                until [ $(packets) -eq 0 ]; do sleep 0.02; done
                echo ready
                read go
                held=
                for i in 1 2 3 4 5; do $holder held >held.$i & held="$held $!"; done
                for i in 1 2 3 4 5; do until grep -q 'mapped True' held.$i; do sleep 0.02; done; done
                echo "held: $(packets)"
                read go
                kill -KILL $held; wait 2>/dev/null
                until [ $(packets) -eq 0 ]; do sleep 0.02; done
                echo "killed: $(packets)"
                read go
                strace -f -o /dev/null $holder refused 2>/dev/null
                mkfifo lines
                $holder surviving <lines >survivor & survivor=$!
                exec 3>lines
                until grep -q mapped survivor; do sleep 0.02; done
                timeout 20 gdb -q -batch -p $survivor -ex detach >attached 2>&1
                grep -c 'will be detached\\|detached' attached
                echo 'still?' >&3
                until grep filled survivor; do sleep 0.02; done
                strace -o /dev/null -p $survivor 2>watched & watcher=$!
                until grep -q attached watched; do sleep 0.02; done
                echo >&3
                until grep closed survivor; do sleep 0.02; done
                wait $survivor
                wait $watcher
                echo end
                """
                    .formatted(Programs.PYTHON, Programs.python("ring_holder")))
            .start()) {
      running.awaitOutput(LIMIT, "ready");
      long threads = feeds(trial);
      long descriptors = descriptors(trial);
      running.type("go\n");
      running.awaitOutput(LIMIT, "held: 5");
      assertThat(feeds(trial)).isEqualTo(threads + 5);
      running.type("go\n");
      running.awaitOutput(LIMIT, "killed: 0");
      Eventually.require(
          Duration.ofSeconds(5),
          () -> "threads of rings: " + threads + ", then " + feeds(trial),
          () -> feeds(trial) <= threads);
      Eventually.require(
          Duration.ofSeconds(5),
          () -> "descriptors of the hook: " + descriptors + ", then " + descriptors(trial),
          () -> descriptors(trial) <= descriptors);
      running.type("go\n");
      Finished done = running.await(LIMIT).expectSuccess();
      assertThat(done.output()).contains("mmap: ENODEV\n1\nfilled True\nclosed\nend\n");
    }
  }

  /** Its memory stays, and its socket says what has happened. */
  @Scenario(modes = Mode.LIBRARY)
  void aRingWithoutItsDevice(Trial trial) {
    try (Running program =
        trial.program(Programs.PYTHON, Programs.python("ring_holder"), "surviving").start()) {
      program.awaitOutput(LIMIT, "mapped True");
      Trial.signal(trial.device(), "KILL");
      Eventually.pause(300);
      program.type("lost\n");
      Finished done = program.await(LIMIT).expectSuccess();
      assertThat(done.output().lines())
          .containsExactly(
              "mapped True",
              "waiting ends: True",
              "recv: ENETDOWN",
              "option: ENETDOWN",
              "another: ENETDOWN",
              "its memory: True",
              "closed");
    }
  }

  private static long feeds(Trial trial) {
    return ProcFile.threadNames(trial.hook()).stream()
        .filter(name -> name.startsWith("outboard-ring-"))
        .count();
  }

  private static long descriptors(Trial trial) {
    return ProcFile.descriptors(trial.hook());
  }
}
