// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.time.Duration;

/**
 * SCTP. The machine's own kernel may lack it, so these are judged on the library kernel alone, by
 * what RFC 6458 says.
 */
class SctpTest {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  @Scenario(modes = Mode.LIBRARY)
  void messagesStreamsAndAssociations(Trial trial) {
    Finished done =
        trial.program(Programs.PYTHON, Programs.python("associations")).run(LIMIT).expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "accepted from 127.0.0.1",
            "state 4, streams in 9, out 7",
            "peer's addresses ['127.0.0.1', '127.0.0.2']",
            "5 bytes, whole: True on stream 0, payload 1",
            "6 bytes, whole: True on stream 5, payload 77",
            "100000 bytes, whole: True on stream 0, payload 0",
            "too long: Message too long",
            "in parts b'0123' b'456789'",
            "the end: b''",
            "after it: Broken pipe ['SIGPIPE']",
            "nobody there: Connection refused",
            "['up: True', 'from 0']",
            "['up: True', 'from 1']",
            "associations 2",
            "no such association: -1 EINVAL",
            "peeled off: True SOCK_SEQPACKET ::1 True",
            "in the value: True",
            "another: False False",
            "no more: -1 EINVAL",
            "by setsockopt: Protocol not available",
            "True b'to its own'",
            "b'and back'",
            "True b'to its own'",
            "b'and back'",
            "its end: True",
            "the other goes on: Resource temporarily unavailable",
            "b'still'",
            "received 100 {20000}");
  }

  /** iperf3 and the tools of libsctp, which connect to several addresses at once. */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void programsThatSpeakIt(Trial trial) {
    Finished done =
        trial
            .shell(
                """
                set -e
                checksctp 2>&1
                # A packet of loopback's 64 KiB ends with half a message, and Nagle's algorithm waits.
                ip link set lo mtu 1500
                iperf3 -s -1 -p 6001 >server 2>&1 &
                until ss -Htln | grep -q :6001; do sleep 0.02; done
                (iperf3 --sctp -c 127.0.0.1 -p 6001 -n 20M -f m >client)
                wait $!
                grep -c '20[.][0-9] MBytes.*sender' client
                # What was still on its way when the sender was done is not in this one.
                grep -c '[12][0-9][.][0-9] MBytes.*receiver' client
                stdbuf -oL sctp_darn -H 127.0.0.1 -B 127.0.0.2 -P 5001 -l >listener 2>&1 & listener=$!
                until ss -HlnS | grep -o '127.0.0.[12]:5001'; do sleep 0.02; done
                (echo first; echo second; sleep 0.5) |
                  sctp_darn -H 127.0.0.1 -P 5002 -c 127.0.0.1 -c 127.0.0.2 -p 5001 -s >sender 2>&1 || true
                grep -A 2 peer sender
                until grep -q second listener; do sleep 0.1; done
                grep DATA listener
                kill $listener; wait $listener || true
                """)
            .run(LIMIT)
            .expectSuccess();
    assertThat(done.output().lines())
        .containsExactly(
            "SCTP supported",
            "1",
            "1",
            "127.0.0.2:5001",
            "New connection, peer addresses",
            "127.0.0.1:5001",
            "127.0.0.2:5001",
            "DATA(7):  first.",
            "DATA(8):  second.");
  }
}
