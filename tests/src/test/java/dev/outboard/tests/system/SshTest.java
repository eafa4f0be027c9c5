// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.outboard.tests.support.Finished;
import dev.outboard.tests.support.Link;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Running;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.TestFiles;
import dev.outboard.tests.support.Trial;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;

/**
 * OpenSSH's server and its clients. The server separates privileges: what speaks to strangers is
 * another user in an empty root, under a seccomp filter of its own.
 */
@Tag("judges")
class SshTest {
  private static final Duration LIMIT = Duration.ofMinutes(2);

  /** A mount namespace in which there is a user "judge", and the directory that sshd insists on. */
  private static final String[] WITH_A_USER = {
    "unshare",
    "-m",
    "sh",
    "-ec",
    """
    mount -t tmpfs none /run; mkdir /run/sshd
    mkdir -p etc home; chown 4711:4711 home
    cp /etc/passwd /etc/shadow /etc/group etc
    echo "judge:x:4711:4711::$PWD/home:/bin/sh" >>etc/passwd
    echo "judge:*:19000::::::" >>etc/shadow
    echo "judge:x:4711:" >>etc/group
    for f in passwd shadow group; do mount --bind etc/$f /etc/$f; done
    exec "$@"
    """,
    "sh"
  };

  @BeforeAll
  static void requirements() {
    assumeTrue("root".equals(System.getProperty("user.name")), "sshd changes users: needs root");
    Programs.require("sshd", "ssh", "scp", "sftp", "ssh-keygen", "unshare");
  }

  private static void prepare(Trial trial, String address, int port) {
    for (String key : new String[] {"hostkey", "userkey"}) {
      trial
          .machine("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
          .run(LIMIT)
          .expectSuccess();
    }
    trial.file(
        "sshd_config",
        """
        ListenAddress %1$s:%2$d
        HostKey %3$s/hostkey
        PidFile %3$s/sshd.pid
        UsePAM yes
        StrictModes no
        AuthorizedKeysFile %3$s/userkey.pub
        Subsystem sftp internal-sftp
        LogLevel DEBUG3
        """
            .formatted(address, port, trial.directory()));
    trial.file(
        "ssh_config",
        """
        Host *
          Port %2$d
          IdentitiesOnly yes
          IdentityFile %3$s/userkey
          StrictHostKeyChecking no
          UserKnownHostsFile %3$s/known
          BatchMode yes
          LogLevel ERROR
        """
            .formatted(address, port, trial.directory()));
  }

  private static final String START =
      """
      /usr/sbin/sshd -D -e -f $PWD/sshd_config 2>sshd.log & server=$!
      until ss -Htln | grep -q :%1$d; do sleep 0.05; done
      c="-F $PWD/ssh_config"
      """;

  private static final String END =
      """
      kill $server; wait $server; echo "sshd $?"
      """;

  private static void run(Trial trial, String script) {
    int port = trial.port();
    prepare(trial, "127.0.0.1", port);
    trial.file("page", "a page\n");
    trial.file("data", 8 << 20);
    Finished done =
        trial
            .shell((START + script + END).formatted(port))
            .under(WITH_A_USER)
            .run(LIMIT)
            .expectSuccess();
    trial.outcome("output", done.output());
  }

  @Scenario(trace = false)
  void commandsOfTwoUsers(Trial trial) throws Exception {
    run(
        trial,
        """
        for user in root judge; do
          ssh $c $user@127.0.0.1 'id; echo $SSH_CONNECTION | cut -d" " -f1,3; exit 7'; echo "ssh $?"
          ssh $c $user@127.0.0.1 'cat; echo to the errors >&2' <data 2>errors | cmp - data
          cat errors
        done
        ssh $c judge@127.0.0.1 'kill -9 $$'; echo "killed $?"
        ssh $c nobody@127.0.0.1 true 2>&1 | grep -o 'Permission denied'
        script -qec "ssh $c -tt judge@127.0.0.1 'tty | cut -c1-8; exit 7'" /dev/null </dev/null >terminal
        echo "on a terminal $?"; grep -o /dev/pts terminal
        for i in 1 2 3 4 5 6 7 8; do
          ssh $c judge@127.0.0.1 "echo $i" </dev/null & sessions="$sessions $!"
        done >parallel
        wait $sessions; sort parallel
        """);
    assertThat(Files.readString(trial.directory().resolve("sshd.log")))
        .contains("attaching seccomp filter program [preauth]", "User child is on pid")
        .doesNotContain("fatal:", "sandbox violation");
  }

  @Scenario(trace = false)
  void portsAndSessionsOfOneConnection(Trial trial) {
    run(
        trial,
        """
        python3 -u -m http.server --bind 127.0.0.1 8000 >log 2>&1 & web=$!
        until grep -q Serving log; do sleep 0.05; done
        ssh $c -M -S $PWD/control -f -N -L 9001:127.0.0.1:8000 -R 127.0.0.1:9002:127.0.0.1:8000 \
          -D 9003 judge@127.0.0.1 </dev/null >/dev/null 2>&1; echo "master $?"
        curl -s http://127.0.0.1:9001/page
        curl -s http://127.0.0.1:9002/page
        curl -s --socks5-hostname 127.0.0.1:9003 http://localhost:8000/page
        curl -s http://127.0.0.1:9001/data | cmp - data && echo same
        # The client's own descriptors go to the master over a Unix socket.
        for i in 1 2 3; do ssh $c -S $PWD/control judge@127.0.0.1 'wc -c' <data; done
        ssh $c -S $PWD/control -O exit judge@127.0.0.1 2>&1
        printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | ssh $c -W 127.0.0.1:8000 judge@127.0.0.1 | tail -1
        ssh $c -o "ProxyCommand ssh $c -W %%h:%%p judge@127.0.0.1" root@127.0.0.1 'id -un'
        kill $web; wait $web
        """);
  }

  @Scenario(trace = false)
  void filesByScpAndSftp(Trial trial) {
    run(
        trial,
        """
        scp -q $c data judge@127.0.0.1:up && scp -q $c judge@127.0.0.1:up down && cmp down data
        echo "scp $?"
        scp -q -O $c data judge@127.0.0.1:up2 && scp -q -O $c judge@127.0.0.1:up2 down2 && cmp down2 data
        echo "scp, by its own protocol $?"
        printf 'put page sent\\nrename sent renamed\\nget renamed got\\nls\\n' |
          sftp -q $c judge@127.0.0.1 | grep -v '^sftp>' | sort
        cat got
        ssh $c -C judge@127.0.0.1 'head -c 3000000 /dev/zero' </dev/null | wc -c
        ssh $c -o RekeyLimit=1M judge@127.0.0.1 cat <data | cmp - data; echo "with new keys $?"
        """);
  }

  @Scenario(link = Link.TO_MACHINE, trace = false)
  void aGibibyteFromTheMachine(Trial trial) {
    int port = trial.port();
    prepare(trial, trial.inside(), port);
    Path data = trial.file("data", 1L << 30);
    try (Running server =
        trial
            .program("/usr/sbin/sshd", "-D", "-e", "-f", trial.directory() + "/sshd_config")
            .under(WITH_A_USER)
            .start()) {
      server.awaitErrors(LIMIT, "Server listening");
      trial
          .machine("scp", "-q", "-F", "ssh_config", "data", "judge@" + trial.inside() + ":copy")
          .run(Duration.ofMinutes(5))
          .expectSuccess();
      assertThat(TestFiles.checksum(trial.directory().resolve("home/copy")))
          .isEqualTo(TestFiles.checksum(data));
    }
  }
}
